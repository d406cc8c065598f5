/** What is taken for numbers that only a run can tell, so that what depends on them can be seen before it. */
import type { Facts, Stage } from "../plan/stage.ts"
import type { Recipe } from "./check.ts"
import { createMachine } from "./machine.ts"
import { takenInOrder } from "./choice.ts"
import type { Session } from "./session.ts"

/** Characters that a `char` tokenizer is taken to meet where nothing is known of its text. */
const someCharacters = 256

/** The number of entries that a tokenizer is taken to have: as many as the recipe allows it (`stated`). */
export function sizeTaken(stage: Stage, session: Session): { readonly value: number; readonly stated: boolean } {
  const size = stage.args.get("size")
  const most = size?.kind === "int" ? createMachine(session).known(size.poly) : null
  return { value: most ?? someCharacters, stated: most !== null }
}

/** Facts that decide what a check has left open: the order of trials, and with `sizes` those of vocabularies. Empty: there is nothing more to take. */
export function taken({ recipe, session }: { readonly recipe: Recipe | null; readonly session: Session }, sizes: boolean): Facts {
  const known = session.environment.facts
  const orders = [...session.rankings].map((key) => [takenInOrder(key), 1] as const)
  const tokenizers = sizes ? (recipe?.stages ?? []).filter(({ type }) => type.is === "tokenizer").map((stage) => [`${stage.key}.size`, sizeTaken(stage, session).value] as const) : []
  return new Map([...orders, ...tokenizers].filter(([name]) => !known.has(name)))
}

/** Whether every vocabulary is as large as the recipe says: bounds are worth a word, guesses are not. */
export function sizesAreStated({ recipe, session }: { readonly recipe: Recipe | null; readonly session: Session }): boolean {
  return (recipe?.stages ?? []).every((stage) => stage.type.is !== "tokenizer" || sizeTaken(stage, session).stated)
}
