/** PyTorch beside us, in a process of its own. */
import { fileURLToPath } from "node:url"
import type { Factors } from "../../compiler/graph/node.ts"
import { runProgram } from "../programs.ts"
import type { Config } from "./config.ts"

/** Numbers of threads worth trying. */
export const threadCounts = (cores: number): readonly number[] => (cores > 1 ? [1, cores] : [1])

/** OpenBLAS may know a processor too little to use all its vectors; naming a core type can double its speed. */
export interface PeerSetting { readonly threads: number; readonly coreType: string | null; readonly precision: Factors }

/** Settings worth trying: which is best differs between machines and libraries. */
export function peerSettings(cores: number, hasAvx512: boolean, precision: Factors): readonly PeerSetting[] {
  const types = hasAvx512 && precision === "f32" ? [null, "SkylakeX"] : [null]
  return threadCounts(cores).flatMap((threads) => types.map((coreType) => ({ threads, coreType, precision })))
}

/** `peak`: the most memory that the process held, in MiB; `idle`: before there was a model. */
export interface PeerTimes { readonly version: string; readonly times: readonly number[]; readonly idle: number; readonly peak: number }

const python = "/usr/bin/python3"

/** Milliseconds of steps with so many threads, or why there are none. */
export async function runPeer(c: Config, { threads, coreType, precision }: PeerSetting, seconds: number): Promise<PeerTimes | string> {
  const script = fileURLToPath(new URL("torch_peer.py", import.meta.url))
  const args = [script, c.depth, c.heads, c.dim, c.length, c.rows, c.vocab, threads, seconds, precision].map(String)
  // Waiting passively is best where OpenBLAS multiplies; bf16 is multiplied by oneDNN, whose default is better.
  const env = { ...(precision === "f32" ? { OMP_WAIT_POLICY: "PASSIVE" } : {}), OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads), ...(coreType === null ? {} : { OPENBLAS_CORETYPE: coreType }) }
  const { out, problem } = await runProgram(python, args, 600, env)
  if (out !== null) return JSON.parse(out) as PeerTimes
  const missing = /No module named 'torch'|no such program/.test(problem)
  return missing ? "PyTorch is not installed for the system's Python (Debian: `apt-get install python3-torch libopenblas0`)" : `PyTorch failed: ${problem.slice(-300)}`
}
