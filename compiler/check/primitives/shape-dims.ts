import type { Label } from "../../../grammar/diagnostic.ts"
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Poly } from "../poly.ts"
import { show, symbolsOf } from "../poly.ts"
import type { CallSite, Context, Dim, ErrorValue } from "../value.ts"
import { argSpan } from "./tensor-values.ts"

export type Shape = readonly Dim[]

export function isShape(x: Shape | ErrorValue): x is Shape {
  return Array.isArray(x)
}

/** A size for people: the number where it is known, else the polynomial. */
export function showSize(p: Poly, ctx: Context): string {
  const n = ctx.known(p)
  return n === null ? show(p) : String(n)
}

/** `[B, T, 192]` */
export function showShape(shape: Shape, ctx: Context): string {
  return `[${shape.map((d) => showSize(d.size, ctx)).join(", ")}]`
}

/** Where each of the sizes came from, each place once, as far as it is elsewhere than the mistake itself. */
export function originLabels(dims: readonly Dim[], ctx: Context, except: CallSite): readonly Label[] {
  const labels: Label[] = []
  for (const d of dims) {
    const from = d.origin
    if (from === null || (from.source === except.span.source && from.start >= except.span.start && from.end <= except.span.end)) continue
    if (labels.some((l) => l.span.source === from.source && l.span.start === from.start && l.span.end === from.end)) continue
    const name = symbolsOf(d.size).map((s) => s.name).join(", ")
    const size = showSize(d.size, ctx)
    labels.push({ span: from, message: name === "" || name === size ? `${size} comes from here` : `${size} (\`${name}\`) comes from here` })
  }
  return labels
}

/** Whether both sizes are vocabularies of tokenizers, and of different ones. */
export function vocabulariesDiffer(a: Poly, b: Poly): boolean {
  const [x, y] = [a, b].map((p) => symbolsOf(p).filter((s) => s.vocabulary).map((s) => s.id))
  if (x === undefined || y === undefined || x.length === 0 || y.length === 0) return false
  return x.length !== y.length || x.some((id) => !y.includes(id))
}

/** The size of a pair of axes of which one may be repeated; null where they do not go together. */
function meet(a: Dim, b: Dim, ctx: Context): Dim | null {
  const [m, n] = [ctx.known(a.size), ctx.known(b.size)]
  if (m === 1) return b
  if (n === 1) return a
  const order = ctx.compare(a.size, b.size)
  if (order === "different") return null
  return order === "later" && n !== null ? b : a
}

/** The common shape of several, aligned from the right; where there is none, the mistake is reported. */
export function broadcastShapes(shapes: readonly Shape[], what: string, site: CallSite, ctx: Context): Shape | ErrorValue {
  let result: Shape = []
  for (const shape of shapes) {
    const next = broadcastTwo(result, shape, what, site, ctx)
    if (!isShape(next)) return next
    result = next
  }
  return result
}

function broadcastTwo(a: Shape, b: Shape, what: string, site: CallSite, ctx: Context): Shape | ErrorValue {
  const rank = Math.max(a.length, b.length)
  const result: Dim[] = []
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length]
    const y = b[i - rank + b.length]
    if (x !== undefined && y !== undefined && i === rank - 1 && vocabulariesDiffer(x.size, y.size)) {
      return reportVocabularies(x, y, `${what} compares the two token by token`, site, ctx)
    }
    const size = x === undefined ? y : y === undefined ? x : meet(x, y, ctx)
    if (size === null || size === undefined) {
      const pair = [x, y].filter((d): d is Dim => d !== undefined)
      const [m, n] = pair.map((d) => showSize(d.size, ctx))
      return ctx.report(diagnostic("SLM2101", site.span, `${what} of ${showShape(a, ctx)} and ${showShape(b, ctx)}: ${m} and ${n} do not go together`, {
        labels: originLabels(pair, ctx, site),
        notes: ["shapes are aligned at the right; two sizes must be equal, or one of them 1 or missing"],
      }))
    }
    result.push(size)
  }
  return result
}

/** SLM2104: two sizes that are vocabularies of different tokenizers. */
export function reportVocabularies(a: Dim, b: Dim, note: string, site: CallSite, ctx: Context): ErrorValue {
  const describe = (d: Dim): string => {
    const names = symbolsOf(d.size).filter((s) => s.vocabulary).map((s) => s.name.replace(/\.size$/, ""))
    return `vocab ${showSize(d.size, ctx)}${names.map((name) => ` (from \`${name}\`)`).join("")}`
  }
  const labels = [a, b].flatMap((d): Label[] => {
    const from = d.origin ?? symbolsOf(d.size).find((s) => s.vocabulary)?.origin ?? null
    return from === null ? [] : [{ span: from, message: describe(d) }]
  })
  return ctx.report(diagnostic("SLM2104", site.span, "two different vocabularies meet", {
    label: `${describe(a)} and ${describe(b)}`, labels, notes: [`${note}.`], help: "encode both with one tokenizer",
  }))
}

/** Whether an axis has the wanted size; reports `message` where it certainly has not. */
export function requireSize(found: Dim, wanted: Dim, name: string, what: string, site: CallSite, ctx: Context): ErrorValue | null {
  if (vocabulariesDiffer(found.size, wanted.size)) return reportVocabularies(found, wanted, what, site, ctx)
  if (ctx.compare(found.size, wanted.size) !== "different") return null
  return ctx.report(diagnostic("SLM2102", argSpan(site, name), `${what}: ${showSize(found.size, ctx)} instead of ${showSize(wanted.size, ctx)}`, {
    labels: originLabels([found, wanted], ctx, site),
  }))
}

/** The axis as an index from the left; reports where the tensor has no such axis. */
export function axisIndex(axis: number, rank: number, name: string, site: CallSite, ctx: Context): number | ErrorValue {
  const i = axis < 0 ? axis + rank : axis
  if (Number.isInteger(axis) && i >= 0 && i < rank) return i
  return ctx.report(diagnostic("SLM2103", argSpan(site, name), `there is no axis ${axis} in a tensor with ${rank === 1 ? "one axis" : `${rank} axes`}`, {
    notes: rank === 0 ? ["a number has no axes"] : [`axes are 0 to ${rank - 1} from the left, or -1 to -${rank} from the right`],
  }))
}

/** Reports a tensor with the wrong number of axes. */
export function reportRank(shape: Shape, wanted: string, name: string, site: CallSite, ctx: Context): ErrorValue {
  const found = `${shape.length === 1 ? "one axis" : `${shape.length} axes`}, ${showShape(shape, ctx)}`
  return ctx.report(diagnostic("SLM2105", argSpan(site, name), `\`${name}\` has ${found}, instead of ${wanted}`, {
    labels: originLabels(shape, ctx, site),
  }))
}

