import type { Terminal } from "./terminal.ts"

const signals = ["SIGINT", "SIGTERM"] as const

/**
 * The first Ctrl-C asks the work to stop at the next place where nothing is lost. It then leaves the signal to the system, so
 * that the second one ends the process even while it computes.
 */
export function interruptible(message: string, terminal: Pick<Terminal, "error">): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  const release = (): void => signals.forEach((name) => process.off(name, ask))
  const ask = (): void => {
    release()
    if (message !== "") terminal.error(message)
    controller.abort()
  }
  signals.forEach((name) => process.on(name, ask))
  return { signal: controller.signal, release }
}
