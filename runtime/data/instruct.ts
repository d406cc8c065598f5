import { bad, failure, good, type Result } from "./result.ts"
import { pickRows, pieceCounts, withColumn, type Rows } from "./rows.ts"
import { dropCounter, type Stepped } from "./steps.ts"

export interface InstructOptions {
  /** Names of the columns: what is read, and what is learned. */
  readonly prompt?: string
  readonly answer?: string
}

/** A prompt and its answer as one text, of which only the answer, and the end of the text, count in the loss. Both are plain text: control tokens in them are not. */
export function instruct(rows: Rows, options: InstructOptions = {}): Result<Stepped<Rows>> {
  if (rows.dialogue !== null) return bad(failure("SLM3124", "the texts are rendered already"))
  const prompts = stringsOf(rows, options.prompt ?? "prompt")
  const answers = stringsOf(rows, options.answer ?? "answer")
  if (!prompts.ok) return prompts
  if (!answers.ok) return answers
  const counter = dropCounter()
  const kept: number[] = []
  const values: string[] = []
  const pieces: Int32Array[] = []
  for (const [row, prompt] of prompts.value.entries()) {
    const answer = answers.value[row] ?? ""
    if (answer === "") {
      counter.drop("no answer to learn from", rows, row, prompt)
      continue
    }
    kept.push(row)
    values.push(prompt + answer)
    pieces.push(prompt === "" ? Int32Array.of(answer.length, pieceCounts) : Int32Array.of(prompt.length, 0, prompt.length + answer.length, pieceCounts))
  }
  if (kept.length === 0) return bad(failure("SLM3116", "no row has an answer to learn from"))
  return good({
    value: { ...withColumn(pickRows(rows, kept), "text", { is: "string", values }), dialogue: { template: null, system: null, special: [], pieces } },
    report: { step: "instruct", before: rows.count, after: kept.length, drops: counter.drops(), notes: [] },
  })
}

function stringsOf(rows: Rows, name: string): Result<readonly string[]> {
  const column = rows.columns.get(name)
  if (column?.is === "string") return good(column.values)
  const names = [...rows.columns].filter(([, other]) => other.is === "string").map(([other]) => `\`${other}\``)
  return bad(failure("SLM3123", `there is no column of text \`${name}\``, names.length > 0 ? `columns of text are ${names.join(", ")}` : "read it as text: `fields: { answer: \"string\" }`"))
}
