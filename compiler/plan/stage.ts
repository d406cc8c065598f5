import type { Span } from "../../grammar/diagnostic.ts"
import type { ArtifactType, Value } from "../check/value.ts"

/** The kinds of work a run consists of. Library functions reduce to these. */
export type StageKind =
  | "text" | "jsonl" | "csv" | "parquet" | "made" // inputs
  | "documents" | "clean" | "split" | "take" | "chat" // rows -> rows
  | "each_row" | "instruct" | "append" | "filter" | "distinct" | "redact" | "in_language"
  | "byte" | "char" | "bpe" | "trim" | "load_tokenizer" // tokenizers
  | "entries" | "beginnings" // places of one in another, how its entries begin
  | "encode" | "pack" | "continued" // rows -> tokens
  | "noted" | "reread" | "beside" | "respelled" // tensors for each row, rows in other tokens, rows with them, and texts of them
  | "rarity" | "loss_of" | "lengths" // a difficulty per row
  | "curriculum" // staged mixture of tokens
  | "train" | "load" | "overlay" | "initial" | "rewrite" | "quantize" // weights
  | "observe" // statistics
  | "evaluate" | "answered" | "generate" // reports and samples
  | "ranking" // which of several reports are best
  | "write" // rows that a model has written
  | "expect" | "export"

/**
 * One node of the DAG. `key` is a SHA-256 over the canonical meaning of the stage (kind, revision, arguments, keys of
 * inputs): names, comments and layout do not enter. `name` is what the recipe calls it, for people.
 */
export interface Stage {
  readonly kind: StageKind
  readonly key: string
  readonly name: string
  readonly args: ReadonlyMap<string, Value>
  readonly inputs: readonly Stage[] // every stage its arguments refer to, closures included, each once
  readonly type: ArtifactType
  readonly span: Span
}

/** What runs taught: `<stage key>.<field>` -> number (`size` of a tokenizer, `loss` of an evaluation, rows of a data set). */
export type Facts = ReadonlyMap<string, number>
