/**
 * Places in buffers as sums of constants times atoms: loop variables, quotients, remainders, and numbers read at run time.
 * Sums are kept in a normal form, so that equal places are found equal; that is what decides whether two accesses line up.
 */
import type { Expr } from "./ir.ts"

/** `r`: row of a kernel's domain, `j`: column, `k`: turn of a fold, `b`: matrix of a batch, `trip`: turn of a loop; axes of an operand: `x0`, `x1`, … */
export type Variable = "r" | "j" | "k" | "b" | "trip" | `x${number}`

export type Atom =
  | { readonly is: "var"; readonly name: Variable; readonly key: string; readonly low: number; readonly high: number }
  | { readonly is: "div" | "mod"; readonly of: Index; readonly by: number; readonly key: string; readonly low: number; readonly high: number }
  | { readonly is: "value"; readonly expr: Expr; readonly key: string; readonly low: number; readonly high: number }

export interface Term { readonly times: number; readonly atom: Atom }
/** base + the sum of times * atom; terms in order of key, none with factor 0. */
export interface Index { readonly base: number; readonly terms: readonly Term[] }

/** low <= index < high, or the access does not take place. */
export interface Guard { readonly index: Index; readonly low: number; readonly high: number }

export const zero: Index = { base: 0, terms: [] }

export function constant(base: number): Index {
  return base === 0 ? zero : { base, terms: [] }
}

/** A loop variable that runs from 0 to size - 1; one that can only be 0 is the constant 0. */
export function variable(name: Variable, size: number): Index {
  return size === 1 ? zero : of({ is: "var", name, key: name, low: 0, high: size - 1 })
}

/** A whole number that is read at run time. */
export function valueIndex(expr: Expr): Index {
  return of({ is: "value", expr, key: `v${expr.id}`, low: -(2 ** 31), high: 2 ** 31 - 1 })
}

function of(atom: Atom): Index {
  return { base: 0, terms: [{ times: 1, atom }] }
}

export function indexKey(x: Index): string {
  return `${x.base}${x.terms.map(({ times, atom }) => `+${times}*${atom.key}`).join("")}`
}

export function sameIndex(x: Index, y: Index): boolean {
  return x === y || indexKey(x) === indexKey(y)
}

export function times(x: Index, factor: number): Index {
  if (factor === 0) return zero
  return factor === 1 ? x : { base: x.base * factor, terms: x.terms.map((t) => ({ times: t.times * factor, atom: t.atom })) }
}

export function plus(x: Index, y: Index): Index {
  if (y.terms.length === 0 && y.base === 0) return x
  if (x.terms.length === 0 && x.base === 0) return y
  const sums = new Map<string, Term>()
  for (const t of [...x.terms, ...y.terms]) {
    const before = sums.get(t.atom.key)
    sums.set(t.atom.key, before === undefined ? t : { times: before.times + t.times, atom: t.atom })
  }
  return rejoined(normal(x.base + y.base, [...sums.values()]))
}

function normal(base: number, terms: readonly Term[]): Index {
  return { base, terms: terms.filter((t) => t.times !== 0).sort((p, q) => (p.atom.key < q.atom.key ? -1 : p.atom.key > q.atom.key ? 1 : 0)) }
}

/** m * (x mod c) + m * c * (x div c) is m * x. */
function rejoined(x: Index): Index {
  for (const t of x.terms) {
    if (t.atom.is !== "mod") continue
    const { of: inner, by } = t.atom
    const quotient = div(inner, by)
    const [only] = quotient.terms
    if (quotient.terms.length !== 1 || only === undefined || only.times !== 1 || quotient.base !== 0) continue
    const partner = x.terms.find((other) => other.atom.key === only.atom.key)
    if (partner === undefined || partner.times !== t.times * by) continue
    return plus(normal(x.base, x.terms.filter((other) => other !== t && other !== partner)), times(inner, t.times))
  }
  return x
}

export function rangeOf(x: Index): readonly [low: number, high: number] {
  let [low, high] = [x.base, x.base]
  for (const { times: n, atom } of x.terms) {
    low += n * (n > 0 ? atom.low : atom.high)
    high += n * (n > 0 ? atom.high : atom.low)
  }
  return [low, high]
}

/** The part that `by` divides, already divided, and the rest. */
function parted(x: Index, by: number): { readonly whole: Index; readonly rest: Index } {
  const base = Math.floor(x.base / by)
  return {
    whole: { base, terms: x.terms.filter((t) => t.times % by === 0).map((t) => ({ times: t.times / by, atom: t.atom })) },
    rest: { base: x.base - base * by, terms: x.terms.filter((t) => t.times % by !== 0) },
  }
}

/** Rounded down. Where the index may be negative the result counts only under a guard that excludes it. */
export function div(x: Index, by: number): Index {
  if (by === 1) return x
  const { whole, rest } = parted(x, by)
  const [low, high] = rangeOf(rest)
  if (Math.floor(low / by) === Math.floor(high / by)) return plus(whole, constant(Math.floor(low / by)))
  const [only] = rest.terms
  if (rest.terms.length === 1 && only !== undefined && only.times === 1 && rest.base === 0 && only.atom.is === "div") return plus(whole, div(only.atom.of, only.atom.by * by))
  // g x / (g c) is x / c.
  const g = rest.terms.reduce((n, t) => gcd(n, Math.abs(t.times)), by)
  if (g > 1) return plus(whole, div({ base: Math.floor(rest.base / g), terms: rest.terms.map((t) => ({ times: t.times / g, atom: t.atom })) }, by / g))
  return plus(whole, of({ is: "div", of: rest, by, key: `(${indexKey(rest)})/${by}`, low: Math.floor(low / by), high: Math.floor(high / by) }))
}

export function mod(x: Index, by: number): Index {
  if (by === 1) return zero
  const { rest } = parted(x, by)
  const [low, high] = rangeOf(rest)
  if (low >= 0 && high < by) return rest
  const [only] = rest.terms
  if (rest.terms.length === 1 && only !== undefined && only.times === 1 && rest.base === 0 && only.atom.is === "mod" && only.atom.by % by === 0) return mod(only.atom.of, by)
  return of({ is: "mod", of: rest, by, key: `(${indexKey(rest)})%${by}`, low: 0, high: Math.min(by - 1, Math.max(high, 0)) })
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/** Coordinates to place, by strides. */
export function linear(coordinates: readonly Index[], strides: readonly number[]): Index {
  return coordinates.reduce((sum, x, i) => plus(sum, times(x, strides[i] ?? 0)), zero)
}

/** Row-major place to coordinates. */
export function coordinatesOf(place: Index, shape: readonly number[]): Index[] {
  const coordinates: Index[] = []
  let rest = place
  for (let i = shape.length - 1; i >= 0; i--) {
    const n = shape[i] ?? 1
    coordinates.unshift(n === 1 ? zero : i === 0 ? rest : mod(rest, n))
    if (n !== 1) rest = div(rest, n)
  }
  return coordinates
}

/** Whether a guard holds for every value of the variables. */
export function alwaysHolds(guard: Guard): boolean {
  const [low, high] = rangeOf(guard.index)
  return low >= guard.low && high < guard.high
}

/** Everything an index is made of, atoms inside of quotients included. */
export function atomsOf(x: Index): readonly Atom[] {
  return x.terms.flatMap(({ atom }) => [atom, ...(atom.is === "div" || atom.is === "mod" ? atomsOf(atom.of) : [])])
}

/** The factor of a variable where the index is linear in it; null where it is not. */
export function factorOf(x: Index, name: Variable): number | null {
  let factor = 0
  for (const { times: n, atom } of x.terms) {
    if (atom.is === "var") factor += atom.name === name ? n : 0
    else if (atom.is === "value" ? atom.expr.depends.has(name) : atomsOf(atom.of).some((a) => (a.is === "var" && a.name === name) || (a.is === "value" && a.expr.depends.has(name)))) return null
  }
  return factor
}

/** The same place with variables replaced. */
export function substitute(x: Index, replace: (atom: Atom) => Index | null): Index {
  let sum = constant(x.base)
  for (const { times: n, atom } of x.terms) {
    const other = replace(atom)
    const inner = atom.is === "div" || atom.is === "mod" ? substitute(atom.of, replace) : null
    const image = other ?? (inner === null ? of(atom) : atom.is === "div" ? div(inner, atom.by) : atom.is === "mod" ? mod(inner, atom.by) : of(atom))
    sum = plus(sum, times(image, n))
  }
  return sum
}
