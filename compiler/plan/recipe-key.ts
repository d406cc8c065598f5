/** One key for all that a recipe does: its stages and its conditions. */
import type { Recipe } from "../check/check.ts"
import { sha256 } from "./sha256.ts"
import type { Keys } from "./key.ts"

/** Names, comments, layout and the order of independent stages are not meaning (spec 5.10). */
export function recipeKey({ stages, expects }: Recipe, keys: Keys): string {
  const conditions = expects.map(({ comparison, condition }) => (comparison === null ? keys.of(condition) : `${keys.of(comparison.left)} ${comparison.op} ${keys.of(comparison.right)}`))
  return sha256(["slm recipe 1", ...stages.map(({ key }) => key).sort(), ...conditions.sort()].join("\n"))
}
