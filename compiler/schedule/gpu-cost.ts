/** Operations and bytes of each dispatch, and what a given GPU would be limited by. */
import { exprsIn } from "../kernel/expr.ts"
import type { ContractKernel, RowsKernel } from "../kernel/ir.ts"
import { trafficOf } from "../kernel/traffic.ts"
import type { GpuProgram, GpuStep, GpuWork } from "./gpu.ts"
import { buffersOf, gpuBytes } from "./gpu.ts"

export interface StepCost { readonly flops: number; readonly bytes: number }

/** Operations that an elementary function counts as. */
const elementary = 10
const slow: ReadonlySet<string> = new Set(["exp", "log", "sin", "cos", "tanh", "erf", "sigmoid", "pow", "div", "sqrt", "rsqrt"])

function rowsFlops(kernel: RowsKernel): number {
  const perPoint = exprsIn([...kernel.stores, ...kernel.columns].map((x) => x.value)).reduce((sum, x) => {
    const times = x.is === "fold" ? x.count : 1
    return sum + times * (x.is === "unary" || x.is === "binary" ? (slow.has(x.op) ? elementary : 1) : x.is === "random" ? 60 : x.is === "reduced" || x.is === "fold" ? 1 : 0)
  }, kernel.columns.length)
  return perPoint * kernel.rows * kernel.cols
}

/** What a mask leaves of all pairs of queries and keys. */
function seenShare(step: Extract<GpuStep, { is: "attend" | "attend_queries" | "attend_keys" | "attend_bias" }>): number {
  const { args: { causal, window }, sizes: { queries, keys } } = step.kernel
  const most = causal && queries > 1 ? (keys - (queries - 1) / 2) / keys : 1
  return window === null ? most : Math.min(most, (causal ? window : 2 * window) / keys)
}

function contractFlops({ batch, m, n, k, epilogue, prologue }: ContractKernel): number {
  return 2 * batch * m * n * k + (epilogue === null ? 0 : rowsFlops(epilogue)) + (prologue === null ? 0 : rowsFlops(prologue))
}

function flopsOf(step: GpuStep): number {
  switch (step.is) {
    case "points": case "lines": return rowsFlops(step.kernel)
    case "contract": return contractFlops(step.kernel)
    case "siblings": return step.kernel.members.reduce((sum, member) => sum + contractFlops(member), 0)
    case "attend": case "attend_queries": case "attend_keys": case "attend_bias": {
      const { batch, heads, queries, keys, depth, values } = step.kernel.sizes
      const products = step.is === "attend" ? depth + values : step.is === "attend_queries" ? 2 * (depth + values) + depth : step.is === "attend_keys" ? 2 * (depth + values) : depth + values
      return (2 * products + 2 * elementary) * batch * heads * queries * keys * seenShare(step)
    }
    case "zeros": return 0
    case "scatter": return step.kernel.lead * step.kernel.count * step.kernel.width
    case "axis": return step.kernel.outer * step.kernel.inner * step.kernel.n * (step.kernel.op.is === "top_k" ? step.kernel.op.k : 1)
  }
}

/** Each buffer counts once; the sums that are split along k are written and read. */
export function stepCost(step: GpuStep): StepCost {
  const gathered = step.is === "points" || step.is === "lines" ? gatheredBytes(step.kernel) : new Map<unknown, number>()
  const skipped = step.is === "contract" && !step.kernel.keep ? new Set([step.kernel.out]) : new Set()
  const bytes = [...buffersOf(step)].filter((buffer) => !skipped.has(buffer)).reduce((sum, buffer) => sum + Math.min(gpuBytes(buffer), gathered.get(buffer) ?? Infinity), 0)
  return { flops: flopsOf(step), bytes }
}

/** A table of which some rows are read counts no more than what is read. */
function gatheredBytes(kernel: RowsKernel): ReadonlyMap<unknown, number> {
  const written = trafficOf(kernel).writes
  const found = new Map<unknown, number>()
  for (const x of exprsIn([...kernel.stores, ...kernel.columns].map((root) => root.value))) {
    if (x.is === "load" && !written.has(x.buffer) && !x.depends.has("k")) found.set(x.buffer, (found.get(x.buffer) ?? 0) + 4 * (x.depends.has("j") ? kernel.cols : 1) * (x.depends.has("r") ? kernel.rows : 1))
  }
  return found
}

export function workCost(work: readonly GpuWork[]): StepCost {
  return work.reduce<StepCost>((sum, item) => {
    const { flops, bytes } = item.is === "loop" ? workCost(item.body) : stepCost(item)
    const times = item.is === "loop" ? item.trips : 1
    return { flops: sum.flops + times * flops, bytes: sum.bytes + times * bytes }
  }, { flops: 0, bytes: 0 })
}

/** Peak rates of a GPU, and what starting a kernel costs. */
export interface Roof { readonly name: string; readonly flops: number; readonly bytes: number; readonly launch: number }

/** Published numbers for f32 without matrix units; a dispatch behind another takes about 4 µs. */
export const roofs: readonly Roof[] = [
  { name: "laptop (Apple M2)", flops: 3.6e12, bytes: 100e9, launch: 4e-6 },
  { name: "desktop (RTX 4070)", flops: 29e12, bytes: 504e9, launch: 4e-6 },
  { name: "server (H100 PCIe)", flops: 51e12, bytes: 2.0e12, launch: 4e-6 },
]

const unit = (x: number): string => (x >= 1e9 ? `${(x / 1e9).toFixed(2)} G` : x >= 1e6 ? `${(x / 1e6).toFixed(1)} M` : `${(x / 1e3).toFixed(1)} k`)

/** One line per dispatch: operations, bytes, their ratio, and what would limit each GPU. */
export function printRoofline(program: GpuProgram): string {
  const total = workCost(program.work)
  const lines = program.work.flatMap((item): string[] => (item.is === "loop" ? [`  loop ${item.trips} times`, ...item.body.flatMap((inner) => (inner.is === "loop" ? [] : [line(inner, "    ")]))] : [line(item, "  ")]))
  const times = roofs.map((roof) => {
    const seconds = (work: readonly GpuWork[]): number => work.reduce((sum, item) => sum + (item.is === "loop" ? item.trips * seconds(item.body) : timeOf(stepCost(item), roof).seconds), 0)
    return `  ${roof.name}: at best ${(1e3 * seconds(program.work)).toFixed(2)} ms a step`
  })
  return [`${program.name}: ${unit(total.flops)}FLOP, ${unit(total.bytes)}B`, ...times, ...lines].join("\n")
}

function timeOf({ flops, bytes }: StepCost, roof: Roof): { readonly seconds: number; readonly by: string } {
  const limits = [[flops / roof.flops, "arithmetic"], [bytes / roof.bytes, "memory"], [roof.launch, "launch"]] as const
  const [seconds, by] = limits.reduce((most, each) => (each[0] > most[0] ? each : most))
  return { seconds, by }
}

function line(step: GpuStep, indent: string): string {
  const cost = stepCost(step)
  const limits = roofs.map((roof) => { const { seconds, by } = timeOf(cost, roof); return `${(1e6 * seconds).toFixed(0)} µs ${by}` })
  return `${indent}${step.is.padEnd(14)} ${`${unit(cost.flops)}FLOP`.padStart(12)} ${`${unit(cost.bytes)}B`.padStart(10)} ${(cost.flops / Math.max(1, cost.bytes)).toFixed(1).padStart(6)} FLOP/B  ${limits.join(" | ")}${step.note === "" ? "" : `  // ${step.note}`}`
}
