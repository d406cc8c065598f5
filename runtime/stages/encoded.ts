/**
 * Encoded weights as states of a program: the numbers that `encode` yielded, in the narrowest storage that keeps them exactly, and the text
 * of `decode` in the program where the weight was. A device that computes from narrower storage then keeps them as they are stored.
 */
import type { SpecWeight } from "../../compiler/graph/lower/forward.ts"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { image, rewriteInto } from "../../compiler/graph/rewrite.ts"
import type { StorageType } from "../../compiler/graph/stored.ts"
import { narrowest, packed } from "../../compiler/graph/stored.ts"
import { copy, reachable } from "../../compiler/graph/walk.ts"
import type { Device, HostTensor, Runner } from "../device.ts"
import type { Layout } from "../export/layouts.ts"
import { layoutOf } from "../export/layouts.ts"
import type { TensorData } from "../export/safetensors.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { stored } from "../weights.ts"
import { writeStates } from "./feeds.ts"
import { statesOf } from "./weights-io.ts"

/** What a program is given for its weights, and the program that takes it. */
export interface Given {
  /** Sets the weights of a program that was loaded. */
  fill(runner: Runner, program: Program): Promise<void>
  /** The same program over what it is given. */
  over(program: Program): Program
}

/** Weights in the host's memory. */
export interface GivenStates extends Given {
  readonly states: ReadonlyMap<string, HostTensor>
}

function givenStates(states: ReadonlyMap<string, HostTensor>, over: Given["over"]): GivenStates {
  return { states, over, fill: (runner, program) => writeStates(runner, program, states) }
}

/** The weights of one model for a device: encoded ones as they are stored where it computes from that, else as what they stand for. */
export function givenTo(device: Device, weights: Weights, list: readonly SpecWeight[]): GivenStates {
  if (device.computesFromStorage !== true) return givenStates(statesOf(weights, list), (program) => program)
  const encoded = new Map(list.flatMap((weight) => {
    const parts = partsOf(weight.name, weights.tensors.get(weight.path))
    return parts === null ? [] : [[weight.name, parts] as const]
  }))
  const states = statesOf(weights, list.filter(({ name }) => !encoded.has(name)))
  for (const { values } of encoded.values()) for (const [name, value] of values) states.set(name, value)
  return givenStates(states, (program) => decodedIn(program, encoded))
}

/** How a program would take weights of an encoding, known by their layout alone; `layoutFor` says which of them have one. */
export function overLayouts(program: Program, list: readonly SpecWeight[], layoutFor: (weight: SpecWeight) => Layout | null): Program {
  const encoded = new Map(list.flatMap((weight): [string, Form][] => {
    const layout = layoutFor(weight)
    const decode = layout === null ? null : stored(weight.shape, layout.store, new Map()).decoding()
    return layout === null || decode === null ? [] : [[weight.name, { decode, storageOf: (part) => storageIn(layout, part), nameOf: namesOf(weight.name, decode) }]]
  }))
  return decodedIn(program, encoded)
}

/** The parts of a weight in a program. */
interface Form {
  /** Its inputs are the parts by their own names (`codes`), `nameOf` says what they are called among the states. */
  readonly decode: Program
  nameOf(part: string): string
  /** By the name of the part; undefined: as f32. */
  storageOf(part: string): StorageType | undefined
}
interface Parts extends Form {
  readonly values: ReadonlyMap<string, HostTensor>
}

const namesOf = (name: string, decode: Program) => (part: string): string => (decode.inputs.length === 1 ? name : `${name}#${part}`)

/** The narrowest storage that holds whatever a layout admits; null where only f32 does. */
function storageIn({ low, high, half }: Layout, part: string): StorageType | undefined {
  if (part !== "codes") return half ? "f16" : undefined
  return narrowest([low, high]) ?? undefined
}

function partsOf(name: string, tensor: StoredTensor | undefined): Parts | null {
  const decode = tensor?.decoding() ?? null
  if (tensor === undefined || decode === null) return null
  const nameOf = namesOf(name, decode)
  const values = new Map(decode.inputs.map(({ args }) => [nameOf(args.name), stateOf(tensor, args.name, args.shape)] as const))
  return { values, decode, nameOf, storageOf: (part) => values.get(nameOf(part))?.stored }
}

function stateOf(tensor: StoredTensor, part: string, shape: readonly number[]): HostTensor {
  const data = tensor.buffers.get(part)
  if (data === undefined || data.length !== size(shape)) throw new Error(`weights: ${tensor.encoding} has no ${part} of [${shape.join(", ")}]`)
  const bytes = patterns(tensor.encoding, data)
  if (bytes !== null) return { shape, dtype: "f32", ...bytes }
  // What a layout admits decides, so that a plan knows it before there are numbers; of codes that no layout knows, the numbers themselves.
  const layout = layoutOf(tensor.encoding)
  const stored = layout === null ? narrowest(data) : storageIn(layout, part) ?? null
  return stored === null ? { shape, dtype: "f32", data: Float32Array.from(data) } : { shape, dtype: "f32", stored, data: packed(data, stored) }
}

/** Weights in 16 bits are held as bit patterns. */
function patterns(encoding: string, data: TensorData): { readonly stored: StorageType; readonly data: Uint8Array } | null {
  if ((encoding !== "f16" && encoding !== "bf16") || !(data instanceof Uint16Array)) return null
  const data8 = new Uint8Array(2 * data.length)
  data.forEach((pattern, i) => { data8[2 * i] = pattern & 255; data8[2 * i + 1] = pattern >> 8 })
  return { stored: encoding, data: data8 }
}

/** The program with every weight that is encoded made from its parts. */
function decodedIn(program: Program, encoded: ReadonlyMap<string, Form>): Program {
  const b = createBuilder()
  const known = new Map<Node, Node>()
  for (const node of program.inputs) {
    const parts = encoded.get(node.args.name)
    if (parts === undefined) {
      known.set(node, b.input(node.args.name, node.args.role, node.dtype, node.shape, node.args.stored))
      continue
    }
    const inside = new Map<Node, Node>(parts.decode.inputs.map((part) => {
      const name = parts.nameOf(part.args.name)
      return [part, b.input(name, "state", "f32", part.shape, parts.storageOf(part.args.name))]
    }))
    const [output] = parts.decode.outputs
    if (output === undefined) throw new Error(`weights: nothing decodes ${node.args.name}`)
    rewriteInto(b, [output.node], (builder, inner, inputs) => copy(builder, inner, inputs), inside)
    known.set(node, image(inside, output.node))
  }
  rewriteInto(b, program.outputs.map((output) => output.node), (builder, node, inputs) => copy(builder, node, inputs), known)
  const outputs = program.outputs.map(({ name, node }) => ({ name, node: image(known, node) }))
  return { name: program.name, outputs, inputs: reachable(outputs.map((output) => output.node)).filter((node) => node.op === "input") }
}
