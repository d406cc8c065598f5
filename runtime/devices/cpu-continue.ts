/** Texts that go on for several tokens in one foreign call: what Node needs between two steps takes as long as a fifth of a small step. */
import { continuation } from "../../compiler/render/native/choice.ts"
import type { Program } from "../../compiler/graph/node.ts"
import type { Continued } from "../device.ts"
import { DeviceFailure } from "../device.ts"
import type { Toolchain } from "./cpu-build.ts"
import { build } from "./cpu-build.ts"
import type { Layout } from "./cpu-cache.ts"
import type { Koffi, Opened } from "./cpu-run.ts"

/** Milliseconds of one call: nobody sees that tokens come together, and the process hears of signals in time. */
const longest = 4
/** Steps of one call at most. */
const mostSteps = 64

export type Continue = (texts: Continued) => readonly Int32Array[]

/** What a program for one token of each of some texts reads and yields; null where it is another program. */
function placesOf(program: Program, layout: Layout): { readonly rows: number; readonly vocab: number; readonly places: readonly number[] } | null {
  const [logits, ...others] = program.outputs.filter(({ name }) => !program.inputs.some(({ args }) => args.role === "state" && args.name === name))
  const known = ["tokens", "positions", "offset", "segments", "last"]
  const batch = program.inputs.filter(({ args }) => args.role === "batch")
  const tokens = batch.find(({ args }) => args.name === "tokens")
  const [rows = 0, each] = tokens?.args.shape ?? []
  if (logits?.name !== "logits" || others.length > 0 || tokens === undefined || each !== 1 || batch.some(({ args, dtype }) => !known.includes(args.name) || dtype !== "i32")) return null
  return { rows, vocab: logits.node.shape.reduce((x, y) => x * y, 1) / rows, places: [...known.map((name) => layout.inputs[name] ?? -1), layout.outputs["logits"] ?? -1] }
}

/** Null where the program does not write texts. */
export async function openContinue(koffi: Koffi, toolchain: Toolchain, program: Program, layout: Layout, opened: Opened): Promise<Continue | null> {
  const found = placesOf(program, layout)
  if (found === null) return null
  const built = await build(toolchain, continuation)
  if ("reason" in built) throw new DeviceFailure(built.reason, built.help)
  const call = koffi.load(built.path).func("slm_continue", "long", ["void *", "void *", "void *", "const double *", "int *", "const int *", "int *"])
  const { rows, vocab, places } = found
  const [task, state, out] = [new Float64Array(10 + places.length), new Int32Array(4 * rows), new Int32Array(mostSteps * rows)]
  return ({ texts, sampling, stopIds, most }) => {
    const { temperature, topK, topP, seed, stream } = sampling
    task.set([rows, vocab, Math.min(most, mostSteps), longest / 1000, stopIds.size, temperature, topK ?? -1, topP ?? -1, seed, stream, ...places])
    texts.forEach(({ token, length, prompt, over }, i) => state.set([token, length, prompt, over ? 1 : 0], 4 * i))
    const made = Number(call(opened.stepAddress, opened.program, opened.address, task, state, Int32Array.from([...stopIds, -1]), out))
    if (made < 1) throw new DeviceFailure("a step that writes several tokens failed", "there may be no memory left")
    return Array.from({ length: made }, (_, step) => out.slice(step * rows, (step + 1) * rows))
  }
}
