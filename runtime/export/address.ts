import type { Expr } from "../../grammar/ast.ts"

/** The left side of a `map` line. */
export type Segment =
  | { readonly is: "names"; readonly names: readonly string[] } // one name, or `{q, k, v}` in that order
  | { readonly is: "index"; readonly index: number } // [2]
  | { readonly is: "bind"; readonly name: string } // [i]

/** What an index name stands for on one line. */
export type Indices = ReadonlyMap<string, number>

/** The segments of an address as it is written, or the expression that does not belong in one. */
export function segmentsOf(expr: Expr): readonly Segment[] | Expr {
  switch (expr.kind) {
    case "name": return [{ is: "names", names: [expr.name] }]
    case "field": return after(expr.object, { is: "names", names: [expr.name.name] })
    case "select": return after(expr.object, { is: "names", names: expr.names.map((ident) => ident.name) })
    case "index": {
      if (expr.index.kind === "name") return after(expr.object, { is: "bind", name: expr.index.name })
      if (expr.index.kind === "number" && expr.index.integer) return after(expr.object, { is: "index", index: expr.index.value })
      return expr.index
    }
    default: return expr
  }
}

function after(object: Expr, segment: Segment): readonly Segment[] | Expr {
  const before = segmentsOf(object)
  return "kind" in before ? before : [...before, segment]
}

/** `blocks[2].attn.q.weight` -> blocks, 2, attn, q, weight. */
function stepsOf(path: string): readonly (string | number)[] {
  return [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((m) => (m[1] === undefined ? m[2]! : Number(m[1])))
}

/** Every value of the indices for which some weight lies below the address up to its last index, in the order of the weights. */
export function bindings(segments: readonly Segment[], paths: readonly string[]): readonly Indices[] {
  const last = segments.findLastIndex((segment) => segment.is === "bind")
  if (last < 0) return [new Map()]
  const found = new Map<string, Indices>()
  for (const path of paths) {
    const indices = matched(segments.slice(0, last + 1), stepsOf(path))
    if (indices !== null) found.set([...indices.values()].join(), indices)
  }
  return [...found.values()]
}

function matched(segments: readonly Segment[], steps: readonly (string | number)[]): Indices | null {
  const indices = new Map<string, number>()
  for (const [place, segment] of segments.entries()) {
    const step = steps[place]
    if (segment.is === "names") {
      if (typeof step !== "string" || !segment.names.includes(step)) return null
    } else if (typeof step !== "number" || (segment.is === "index" && step !== segment.index)) return null
    else if (segment.is === "bind") {
      if ((indices.get(segment.name) ?? step) !== step) return null
      indices.set(segment.name, step)
    }
  }
  return indices
}

/** The paths an address names for these indices, alternatives in the order written. */
export function pathsOf(segments: readonly Segment[], indices: Indices): readonly string[] {
  let paths = [""]
  for (const segment of segments) {
    if (segment.is === "names") paths = paths.flatMap((path) => segment.names.map((name) => (path === "" ? name : `${path}.${name}`)))
    else paths = paths.map((path) => `${path}[${segment.is === "index" ? segment.index : indices.get(segment.name)}]`)
  }
  return paths
}
