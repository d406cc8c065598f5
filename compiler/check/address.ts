/** Addresses: reading them, and matching them against the paths of parts and weights. */
import type { Expr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { textOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { lookupLocal } from "./scopes.ts"
import type { AddressSegment, AddressValue, InstanceValue, Scope, Value } from "./value.ts"

/** Reads an expression as an address; a local name that holds an address (or a list of them) is that. */
export function addressOf(expr: Expr, scope: Scope, m: Machine): Value {
  if (expr.kind === "name") {
    const local = lookupLocal(expr.name, scope)
    if (local !== null && ["address", "list", "unknown", "error", "none"].includes(local.kind)) return local
  }
  if (!["name", "field", "index", "select"].includes(expr.kind)) return expr.kind === "missing" ? { kind: "error", origin: null } : evaluate(expr, scope, m)
  const segments = segmentsOf(expr, scope, m)
  if (segments === null) return { kind: "error", origin: null }
  return { kind: "address", segments, text: textOf(expr.span, m.session), origin: expr.span }
}

function segmentsOf(expr: Expr, scope: Scope, m: Machine): readonly AddressSegment[] | null {
  switch (expr.kind) {
    case "name": return [{ is: "names", names: [expr.name] }]
    case "field": return append(segmentsOf(expr.object, scope, m), { is: "names", names: [expr.name.name] })
    case "select": return append(segmentsOf(expr.object, scope, m), { is: "names", names: expr.names.map((n) => n.name) })
    case "index": return append(segmentsOf(expr.object, scope, m), indexSegment(expr.index, scope, m))
    case "missing": return null
    default:
      m.report(diagnostic("SLM2206", expr.span, "this is not an address", { help: "an address is a path of names: `blocks[*].attn.{q, v}`" }))
      return null
  }
}

function append(segments: readonly AddressSegment[] | null, last: AddressSegment | null): readonly AddressSegment[] | null {
  return segments === null || last === null ? null : [...segments, last]
}

function indexSegment(expr: Expr, scope: Scope, m: Machine): AddressSegment | null {
  if (expr.kind === "wildcard") return { is: "any" }
  if (expr.kind === "name" && lookupLocal(expr.name, scope) === null) return { is: "bind", name: expr.name }
  if (expr.kind === "range") {
    const [from, to] = [evaluate(expr.from, scope, m), evaluate(expr.to, scope, m)]
    const [a, b] = [from, to].map((v) => (v.kind === "int" ? m.known(v.poly) : null))
    if (a !== null && a !== undefined && b !== undefined) return { is: "index", from: a, to: b ?? Number.MAX_SAFE_INTEGER }
    return from.kind === "error" || to.kind === "error" ? null : { is: "any" }
  }
  const value = evaluate(expr, scope, m)
  if (value.kind === "error") return null
  const n = value.kind === "int" ? m.known(value.poly) : null
  if (n !== null) return { is: "index", from: n, to: null }
  if (value.kind === "int" || value.kind === "unknown") return { is: "any" }
  m.report(diagnostic("SLM2206", expr.span, "an index in an address is a number, a range or `*`"))
  return null
}

type PathSegment = { readonly name: string } | { readonly index: number }

export function parsePath(path: string): readonly PathSegment[] {
  return [...path.matchAll(/[^.[\]]+|\[(\d+)\]/g)].map((match) => (match[1] === undefined ? { name: match[0] } : { index: Number(match[1]) }))
}

/** Whether the address is exactly this path (`whole`), or the path lies at or below it (`below`). */
export function matches(address: AddressValue, path: string, mode: "whole" | "below"): boolean {
  const segments = parsePath(path)
  if (mode === "whole" ? segments.length !== address.segments.length : segments.length < address.segments.length) return false
  return address.segments.every((s, i) => matchesSegment(s, segments[i] as PathSegment))
}

/** The indices that the address leaves open (`blocks[i]`) and the path fills in. */
export function indicesOf(address: AddressValue, path: string): readonly number[] {
  const segments = parsePath(path)
  return address.segments.flatMap((s, i) => {
    const at = segments[i]
    return s.is === "bind" && at !== undefined && "index" in at ? [at.index] : []
  })
}

export function boundNames(address: AddressValue): readonly string[] {
  return address.segments.flatMap((s) => (s.is === "bind" ? [s.name] : []))
}

function matchesSegment(s: AddressSegment, p: PathSegment): boolean {
  if (s.is === "names") return "name" in p && s.names.includes(p.name)
  if (!("index" in p)) return false
  return s.is === "any" || s.is === "bind" || (s.to === null ? p.index === s.from : p.index >= s.from && p.index < s.to)
}

/** The paths of all parts and weights below an instance, relative to it, in order. */
export function pathsOf(instance: InstanceValue): readonly string[] {
  const paths: string[] = []
  const visit = (value: Value): void => {
    if (value.kind === "list") value.items.forEach(visit)
    else if (value.kind === "record") [...value.fields.values()].forEach(visit)
    else if (value.kind === "instance") {
      if (value.path !== "" && !paths.includes(value.path)) paths.push(value.path)
      for (const w of value.weights.values()) paths.push(w.path)
      for (const member of value.members.values()) visit(member)
    }
  }
  visit(instance)
  return paths
}

/** An address that matches nothing is a mistake; the paths nearest to it are shown. */
export function reportUnmatched(address: AddressValue, paths: readonly string[], what: string, at: Span, m: Machine): void {
  const last = lastIndex(address, paths)
  if (last !== null) {
    m.report(diagnostic("SLM2201", address.origin ?? at, `\`${address.text}\` matches nothing in ${what}`, { notes: [`places are counted from 0; the last one there is ${last}`] }))
    return
  }
  const near = [...new Set(paths.map(generalised))]
    .map((path) => ({ path, score: similarity(address, path) }))
    .sort((a, b) => b.score - a.score).slice(0, 4).map((p) => `\`${p.path}\``)
  m.report(diagnostic("SLM2201", address.origin ?? at, `\`${address.text}\` matches nothing in ${what}`, near.length === 0 ? {} : { notes: [`nearest are ${near.join(", ")}`] }))
}

/** The largest index there is, where an address is wrong in its index alone. */
function lastIndex(address: AddressValue, paths: readonly string[]): number | null {
  const place = address.segments.findIndex((s) => s.is === "index")
  const anywhere: AddressValue = { ...address, segments: address.segments.map((s) => (s.is === "index" ? { is: "any" } : s)) }
  const found = paths.filter((path) => matches(anywhere, path, "below")).flatMap((path) => {
    const segment = parsePath(path)[place]
    return segment !== undefined && "index" in segment ? [segment.index] : []
  })
  return place < 0 || found.length === 0 ? null : Math.max(...found)
}

function generalised(path: string): string {
  return path.replace(/\[\d+\]/g, "[*]")
}

function similarity(address: AddressValue, path: string): number {
  const names = address.segments.flatMap((s) => (s.is === "names" ? s.names : []))
  const parts = parsePath(path.replace(/\[\*\]/g, "[0]")).flatMap((p) => ("name" in p ? [p.name] : []))
  let score = 0
  while (score < parts.length && names.includes(parts[score] ?? "")) score++
  const last = names[names.length - 1] ?? ""
  const shared = parts.filter((p) => names.includes(p)).length
  const end = parts[parts.length - 1] ?? ""
  let common = 0
  while (common < end.length && last[common] === end[common]) common++
  return 3 * score + shared + common / Math.max(end.length, 1) - 0.2 * parts.length
}
