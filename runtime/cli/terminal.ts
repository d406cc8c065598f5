import { cut, harmless } from "./text.ts"

/** Everything the command line writes goes through here: colour and live lines on a terminal, plain lines elsewhere. */
export interface Terminal {
  readonly color: boolean
  /** Whether a line may be redrawn in place. */
  readonly live: boolean
  readonly width: number
  /** A finished line on standard output. What could steer a terminal is written out: texts of recipes and data reach it. */
  line(text?: string): void
  /** A piece of a line on standard output; `line()` ends it. */
  write(text: string): void
  /** A line just as it is, for a program that reads it. */
  raw(text: string): void
  /** A line on standard error: diagnostics and warnings. */
  error(text: string): void
  /** Shows `text` as the line that is being worked on; replaced by the next one. Does nothing where not live. */
  status(text: string): void
  style(name: Style, text: string): string
}

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "cyan"

const codes: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], blue: [34, 39], cyan: [36, 39],
}

/** Redrawn at most so often; a line that changes faster only flickers. */
const redraw = 80 // milliseconds

export function openTerminal(): Terminal {
  const out = process.stdout
  const color = wantsColor(out.isTTY)
  const live = out.isTTY && process.env["TERM"] !== "dumb"
  let [shown, drawn] = [false, -Infinity]
  const clear = (): string => {
    const before = shown ? "\r\u001b[2K" : ""
    shown = false
    return before
  }
  return {
    color,
    live,
    get width() {
      return out.columns ?? 100
    },
    line(text = "") {
      out.write(`${clear()}${harmless(text, color)}\n`)
      drawn = -Infinity
    },
    raw(text) {
      out.write(`${clear()}${text}\n`)
      drawn = -Infinity
    },
    write(text) {
      out.write(`${clear()}${harmless(text, color)}`)
      drawn = -Infinity
    },
    error(text) {
      if (shown) out.write(clear())
      process.stderr.write(`${harmless(text, color)}\n`)
    },
    status(text) {
      if (!live || performance.now() - drawn < redraw) return
      // The line is written over and its rest erased in one piece: nothing blinks.
      out.write(`\r${cut(harmless(text, color), (out.columns ?? 100) - 1)}\u001b[K`)
      ;[shown, drawn] = [true, performance.now()]
    },
    style(name, text) {
      return color ? `\u001b[${codes[name][0]}m${text}\u001b[${codes[name][1]}m` : text
    },
  }
}

function wantsColor(tty: boolean): boolean {
  if (process.env["NO_COLOR"] !== undefined && process.env["NO_COLOR"] !== "") return false
  const force = process.env["FORCE_COLOR"]
  if (force !== undefined) return force !== "0"
  return tty && process.env["TERM"] !== "dumb"
}
