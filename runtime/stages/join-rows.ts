import { appendRows } from "../data/append.ts"
import { expectGood } from "../data/result.ts"
import type { Rows } from "../data/rows.ts"
import type { Members } from "./artifact.ts"

/** All parts behind each other, for stages that look at the whole of split data (a tokenizer on `book`). */
export function joinRows(members: Members<Rows>): Rows {
  const [first, ...rest] = members.values()
  if (first === undefined) throw new Error("stages: data without a part")
  return rest.reduce((a, b) => expectGood(appendRows(a, b), "stages: the parts of a split"), first)
}
