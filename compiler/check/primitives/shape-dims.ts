import { diagnostic } from "../../../grammar/diagnostic.ts"
import { originLabels, showShape, showSize } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { vocabulariesDiffer } from "../poly.ts"
import type { CallSite, Dim, ErrorValue } from "../value.ts"
import { vocabularyMistake } from "../vocabularies.ts"
import { argSpan } from "./tensor-values.ts"

export type Shape = readonly Dim[]

export function isShape(x: Shape | ErrorValue): x is Shape {
  return Array.isArray(x)
}

/** The size of a pair of axes of which one may be repeated; null where they do not go together. */
function meet(a: Dim, b: Dim, ctx: Machine): Dim | null {
  const [m, n] = [ctx.known(a.size), ctx.known(b.size)]
  if (m === 1) return b
  if (n === 1) return a
  const order = ctx.compare(a.size, b.size)
  if (order === "different") return null
  return order === "later" && n !== null ? b : a
}

/** The common shape of several, aligned from the right; where there is none, the mistake is reported. */
export function broadcastShapes(shapes: readonly Shape[], what: string, site: CallSite, ctx: Machine): Shape | ErrorValue {
  let result: Shape = []
  for (const shape of shapes) {
    const next = broadcastTwo(result, shape, what, site, ctx)
    if (!isShape(next)) return next
    result = next
  }
  return result
}

function broadcastTwo(a: Shape, b: Shape, what: string, site: CallSite, ctx: Machine): Shape | ErrorValue {
  const rank = Math.max(a.length, b.length)
  const result: Dim[] = []
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length]
    const y = b[i - rank + b.length]
    if (x !== undefined && y !== undefined && i === rank - 1 && vocabulariesDiffer(x.size, y.size)) {
      return vocabularyMistake(x, y, "two different vocabularies meet", site.span, ctx, `${what} compares the two token by token.`)
    }
    const size = x === undefined ? y : y === undefined ? x : meet(x, y, ctx)
    if (size === null || size === undefined) {
      const pair = [x, y].filter((d): d is Dim => d !== undefined)
      const [m, n] = pair.map((d) => showSize(d.size, ctx))
      return ctx.report(diagnostic("SLM2101", site.span, `${what} of ${showShape(a, ctx)} and ${showShape(b, ctx)}: ${m} and ${n} do not go together`, {
        labels: originLabels(pair, ctx, site.span),
        notes: ["shapes are aligned at the right; two sizes must be equal, or one of them 1 or missing"],
      }))
    }
    result.push(size)
  }
  return result
}

/** Whether an axis has the wanted size; reports `message` where it certainly has not. */
export function requireSize(found: Dim, wanted: Dim, name: string, what: string, site: CallSite, ctx: Machine): ErrorValue | null {
  if (vocabulariesDiffer(found.size, wanted.size)) return vocabularyMistake(found, wanted, what, site.span, ctx)
  if (ctx.compare(found.size, wanted.size) !== "different") return null
  return ctx.report(diagnostic("SLM2102", argSpan(site, name), `${what}: ${showSize(found.size, ctx)} instead of ${showSize(wanted.size, ctx)}`, {
    labels: originLabels([found, wanted], ctx, site.span),
  }))
}

/** The axis as an index from the left; reports where the tensor has no such axis. */
export function axisIndex(axis: number, rank: number, name: string, site: CallSite, ctx: Machine): number | ErrorValue {
  const i = axis < 0 ? axis + rank : axis
  if (Number.isInteger(axis) && i >= 0 && i < rank) return i
  return ctx.report(diagnostic("SLM2103", argSpan(site, name), `there is no axis ${axis} in a tensor with ${rank === 1 ? "one axis" : `${rank} axes`}`, {
    notes: rank === 0 ? ["a number has no axes"] : [`axes are 0 to ${rank - 1} from the left, or -1 to -${rank} from the right`],
  }))
}

/** Reports a tensor with the wrong number of axes. */
export function reportRank(shape: Shape, wanted: string, name: string, site: CallSite, ctx: Machine): ErrorValue {
  const found = `${shape.length === 1 ? "one axis" : `${shape.length} axes`}, ${showShape(shape, ctx)}`
  return ctx.report(diagnostic("SLM2105", argSpan(site, name), `\`${name}\` has ${found}, instead of ${wanted}`, {
    labels: originLabels(shape, ctx, site.span),
  }))
}

