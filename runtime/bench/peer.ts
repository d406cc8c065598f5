/** PyTorch beside us, in a process of its own. */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Config } from "./config.ts"

/** Settings worth trying: which is best differs between machines and libraries. */
export const peerSettings = (cores: number): readonly number[] => (cores > 1 ? [1, cores] : [1])

export interface PeerTimes { readonly version: string; readonly times: readonly number[] }

const python = "/usr/bin/python3"

/** Milliseconds of steps with so many threads, or why there are none. */
export function runPeer(c: Config, threads: number, seconds: number): Promise<PeerTimes | string> {
  const script = fileURLToPath(new URL("torch_peer.py", import.meta.url))
  const args = [script, c.depth, c.heads, c.dim, c.length, c.rows, c.vocab, threads, seconds].map(String)
  const env = { ...process.env, OMP_WAIT_POLICY: "PASSIVE", OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads) }
  return new Promise((done) => {
    execFile(python, args, { env, timeout: 600_000 }, (error, out, problem) => {
      if (error === null) return done(JSON.parse(out) as PeerTimes)
      done(/No module named 'torch'|ENOENT/.test(`${problem} ${error.message}`) ? "PyTorch is not installed for the system's Python (Debian: `apt-get install python3-torch libopenblas0`)" : `PyTorch failed: ${problem.slice(-300) || error.message}`)
    })
  })
}
