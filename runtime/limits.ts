/** What a run may take: counted before anything is allocated. */
import { totalmem } from "node:os"
import { instantiate, weightsOf } from "../compiler/check/instance.ts"
import { createMachine, moved } from "../compiler/check/machine.ts"
import type { Session } from "../compiler/check/session.ts"
import type { ArtifactType, SpecValue } from "../compiler/check/value.ts"
import type { Program } from "../compiler/graph/node.ts"
import { fuse } from "../compiler/kernel/fuse.ts"
import { orderKernels } from "../compiler/kernel/order.ts"
import { cost } from "../compiler/plan/cost.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import { cpuTargets, scheduleWithin } from "../compiler/schedule/cpu.ts"
import { diagnostic, type Diagnostic } from "../grammar/diagnostic.ts"
import { failure } from "./data/result.ts"
import type { Device } from "./device.ts"
import { bytes, count } from "./numbers.ts"
import { OverLimit } from "./over-limit.ts"

export interface Limits {
  /** Bytes that one stage may need at once. */
  readonly memory: number
  /** Weights that one model may have. */
  readonly params: number
}

/** A weight that is trained takes 16 bytes at least: itself, its gradient and two states of the optimiser. */
const trainedBytes = 16

/** What this machine, or the group of processes that this one is confined to, can take. */
export function machineLimits(): Limits {
  const confined = process.constrainedMemory?.() ?? 0
  const all = confined > 0 && confined < totalmem() ? confined : totalmem()
  return { memory: Math.floor(0.75 * all), params: Math.floor(all / trainedBytes) }
}

export const noLimits: Limits = { memory: Infinity, params: Infinity }

const multiples: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 }

/** `8G`, `500 MB`, `1e9`; null: that is no size. */
export function parseSize(text: string): number | null {
  const [, number, unit = ""] = /^\s*(\d[\d_]*(?:\.\d+)?(?:e\d+)?)\s*([kmgt]?)b?\s*$/i.exec(text) ?? []
  const size = Number(number?.replaceAll("_", "")) * (multiples[unit.toLowerCase()] ?? NaN)
  return Number.isFinite(size) && size >= 1 ? size : null
}

// ---------------------------------------------------------------- parameters

/** The models that have too many weights, each at the first stage that makes it. Sizes that are not known yet count as one. */
export function oversizedModels(stages: readonly Stage[], session: Session, { params }: Limits): readonly Diagnostic[] {
  const counted = new Map<SpecValue, number>()
  return stages.flatMap((stage) => specsOf(stage.type).flatMap((spec) => {
    if (counted.has(spec)) return []
    const found = leastParameters(spec, session)
    counted.set(spec, found)
    if (found <= params) return []
    return [diagnostic("SLM3602", stage.span, `\`${spec.name}\` has ${count(found)} parameters, and ${count(params)} are allowed`, { help: "make the model smaller, or allow more: `--max-params`" })]
  }))
}

function specsOf(type: ArtifactType): readonly SpecValue[] {
  if (type.is === "weights") return [type.spec]
  return type.is === "roles" ? [...type.roles.values()].flatMap((role) => specsOf(role.type)) : []
}

function leastParameters(spec: SpecValue, session: Session): number {
  const machine = moved(createMachine(session), { silent: true })
  const instance = instantiate(spec, "model", spec.origin ?? spec.template.code.span, machine)
  if (instance.kind === "error") return 0
  return weightsOf(instance).reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * (machine.known(dim.size) ?? 1), 1), 0)
}

// ---------------------------------------------------------------- memory

/** Refuses bytes that would be needed at once. */
export function demand(needed: number, what: string, { memory }: Limits): void {
  if (needed <= memory) return
  const size = Number.isFinite(needed) ? bytes(needed) : "more bytes than can be counted"
  throw new OverLimit(failure("SLM3601", `${what} needs ${size} at once, and ${bytes(memory)} are allowed`, "make the batch, the rows or the model smaller, or allow more: `--max-memory`"))
}

/** A program on a device, where values that take more than `recomputed` together are computed again. */
export interface Held { readonly program: Program; readonly recomputed?: number }

/** Refuses programs that are held on a device at once, and need more together. The bound without fusion is cheap; it is looked at more closely only where it is too much. */
export function demandPrograms(held: readonly Held[], what: string, device: Device["info"]["name"], limits: Limits): void {
  const most = held.reduce((sum, { program }) => sum + cost(program).peakBytes, 0)
  if (most <= limits.memory) return
  // What stays in the arena whatever is fused: no need to fuse programs that can never fit.
  const least = held.reduce((sum, { program }) => sum + inputBytes(program), 0)
  const exact = ({ program, recomputed = Infinity }: Held): number => scheduleWithin(orderKernels(fuse(program)), cpuTargets.portable, recomputed).arena
  demand(device === "cpu" && least <= limits.memory ? held.reduce((sum, one) => sum + exact(one), 0) : most, what, limits)
}

function inputBytes(program: Program): number {
  return program.inputs.reduce((sum, node) => sum + node.shape.reduce((product, n) => product * n, 4), 0)
}

/** The device, which loads no program that needs more than is allowed. */
export function limited(device: Device, limits: Limits): Device {
  return {
    ...device,
    async load(program, most) {
      demandPrograms([{ program, ...(most === undefined ? {} : { recomputed: most }) }], `\`${program.name}\``, device.info.name, limits)
      return device.load(program, most)
    },
  }
}
