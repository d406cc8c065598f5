/** `respelled`: rows whose texts are other tokens than they were. */
import { documentCount } from "../data/encode.ts"
import type { PackedRows } from "../data/pack.ts"
import { withColumn } from "../data/rows.ts"
import { expectData, memberOf, whole } from "./artifact.ts"
import { packedInput, rowsInput, rowsOutcome } from "./data.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, required } from "./environment.ts"

export const respelledStage: Executor = async (stage, env) => {
  const rows = memberOf(await rowsInput(stage, env), null)
  const packed = await packedInput(stage, "tokens", env)
  const { type } = required(artifactArg(stage, "tokens"), stage, "tokens")
  const { tokenizer } = expectData(await env.input(required(type.is === "tokens" ? type.tokenizer : null, stage, "tokens").stage), "tokenizer")
  const notes = expectData(await env.input(required(artifactArg(stage, "notes"), stage, "notes").stage), "notes")
  const column = rows.columns.get("text")
  if (column?.is !== "string") throw new Error("respelled: the rows have no text")
  const ids = placed(packed, required(notes.tensors.get("ids")?.data ?? null, stage, "notes"))
  const { offsets } = packed.set
  let document = 0
  // A row without text has made no document.
  const values = column.values.map((text) => {
    if (text === "" || document >= documentCount(packed.set)) return text
    const [from = 0, to = 0] = [offsets[document], offsets[++document]]
    return tokenizer.decode(ids.subarray(from, to - 1), { special: false })
  })
  return rowsOutcome(whole(withColumn(rows, "text", { is: "string", values })))
}

/** The tokens of the documents with those of the rows in their place; what no row has stays. */
function placed({ set, rows, length, layout }: PackedRows, ids: ArrayLike<number>): Int32Array {
  const all = set.tokens.slice()
  for (let row = 0; row < rows; row++) {
    const start = layout === "one per row" ? set.offsets[row] ?? 0 : row * length
    const end = Math.min(start + length, layout === "one per row" ? set.offsets[row + 1] ?? 0 : all.length)
    for (let i = start; i < end; i++) all[i] = ids[row * length + i - start] ?? 0
  }
  return all
}
