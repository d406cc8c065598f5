import { createHash } from "node:crypto"
import { bad, failure, good, type Result } from "./result.ts"
import { contentOf, contentText, pickRows, withColumn, type Parts, type Rows } from "./rows.ts"
import type { StepReport } from "./steps.ts"

export interface SplitOptions {
  readonly valid?: number
  readonly test?: number
  /** Rows with an equal value in this column stay together. */
  readonly by?: string | null
  /** `position`: the first rows are for training, then validation, then test; a single long text is cut inside. */
  readonly order?: "hash" | "position"
}

export interface Split { readonly value: Parts<Rows>; readonly report: StepReport }

export function split(rows: Rows, options: SplitOptions = {}): Result<Split> {
  const shares = { valid: options.valid ?? 0.05, test: options.test ?? 0 }
  if (!(shares.valid >= 0 && shares.test >= 0 && shares.valid + shares.test < 1)) {
    return bad(failure("SLM3125", `shares of ${shares.valid} and ${shares.test} leave nothing for training`, "shares lie between 0 and 1: `split(valid: 5%, test: 5%)`"))
  }
  const by = options.by ?? null
  if (by !== null && options.order === "position") return bad(failure("SLM3125", "`by` has no effect with `order: position`", "leave one of the two out"))
  const parts = options.order === "position" ? byPosition(rows, shares) : byHash(rows, shares, by)
  if (!parts.ok) return parts
  const { train, valid, test } = parts.value
  for (const [name, part, share] of [["train", train, 1], ["valid", valid, shares.valid], ["test", test, shares.test]] as const) {
    if (share > 0 && part.count === 0) return bad(failure("SLM3122", `the part \`${name}\` has none of the ${rows.count} rows`, rows.count === 1 ? "cut the text first, `documents(by: paragraph)`, or split it by place: `order: position`" : "ask for a larger share, or use `order: position`"))
  }
  const counts = `train ${train.count}${shares.valid > 0 ? `, valid ${valid.count}` : ""}${shares.test > 0 ? `, test ${test.count}` : ""}`
  return good({
    value: { train, valid: shares.valid > 0 ? valid : null, test: shares.test > 0 ? test : null },
    report: { step: "split", before: rows.count, after: train.count + valid.count + test.count, drops: [], notes: [counts] },
  })
}

interface Shares { readonly valid: number; readonly test: number }
interface AllParts { readonly train: Rows; readonly valid: Rows; readonly test: Rows }

/** Equal texts and equal groups fall into one part, whatever else is in the data. */
function byHash(rows: Rows, shares: Shares, by: string | null): Result<AllParts> {
  const key = by === null ? contentKey(rows) : groupKey(rows, by)
  if (!key.ok) return key
  const train: number[] = []
  const valid: number[] = []
  const test: number[] = []
  for (let row = 0; row < rows.count; row++) {
    const u = fraction(key.value(row))
    ;(u < shares.test ? test : u < shares.test + shares.valid ? valid : train).push(row)
  }
  return good({ train: pickRows(rows, train), valid: pickRows(rows, valid), test: pickRows(rows, test) })
}

/** The first 48 bits of the SHA-256 of a text, as a number in [0, 1). */
export function fraction(text: string): number {
  return createHash("sha256").update(text, "utf8").digest().readUIntBE(0, 6) / 2 ** 48
}

function contentKey(rows: Rows): Result<(row: number) => string> {
  const content = contentOf(rows)
  return content.ok ? good((row) => contentText(content.value, row)) : content
}

function groupKey(rows: Rows, by: string): Result<(row: number) => string> {
  const column = rows.columns.get(by)
  if (column === undefined) return bad(failure("SLM3123", `there is no column \`${by}\``, `columns are ${[...rows.columns.keys()].map((c) => `\`${c}\``).join(", ")}`))
  switch (column.is) {
    case "string": return good((row) => column.values[row] ?? "")
    case "class": return good((row) => column.classes[column.values[row] ?? 0] ?? "")
    case "int":
    case "float": return good((row) => String(column.values[row] ?? 0))
    case "chat": return bad(failure("SLM3123", `\`${by}\` holds conversations, which are no groups`, "group by a column of strings, numbers or classes"))
  }
}

function byPosition(rows: Rows, shares: Shares): Result<AllParts> {
  const content = contentOf(rows)
  if (!content.ok) return content
  if (rows.count === 1 && content.value.is === "string" && rows.dialogue === null) return cutText(rows, content.value.name, content.value.values[0] ?? "", shares)
  const [first, second] = borders(rows.count, shares)
  const range = (from: number, to: number) => pickRows(rows, Array.from({ length: to - from }, (_, i) => from + i))
  return good({ train: range(0, first), valid: range(first, second), test: range(second, rows.count) })
}

/** How many of `count` come before the validation part and before the test part. */
function borders(count: number, shares: Shares): [number, number] {
  const below = (share: number) => Math.floor(count * share + 1e-9) // 1 - 0.05 - 0.05 is a little under 0.9
  return [below(1 - shares.valid - shares.test), below(1 - shares.test)]
}

function cutText(rows: Rows, name: string, text: string, shares: Shares): Result<AllParts> {
  const starts = codePointStarts(text)
  const [first, second] = borders(starts.length, shares)
  const from = starts[first] ?? text.length
  const to = starts[second] ?? text.length
  const part = (start: number, end: number): Rows => {
    if (start === end) return pickRows(rows, [])
    const line = (rows.places.line[0] ?? 1) + (text.slice(0, start).match(/\n/g)?.length ?? 0)
    return { ...withColumn(rows, name, { is: "string", values: [text.slice(start, end)] }), places: { ...rows.places, line: Int32Array.of(line) } }
  }
  return good({ train: part(0, from), valid: part(from, to), test: part(to, text.length) })
}

/** The offset of every character, so that none is cut in half. */
function codePointStarts(text: string): Uint32Array {
  const starts = new Uint32Array(text.length)
  let n = 0
  for (let i = 0; i < text.length; i++) {
    starts[n++] = i
    const unit = text.charCodeAt(i)
    const low = text.charCodeAt(i + 1)
    if (unit >= 0xd800 && unit <= 0xdbff && low >= 0xdc00 && low <= 0xdfff) i++
  }
  return starts.subarray(0, n)
}
