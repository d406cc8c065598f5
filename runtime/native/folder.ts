/** What the folders of trainings and of generations share: tensors in files, the lines of the recipe, programs. */
import type { CpuTarget } from "../../compiler/schedule/cpu.ts"
import type { Origin } from "../../compiler/render/native/program.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { NativeProgram } from "../../compiler/render/native/program.ts"
import type { Source } from "../../grammar/diagnostic.ts"
import { parse } from "../../grammar/parse.ts"
import { lineIndex, lineOf, lineText } from "../../grammar/position.ts"
import type { HostTensor } from "../device.ts"
import { compileCpu } from "../devices/cpu.ts"
import type { FileTensor } from "../export/safetensors.ts"
import { writeSafetensors } from "../export/safetensors.ts"

export type Files = ReadonlyMap<string, Uint8Array>

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A tensor of a program as one of a file; conditions are bytes. */
export function fileTensor(name: string, { shape, dtype, data, stored }: HostTensor): FileTensor {
  if (stored !== undefined && data instanceof Uint8Array) return { name, dtype: "U8", shape: [data.length], data }
  return { name, dtype: dtype === "f32" ? "F32" : dtype === "i32" ? "I32" : "U8", shape, data }
}

export function statesFile(states: ReadonlyMap<string, HostTensor>): Uint8Array {
  return writeSafetensors([...states].map(([name, value]) => fileTensor(name, value)))
}

/** The lines on which a stage is written: those of the binding it stands in. */
export function originOf(stage: Stage, sources: ReadonlyMap<string, Source>): Origin {
  const source = sources.get(stage.span.source)
  if (source === undefined) throw new Error(`native: the text of ${stage.name} is not known`)
  const index = lineIndex(source.text)
  const item = parse(source).module.items.find(({ span }) => span.start <= stage.span.start && stage.span.end <= span.end)
  const { start, end } = item?.span ?? stage.span
  const [first, last] = [lineOf(index, start), lineOf(index, Math.max(start, end - 1))]
  return { recipe: source.id, firstLine: first + 1, lines: Array.from({ length: last - first + 1 }, (_, i) => lineText(index, first + i)) }
}

export function nativeProgram(name: string, program: Program, target: CpuTarget): NativeProgram {
  return { name, scheduled: compileCpu(program, target) }
}
