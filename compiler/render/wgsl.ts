/** A scheduled program as WGSL: shaders (equal ones once) and the dispatches that use them. Nothing here runs anything. */
import type { Buffer, RowsKernel } from "../kernel/ir.ts"
import type { GpuProgram, GpuStep, GpuWork, Place } from "../schedule/gpu.ts"
import { renderAttend, renderAttendBias, renderAttendKeys, renderAttendQueries } from "./wgsl-attend.ts"
import { renderContract, renderSiblings } from "./wgsl-contract.ts"
import { renderAxis, renderScatter, renderZeros } from "./wgsl-other.ts"
import { renderLines, renderPoints } from "./wgsl-rows.ts"
import type { Bound, ShaderBody } from "./wgsl-shader.ts"
import { bindBuffers, paramWords, shaderText } from "./wgsl-shader.ts"

export interface Shader {
  /** For labels and profiles: `contract 0`. */
  readonly name: string
  readonly text: string
  /** Words of parameters, and parts of the arena that are bound. */
  readonly words: number
  readonly parts: number
  /** Whether the turn of a loop is among the parameters it reads. */
  readonly turns: boolean
}

export interface Dispatch {
  readonly is: "dispatch"
  readonly shader: number
  readonly workgroups: number
  /** The second word is the turn of the loop. */
  readonly params: readonly number[]
  readonly parts: readonly number[]
  readonly note: string
  readonly step: GpuStep
}
export type Command = Dispatch | { readonly is: "loop"; readonly trips: number; readonly body: readonly Command[] }

export interface Tensor { readonly name: string; readonly buffer: Buffer; readonly place: Place }

export interface WgslProgram {
  readonly name: string
  readonly shaders: readonly Shader[]
  readonly commands: readonly Command[]
  /** Bytes of each part of the arena. */
  readonly parts: readonly number[]
  /** Kernels that run a second time, to save memory. */
  readonly again: number
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  /** Literals, written once. */
  readonly constants: readonly Tensor[]
}

export function renderWgsl(program: GpuProgram): WgslProgram {
  const shaders: Shader[] = []
  const known = new Map<string, number>()
  const dispatch = (step: GpuStep): Dispatch => {
    const bound = bindBuffers((buffer) => placeOf(program, buffer).part)
    const text = shaderText(bodyOf(step, program, bound), bound, program.target)
    const words = paramWords(bound.buffers.length)
    const index = known.get(text) ?? shaders.length
    if (index === shaders.length) {
      known.set(text, index)
      shaders.push({ name: `${step.is} ${index}`, text, words, parts: bound.parts.length, turns: text.includes("params[0].y") })
    }
    const params = [step.workgroups, 0, countOf(step), 0, ...bound.buffers.map((buffer) => placeOf(program, buffer).offset)]
    return { is: "dispatch", shader: index, workgroups: step.workgroups, params: [...params, ...Array<number>(words - params.length).fill(0)], parts: bound.parts, note: step.note, step }
  }
  const command = (item: GpuWork): Command => (item.is === "loop" ? { is: "loop", trips: item.trips, body: item.body.map(command) } : dispatch(item))
  const commands = program.work.map(command)
  const tensor = ({ name, buffer }: { readonly name: string; readonly buffer: Buffer }): Tensor => ({ name, buffer, place: placeOf(program, buffer) })
  const constants = program.buffers.filter((buffer) => buffer.values !== null && program.places.has(buffer)).map((buffer) => tensor({ name: buffer.name, buffer }))
  return { name: program.name, shaders, commands, parts: program.parts, again: program.again, inputs: program.inputs.map(tensor), outputs: program.outputs.map(tensor), constants }
}

function placeOf(program: GpuProgram, buffer: Buffer): Place {
  const place = program.places.get(buffer)
  if (place === undefined) throw new Error(`render: ${buffer.name} has no place in the arena`)
  return place
}

const points = ({ rows, cols }: RowsKernel): number => rows * cols

/** Threads that have something to do, where a shader asks. */
function countOf(step: GpuStep): number {
  if (step.is === "points") return points(step.kernel)
  if (step.is === "zeros") return step.buffer.size
  if (step.is !== "attend_bias") return 0
  const { batch, heads, queries, keys } = step.kernel.sizes
  return (step.kernel.dbias?.strides[0] === 0 ? 1 : batch) * heads * queries * keys
}

function bodyOf(step: GpuStep, { target }: GpuProgram, bound: Bound): ShaderBody {
  switch (step.is) {
    case "points": return renderPoints(step.kernel, bound)
    case "lines": return renderLines(step.kernel, step.plan, target, bound)
    case "contract": return renderContract(step.kernel, step.plan, target, bound)
    case "siblings": return renderSiblings(step.kernel, step.plans, bound)
    case "attend": return renderAttend(step.kernel, step.plan, target, bound)
    case "attend_queries": return renderAttendQueries(step.kernel, step.plan, target, step.stats, bound)
    case "attend_keys": return renderAttendKeys(step.kernel, step.plan, target, step.stats, bound)
    case "attend_bias": return renderAttendBias(step.kernel, step.stats, bound)
    case "zeros": return renderZeros(step.buffer, bound)
    case "scatter": return renderScatter(step.kernel, bound)
    case "axis": return renderAxis(step.kernel, step.lanes, bound)
  }
}

/** The shaders as one text, each with the dispatches that use it. */
export function printWgsl({ name, shaders, commands }: WgslProgram): string {
  const uses = new Map<number, string[]>()
  const visit = (list: readonly Command[], times: string): void => {
    for (const command of list) {
      if (command.is === "loop") visit(command.body, `${times}${command.trips} times `)
      else uses.set(command.shader, [...(uses.get(command.shader) ?? []), `//   ${times}${command.workgroups} workgroups${command.note === "" ? "" : `: ${command.note.replaceAll(/[\n\r]/g, " ")}`}`])
    }
  }
  visit(commands, "")
  return [`// ${name}: ${shaders.length} shaders`, ...shaders.map((shader, i) => `\n// ${shader.name}\n${(uses.get(i) ?? []).join("\n")}\n${shader.text}`)].join("\n")
}
