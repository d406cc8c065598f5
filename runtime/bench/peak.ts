/** Peak resident memory of a training, ours and PyTorch's: each in a fresh process, what the process takes before any model told apart. */
import { fileURLToPath } from "node:url"
import type { Factors } from "../../compiler/graph/node.ts"
import { runProgram } from "../programs.ts"
import type { Config } from "./config.ts"
import { runPeer } from "./peer.ts"

/** MiB; `idle`: before there is a model. */
export interface Peak { readonly config: string; readonly precision: Factors; readonly contender: string; readonly idle: number; readonly peak: number; readonly planned: number | null }

async function ours(config: Config, precision: Factors, threads: number): Promise<Peak | string> {
  const args = ["--import", "tsx", fileURLToPath(new URL("peak-step.ts", import.meta.url)), config.name, precision, String(threads)]
  // The first run compiles and plans; the second is a start as all others are.
  await runProgram(process.execPath, args, 600)
  const { out, problem } = await runProgram(process.execPath, args, 600)
  if (out === null) return problem.slice(-300)
  const { idle, peak, arena, threads: each } = JSON.parse(out) as { readonly idle: number; readonly peak: number; readonly arena: number; readonly threads: number }
  return { config: config.name, precision, contender: "cpu", idle, peak, planned: arena + each }
}

async function peers(config: Config, precision: Factors, threads: number): Promise<Peak | string> {
  const result = await runPeer(config, { threads, coreType: null, precision }, 1)
  return typeof result === "string" ? result : { config: config.name, precision, contender: "torch", idle: result.idle, peak: result.peak, planned: null }
}

export async function measurePeak(config: Config, precision: Factors, threads: number): Promise<readonly Peak[]> {
  const rows: Peak[] = []
  for (const measured of [await ours(config, precision, threads), await peers(config, precision, threads)]) {
    if (typeof measured === "string") console.log(`  memory: skipped: ${measured}`)
    else rows.push(measured)
  }
  for (const { contender, idle, peak, planned } of rows) {
    console.log(`  memory of ${contender.padEnd(6)} peak ${peak.toFixed(0).padStart(5)} MiB, ${idle.toFixed(0)} of them before there is a model${planned === null ? "" : `; the program's share is planned as ${planned.toFixed(0)}`}`)
  }
  const [own, peer] = rows
  if (own !== undefined && peer !== undefined) console.log(`  ratio of the peaks to PyTorch's: ${(own.peak / peer.peak).toFixed(2)}, without what the processes take: ${((own.peak - own.idle) / (peer.peak - peer.idle)).toFixed(2)}`)
  return rows
}
