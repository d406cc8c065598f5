/** What measures of all kinds of stages begin with: arguments, shapes of data, memory of programs, weights as they are stored. */
import { matches } from "../compiler/check/address.ts"
import type { Checked } from "../compiler/check/check.ts"
import { createMachine } from "../compiler/check/machine.ts"
import { constant } from "../compiler/check/poly.ts"
import type { AddressValue, ArtifactValue, EncodingValue } from "../compiler/check/value.ts"
import type { RowShape } from "../compiler/graph/lower/context.ts"
import { storeOf } from "../compiler/graph/lower/encoding.ts"
import type { SpecWeight } from "../compiler/graph/lower/forward.ts"
import { weightsOfSpec } from "../compiler/graph/lower/forward.ts"
import { size, type Program } from "../compiler/graph/node.ts"
import { withoutStorage } from "../compiler/kernel/wide.ts"
import { cost } from "../compiler/plan/cost.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Layout } from "./export/layouts.ts"
import { fits, layoutOf } from "./export/layouts.ts"
import type { ProgramMemory } from "./device.ts"
import type { Count, Finished } from "./plan-sizes.ts"
import { demandPrograms, type Limits } from "./limits.ts"
import { overLayouts } from "./stages/encoded.ts"

/** `null`: not known, or nothing worth counting. */
export interface Measures {
  readonly parameters: number | null
  /** Tokens that pass through the model. */
  readonly tokens: Count | null
  /** Floating-point operations, as exact as the tokens. */
  readonly flops: number | null
  /** Bytes that the stage's programs take on the device: to the byte where the device can tell (`device`), else the bound without fusion. */
  readonly memory: number | null
  /** The parts of that; null: a bound. */
  readonly device: ProgramMemory | null
  /** Bytes of the result. */
  readonly disk: number | null
}

export const nothingMeasured: Measures = { parameters: null, tokens: null, flops: null, memory: null, device: null, disk: null }

export interface Counting { readonly device: NonNullable<Finished["device"]> | null; readonly limits: Limits }

/** What programs that are loaded together take. */
export function memoryOf(stage: Stage, programs: readonly { readonly program: Program; readonly most?: number }[], { device, limits }: Counting): Pick<Measures, "memory" | "device"> {
  if (device !== null) demandPrograms(programs.map(({ program, most = Infinity }) => ({ program, recomputed: most })), `\`${stage.name}\``, device.info.name, limits)
  const tell = device?.memoryOf
  if (tell === undefined) return { memory: Math.max(0, ...programs.map(({ program }) => cost(withoutStorage(program)).peakBytes)), device: null }
  const parts = programs.map(({ program, most }) => tell(program, most))
  const sum = (of: keyof ProgramMemory): number => parts.reduce((total, part) => total + part[of], 0)
  const all = { arena: sum("arena"), threads: sum("threads"), again: sum("again") }
  return { memory: all.arena + all.threads, device: all }
}

// ---------------------------------------------------------------- arguments

export function number(stage: Stage, name: string, known: Checked): number | null {
  const value = stage.args.get(name)
  if (value?.kind === "int") return createMachine(known.session).known(value.poly)
  return value?.kind === "quantity" || value?.kind === "float" ? value.value : null
}

export function artifact(stage: Stage, name: string): ArtifactValue | null {
  const value = stage.args.get(name)
  return value?.kind === "artifact" ? value : null
}

export interface DataShape { readonly length: number; readonly vocab: number; readonly labelled: boolean; readonly beside: NonNullable<RowShape["beside"]> }

/** Row length and vocabulary of packed data. */
export function dataShape(data: ArtifactValue | null, stage: Stage, known: Checked): DataShape | null {
  const type = data?.type.is === "tokens" ? data.type : null
  const machine = createMachine(known.session)
  const length = type?.length?.kind === "int" ? machine.known(type.length.poly) : null
  const vocab = type === null ? null : machine.known(machine.unknownInt(type.tokenizer.stage, "size", stage.span).poly)
  if (type === null || length === null || vocab === null) return null
  const beside = [...type.fields].map(([path, field]) => [path, { ...field, shape: field.shape.map((d) => machine.known(d.size) ?? 1) }] as const)
  return { length, vocab, labelled: type.labels !== null, beside: new Map(beside) }
}

export const rowShape = (rows: number, { length, vocab, labelled, beside }: DataShape) => ({ rows, length, vocab: { size: constant(vocab), origin: null }, label: labelled ? { classes: null } : null, beside })

/** Weights of the model of a stage. */
export function countOf(stage: Stage, known: Checked): number | null {
  const model = artifact(stage, "model")
  return model?.type.is === "weights" ? weightsOfSpec(known.session, model.type.spec).reduce((sum, w) => sum + size(w.shape), 0) : null
}

// ---------------------------------------------------------------- weights

export function weightsOf(stage: Stage, known: Checked): Pick<Measures, "parameters" | "disk"> {
  if (stage.type.is !== "weights") return { parameters: null, disk: null }
  const list = weightsOfSpec(known.session, stage.type.spec)
  const layoutFor = layoutsOf(stage, stage.type.encodings, known)
  const bytes = (weight: SpecWeight): number => layoutFor(weight)?.bytes(weight.shape) ?? size(weight.shape) * 4
  return { parameters: list.reduce((sum, w) => sum + size(w.shape), 0), disk: list.reduce((sum, w) => sum + bytes(w), 0) }
}

/** The layout that a weight of the stage is stored in; null: plain numbers, or codes that no layout knows. */
function layoutsOf(stage: Stage, [encoding]: readonly EncodingValue[], known: Checked): (weight: SpecWeight) => Layout | null {
  const layout = encoding === undefined ? null : layoutOf(storeOf(known.session, encoding))
  const keep = stage.args.get("keep")
  const kept = keep?.kind === "list" ? keep.items.filter((item): item is AddressValue => item.kind === "address") : []
  return ({ path, shape }) => (layout !== null && shape.length >= 2 && fits(layout, path, shape) === null && !kept.some((address) => matches(address, path, "below")) ? layout : null)
}

/** A program as it takes the weights of a model, on a device that computes from codes. */
export function asStored(program: Program, list: readonly SpecWeight[] | null, model: ArtifactValue | null, known: Checked, device: Counting): Program {
  if (model?.type.is !== "weights" || model.type.encodings.length === 0 || device.device?.computesFromStorage !== true) return program
  return overLayouts(program, list ?? weightsOfSpec(known.session, model.type.spec), layoutsOf(model.stage, model.type.encodings, known))
}
