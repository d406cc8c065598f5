/** What a folder for the browser holds, as `model.json`. Shaders and weights are files beside it. */
import type { Command, Tensor, WgslProgram } from "../../compiler/render/wgsl.ts"
import type { Signature } from "../devices/webgpu-run.ts"

export interface WebModel {
  readonly title: string
  readonly signature: Signature
  readonly program: WebProgram
  /** States that begin as zeros: keys and values of earlier tokens. */
  readonly caches: readonly string[]
  /** Places of the caches, and so the longest text. */
  readonly capacity: number
  readonly context: number | null
  /** Around what a user says, where the model has seen conversations. */
  readonly before: string
  readonly after: string
  readonly stopIds: readonly number[]
  readonly settings: { readonly prompt: string; readonly tokens: number; readonly temperature: number; readonly topK: number | null; readonly topP: number | null; readonly seed: number; readonly stop: readonly string[] }
}

/** A rendered program whose shaders are files. */
export type WebProgram = Omit<WgslProgram, "shaders"> & { readonly shaders: readonly (Omit<WgslProgram["shaders"][number], "text"> & { readonly file: string })[] }

/** Plain data: dispatches without what they were made from. */
export function webProgram(rendered: WgslProgram): { readonly program: object; readonly files: ReadonlyMap<string, string> } {
  const files = new Map<string, string>()
  const shaders = rendered.shaders.map(({ text, ...shader }) => {
    const file = `shaders/${shader.name.replaceAll(" ", "-")}.wgsl`
    files.set(file, text)
    return { ...shader, file }
  })
  const plain = (commands: readonly Command[]): readonly object[] => commands.map((command) => {
    if (command.is === "loop") return { ...command, body: plain(command.body) }
    const { step: _, ...dispatch } = command
    return dispatch
  })
  const tensor = ({ name, place, buffer: { dtype, stored, size, shape, values } }: Tensor): object =>
    ({ name, place, buffer: { dtype, stored, size, shape, values: values === null ? null : values.map((x) => (Number.isFinite(x) ? x : String(x))) } })
  return { files, program: { ...rendered, shaders, commands: plain(rendered.commands), inputs: rendered.inputs.map(tensor), outputs: rendered.outputs.map(tensor), constants: rendered.constants.map(tensor) } }
}
