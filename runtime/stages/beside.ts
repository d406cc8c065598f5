/** `noted`: what a function makes of each row, kept; `beside`: rows with that, or with other rows. */
import { lowerNotes } from "../../compiler/graph/lower/notes.ts"
import { size } from "../../compiler/graph/node.ts"
import { createLoader } from "../data/batches.ts"
import type { NotedTensor } from "../data/beside.ts"
import { narrowed, notedRow, noteBytes, otherRows, withBeside } from "../data/beside.ts"
import type { Numbers } from "../data/pack.ts"
import type { HostTensor } from "../device.ts"
import { demand } from "../limits.ts"
import { expectData, memberOf, whole } from "./artifact.ts"
import { packedInput, packedOutcome } from "./data.ts"
import type { Executor, StageEnv } from "./environment.ts"
import { artifactArg, done, fromResult, given, numberArg, refOf, required, wordArg } from "./environment.ts"
import { ids, taken, writeStates } from "./feeds.ts"
import { rowShapeOf } from "./train.ts"
import { startStates } from "./weights-io.ts"

const empty = (dtype: HostTensor["dtype"], n: number): Numbers => (dtype === "f32" ? new Float32Array(n) : dtype === "i32" ? new Int32Array(n) : new Uint8Array(n))

export const notesStage: Executor = async (stage, env) => {
  const packed = await packedInput(stage, "data", env)
  const data = required(artifactArg(stage, "data"), stage, "data")
  const type = required(data.type.is === "tokens" ? data.type : null, stage, "data")
  const { tokenizer } = expectData(await env.input(type.tokenizer.stage), "tokenizer")
  const rows = Math.min(numberArg(stage, "batch", env) ?? 16, packed.rows)
  const { program, weights } = lowerNotes(env.session, stage, rowShapeOf(packed, tokenizer, rows))
  const bytes = program.outputs.reduce((sum, { node }) => sum + (node.dtype === "bool" ? 1 : 4) * size(node.shape.slice(1)) * packed.rows, 0)
  demand(2 * bytes, `\`${stage.name}\``, env.limits) // in memory, and once more on its way to the store
  const found = new Map(program.outputs.map(({ name, node }) => {
    const shape = [packed.rows, ...node.shape.slice(1)]
    return [name, { dtype: node.dtype, shape, data: empty(node.dtype, size(shape)) }] as const
  }))
  const runner = await env.device.load(program)
  const batches = Math.ceil(packed.rows / rows)
  const seed = numberArg(stage, "seed", env) ?? 0
  try {
    await writeStates(runner, program, await startStates(weights, 0, env))
    const loader = createLoader({ source: packed, batch: rows, seed: 0, order: "sequential" })
    for (let i = 0; i < batches; i++) {
      if (env.signal?.aborted) return { is: "interrupted" }
      const outputs = await runner.step(taken(program, { ...loader.batch(i * rows), seed: ids([], [seed]), step: ids([], [0]) }))
      for (const [name, { data: all, shape }] of found) {
        const width = size(shape.slice(1))
        const values = required(outputs[name] ?? null, stage, name).data
        all.set(values.subarray(0, Math.min(rows, packed.rows - i * rows) * width), i * rows * width)
      }
      env.emit({ event: "work", stage: refOf(stage), done: i + 1, total: batches, unit: "batches" })
    }
  } finally {
    runner.dispose()
  }
  const half = wordArg(stage, "numbers") === "f16"
  const tensors = new Map([...found].map(([name, { dtype, shape, data: all }]): [string, NotedTensor] => [name, narrowed(dtype, shape, all, half)]))
  const kept = [...tensors.values()].reduce((sum, { shape, stored }) => sum + noteBytes[stored] * size(shape), 0)
  return done({ is: "notes", rows: packed.rows, tensors }, { rows: packed.rows, bytes: kept })
}

export const besideStage: Executor = async (stage, env) => {
  const packed = await packedInput(stage, "data", env)
  const notes = required(given(stage, "notes"), stage, "notes")
  const names = notes.kind === "record" ? [...notes.fields.keys()] : []
  const others = []
  for (const name of names) others.push(await besideOf(name, env, notes.kind === "record" ? notes.fields.get(name) : undefined))
  return fromResult(withBeside(packed, others), stage, (found) => packedOutcome(whole(found)))
}

async function besideOf(name: string, env: StageEnv, value: ReturnType<typeof given> | undefined): Promise<Parameters<typeof withBeside>[1][number]> {
  if (value?.kind !== "artifact") throw new Error(`beside: ${name} is no artifact`)
  const input = await env.input(value.stage)
  if (input.is === "notes") return { name, rows: input.rows, beside: new Map([...input.tensors].map(([path, tensor]) => [path, notedRow(tensor)])) }
  const other = memberOf(expectData(input, "packed").members, value.member)
  return { name, rows: other.rows, beside: otherRows(other) }
}
