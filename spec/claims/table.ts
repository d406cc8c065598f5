/** Claims of recipes, what seeds measured of them, and the table that says whether they hold. */
import { parse } from "../../grammar/parse.ts"
import type { Source } from "../../grammar/diagnostic.ts"

/** `// claim: …`, `// source: …`, `// setting: …` above an `expect` (or above the stages that it is about). */
export interface Claim {
  readonly claim: string
  readonly source: string
  readonly setting: string
  /** The condition as it is written. */
  readonly condition: string
}

/** What one seed came to: both sides of a comparison. */
export interface Measured {
  readonly left: number
  readonly right: number
  readonly operator: string
  readonly holds: boolean
}

/** Every `expect` of a recipe, with the claim before it. */
export function claimsIn(recipe: Source): readonly Claim[] {
  const notes = [...recipe.text.matchAll(/^\/\/ claim: (.*)\n\/\/ source: (.*)\n\/\/ setting: (.*)$/gm)]
  const expects = parse(recipe).module.items.filter((item) => item.kind === "expect")
  if (notes.length !== expects.length) throw new Error(`${recipe.id} has ${notes.length} claims and ${expects.length} conditions`)
  return expects.map(({ span, condition }, i) => {
    const note = notes[i]
    if (note === undefined || note.index > span.start || (notes[i + 1]?.index ?? Infinity) < span.start) throw new Error(`${recipe.id}: the condition number ${i + 1} has no claim of its own`)
    return { claim: note[1] ?? "", source: note[2] ?? "", setting: note[3] ?? "", condition: recipe.text.slice(condition.span.start, condition.span.end) }
  })
}

/** By how much a comparison holds; negative where it does not. */
function margin({ left, right, operator }: Measured): number {
  return operator.startsWith("<") ? right - left : operator.startsWith(">") ? left - right : -Math.abs(left - right)
}

const mean = (xs: readonly number[]): number => xs.reduce((sum, x) => sum + x, 0) / xs.length

/** The sample's standard deviation. */
function deviation(xs: readonly number[]): number {
  const middle = mean(xs)
  return Math.sqrt(xs.reduce((sum, x) => sum + (x - middle) ** 2, 0) / Math.max(1, xs.length - 1))
}

/**
 * A comparison holds if it does for every seed, and by more on average than the seeds differ in it. All else is open: the seeds
 * share data and weights with what they are compared with, so that the difference within a seed is what counts.
 */
export function verdict(measured: readonly Measured[]): "holds" | "open" {
  if (measured.length < 3 || !measured.every((m) => m.holds)) return "open"
  const margins = measured.map(margin)
  const equality = measured.every((m) => m.operator === "==")
  return equality || mean(margins) > deviation(margins) ? "holds" : "open"
}

function shown(xs: readonly number[]): string {
  const [middle, spread] = [mean(xs), deviation(xs)]
  const size = Math.abs(middle)
  const digits = size === 0 ? 0 : size < 1e-3 ? null : Math.max(0, 3 - Math.floor(Math.log10(size)))
  const text = (x: number): string => (x === 0 ? "0" : digits === null ? x.toExponential(1) : x.toFixed(digits))
  return spread === 0 ? text(middle) : `${text(middle)} ± ${text(spread)}`
}

/** One claim as a row of the table. */
export function row({ claim, source, setting }: Claim, measured: readonly Measured[]): string {
  const [first] = measured
  const value = first === undefined ? "not measured" : `${shown(measured.map((m) => m.left))} ${first.operator} ${shown(measured.map((m) => m.right))}`
  const holding = measured.filter((m) => m.holds).length
  const result = first === undefined ? "open" : verdict(measured) === "holds" ? "**holds**" : `open (${holding} of ${measured.length} seeds)`
  return `| ${[claim, source, setting, value, result].map((cell) => cell.replaceAll("|", "\\|").replaceAll("<", "&lt;")).join(" | ")} |`
}
