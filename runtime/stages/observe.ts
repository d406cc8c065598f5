/** `observe`: statistics over data, added up in f64 over batches. */
import { lowerObservation } from "../../compiler/graph/lower/observe.ts"
import { createLoader } from "../data/batches.ts"
import type { StoredTensor } from "../weights.ts"
import { plain } from "../weights.ts"
import { expectData, whole } from "./artifact.ts"
import { packedInput } from "./data.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, done, numberArg, refOf, required, wordArg } from "./environment.ts"
import { ids, taken, writeStates } from "./feeds.ts"
import { rowShapeOf } from "./train.ts"
import { statesOf, weightsInput } from "./weights-io.ts"

export const observeStage: Executor = async (stage, env) => {
  const [model, data] = [required(artifactArg(stage, "model"), stage, "model"), required(artifactArg(stage, "data"), stage, "data")]
  const packed = await packedInput(stage, "data", env)
  const type = required(data.type.is === "tokens" ? data.type : null, stage, "data")
  const { tokenizer } = expectData(await env.input(type.tokenizer.stage), "tokenizer")
  const rows = Math.min(numberArg(stage, "batch", env) ?? 16, packed.rows)
  const { program, weights } = lowerObservation(env.session, stage, rowShapeOf(packed, tokenizer, rows))
  const largest = wordArg(stage, "combine") === "max"
  const sums = new Map<string, { readonly shape: readonly number[]; readonly data: Float64Array }>()
  const runner = await env.device.load(program)
  const batches = Math.ceil(packed.rows / rows)
  try {
    await writeStates(runner, program, statesOf(await weightsInput(model.stage, model.member, env), weights))
    const loader = createLoader({ source: packed, batch: rows, seed: 0, order: "sequential" })
    for (let i = 0; i < batches; i++) {
      if (env.signal?.aborted) return { is: "interrupted" }
      const outputs = await runner.step(taken(program, { ...loader.batch(i * rows), seed: ids([], [0]), step: ids([], [0]) }))
      for (const [name, { shape, data: values }] of Object.entries(outputs)) {
        const sum = sums.get(name)
        if (sum === undefined) sums.set(name, { shape, data: Float64Array.from(values) })
        else for (let k = 0; k < values.length; k++) sum.data[k] = largest ? Math.max(sum.data[k]!, values[k]!) : sum.data[k]! + values[k]!
      }
      env.emit({ event: "work", stage: refOf(stage), done: i + 1, total: batches, unit: "batches" })
    }
  } finally {
    runner.dispose()
  }
  const tensors = new Map([...sums].map(([name, sum]): [string, StoredTensor] => [name, plain(sum.shape, Float32Array.from(sum.data))]))
  return done({ is: "weights", members: whole({ tensors }), tokenizer: null }, { rows: packed.rows, batches, tensors: tensors.size })
}
