/** Recompute or keep: what a training's `recompute` and `max_memory` come to on a device. It changes memory and time, and no bit of a result. */
import type { Machine } from "../../compiler/check/machine.ts"
import { validationSets } from "../../compiler/check/validation.ts"
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import { cost } from "../../compiler/plan/cost.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import type { Device } from "../device.ts"
import type { Held } from "../limits.ts"
import { bytes } from "../numbers.ts"
import { given, wordArg } from "./environment.ts"

export interface MemoryGoal {
  /** What `Device.load` is given for the program that has gradients. */
  readonly most: number
  /** Kernels that run again in each step; 0 where all is kept. */
  readonly again: number
  /** What the device cannot do. */
  readonly warning: { readonly message: string; readonly help: string } | null
}

const keepAll: MemoryGoal = { most: Infinity, again: 0, warning: null }

/** The programs that a training holds at once: of its steps, and of its validation. */
export function heldBy(stage: Stage, { step, accumulation, measure }: LoweredTraining, most: number): readonly Held[] {
  const steps = step !== null ? [{ program: step, recomputed: most }] : accumulation === null ? [] : [{ program: accumulation.count }, { program: accumulation.gradient, recomputed: most }, { program: accumulation.apply }]
  return [...steps, ...(validates(stage) ? [{ program: measure }] : [])]
}

function validates(stage: Stage): boolean {
  return validationSets(stage.args).size > 0
}

/** The goal, or why it cannot be reached. `allowed`: what one stage may take where the recipe says nothing. */
export function memoryGoal(stage: Stage, lowered: LoweredTraining, device: Pick<Device, "info" | "memoryOf">, machine: Machine, allowed: number): MemoryGoal | Diagnostic {
  const wish = stage.args.get("recompute")?.kind === "none" ? "none" : wordArg(stage, "recompute") ?? "auto"
  const value = given(stage, "max_memory")
  const limit = value?.kind === "int" ? machine.known(value.poly) : null
  const program = lowered.step ?? lowered.accumulation?.gradient
  if (program === undefined || wish === "none") return keepAll
  if (device.memoryOf === undefined) {
    if (wish === "auto" && limit === null) return keepAll
    return { ...keepAll, warning: { message: `the device ${device.info.name} keeps all values: \`${limit === null ? "recompute" : "max_memory"}\` has no effect on it`, help: "the device cpu computes values again where it saves memory" } }
  }
  if (wish === "all") return { most: 0, again: device.memoryOf(program, 0).again, warning: null }
  const others = heldBy(stage, lowered, Infinity).flatMap((held) => (held.program === program ? [] : [held.program]))
  // Counted without fusion it is never less.
  const bound = cost(program).peakBytes
  if (bound <= (limit ?? Infinity) && bound + others.reduce((sum, other) => sum + cost(other).peakBytes, 0) <= allowed) return keepAll
  const beside = others.reduce((sum, other) => sum + (device.memoryOf?.(other).arena ?? 0), 0)
  const most = Math.min(limit ?? Infinity, Math.max(0, allowed - beside))
  const { arena, again } = device.memoryOf(program, most)
  if (limit !== null && arena > limit) {
    return diagnostic("SLM3504", stage.span, `\`${stage.name}\` does not fit into \`max_memory\`: one step takes ${bytes(arena)} with everything computed again that can be`, { help: `allow ${bytes(Math.ceil(arena / 1e6) * 1e6)}, or make the batch smaller and \`accumulate\` more of them` })
  }
  const fits = again === 0 && device.memoryOf(program).arena <= most
  return { most: fits ? Infinity : most, again, warning: null }
}
