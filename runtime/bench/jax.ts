/** jax-js on WebAssembly beside us, in a process of its own. */
import { fileURLToPath } from "node:url"
import { runProgram } from "../programs.ts"
import type { Config } from "./config.ts"

const folder = new URL("./jax/", import.meta.url)

/** Milliseconds of steps, or why there are none. Without threads: as the package runs on Node by itself, on the one that calls it. */
export async function runJax(c: Config, threads: number, seconds: number): Promise<readonly number[] | string> {
  try {
    await ((await import(new URL("setup.mjs", folder).href)) as { setup(): Promise<void> }).setup()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  const args = [fileURLToPath(new URL("peer.mjs", folder)), c.depth, c.heads, c.dim, c.length, c.rows, c.vocab, threads, seconds].map(String)
  const { out, problem } = await runProgram(process.execPath, args, 600)
  return out === null ? `jax-js failed: ${problem.slice(-300)}` : (JSON.parse(out) as { readonly times: readonly number[] }).times
}
