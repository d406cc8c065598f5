/**
 * Integers that may depend on unknowns: polynomials with integer coefficients over named atoms, in a normal form in
 * which equal polynomials have equal keys. What a polynomial cannot say (an exact quotient, a remainder, the larger of
 * two) becomes an atom of its own; `b * (a / b)` is rewritten to `a`.
 */
import type { Span } from "../../grammar/diagnostic.ts"
import { sha256 } from "../plan/sha256.ts"

export type Atom = SymbolAtom | OpaqueAtom

/** A parameter of a definition under check, a capital axis (`rigid`: equal only to itself), or a fact of a stage. */
export interface SymbolAtom {
  readonly kind: "symbol"
  /** Identity: `<stage key>.<field>` for a fact. */
  readonly id: string
  /** For people: `words.size`. */
  readonly name: string
  readonly rigid: boolean
  /** Set where the unknown is the size of a tokenizer's vocabulary. */
  readonly vocabulary: boolean
  readonly origin: Span | null
}

export interface OpaqueAtom {
  readonly kind: "opaque"
  readonly id: string
  readonly op: OpaqueOp
  readonly args: readonly [Poly, Poly]
  readonly weight: number
}
export type OpaqueOp = "quotient" | "floor" | "remainder" | "power" | "max" | "min"

interface Factor { readonly atom: Atom; readonly power: number }
interface Term { readonly coefficient: number; readonly factors: readonly Factor[]; readonly key: string }

/** A sum of terms, keyed by their sorted factors; coefficients are never zero. */
export interface Poly { readonly terms: ReadonlyMap<string, Term> }

// ---- making

export function constant(n: number): Poly {
  return n === 0 ? { terms: new Map() } : ofTerms([{ coefficient: n, factors: [], key: "" }])
}

export function symbol(
  id: string, name = id, options: { readonly rigid?: boolean; readonly vocabulary?: boolean; readonly origin?: Span | null } = {},
): Poly {
  return ofAtom({ kind: "symbol", id, name, rigid: options.rigid ?? false, vocabulary: options.vocabulary ?? false, origin: options.origin ?? null })
}

function ofAtom(atom: Atom): Poly {
  return ofTerms([term(1, [{ atom, power: 1 }])])
}

function term(coefficient: number, factors: readonly Factor[]): Term {
  const key = factors.map((f) => (f.power === 1 ? f.atom.id : `${f.atom.id}^${f.power}`)).sort().join("*")
  return { coefficient, factors, key }
}

function ofTerms(terms: readonly Term[]): Poly {
  const map = new Map<string, Term>()
  for (const t of terms) {
    const sum = (map.get(t.key)?.coefficient ?? 0) + t.coefficient
    if (sum === 0) map.delete(t.key)
    else map.set(t.key, map.has(t.key) ? { ...(map.get(t.key) as Term), coefficient: sum } : t)
  }
  return { terms: map }
}

// ---- arithmetic

export function add(a: Poly, b: Poly): Poly {
  if (a.terms.size === 0) return b
  if (b.terms.size === 0) return a
  return bounded(ofTerms([...a.terms.values(), ...b.terms.values()]))
}

/** What a polynomial may weigh: every term and every symbol in it, those inside of quotients and the like too. */
const heaviest = 120

function weight(p: Poly): number {
  let sum = 0
  for (const t of p.terms.values()) {
    sum += 1
    for (const f of t.factors) sum += f.atom.kind === "symbol" ? 1 : f.atom.weight
  }
  return sum
}

/** Loops can make polynomials of any size; one that is too large to work with becomes a symbol that no fact fills in. */
function bounded(p: Poly): Poly {
  return weight(p) <= heaviest ? p : symbol(`large ${sha256(keyOf(p))}`, "a large expression")
}

export function negate(a: Poly): Poly {
  return { terms: new Map([...a.terms].map(([key, t]) => [key, { ...t, coefficient: -t.coefficient }])) }
}

export function sub(a: Poly, b: Poly): Poly {
  return add(a, negate(b))
}

export function mul(a: Poly, b: Poly): Poly {
  const [x, y] = [constantOf(a), constantOf(b)]
  if (x !== null && y !== null) return constant(x * y)
  return bounded(cancelQuotients(multiply(a, b)))
}

export function mulAll(factors: readonly Poly[]): Poly {
  return factors.reduce(mul, constant(1))
}

function multiply(a: Poly, b: Poly): Poly {
  const terms: Term[] = []
  for (const s of a.terms.values()) for (const t of b.terms.values()) terms.push(multiplyTerms(s, t))
  return ofTerms(terms)
}

function multiplyTerms(s: Term, t: Term): Term {
  const factors = [...s.factors]
  for (const f of t.factors) {
    const i = factors.findIndex((g) => g.atom.id === f.atom.id)
    if (i < 0) factors.push(f)
    else factors[i] = { atom: f.atom, power: (factors[i] as Factor).power + f.power }
  }
  return term(s.coefficient * t.coefficient, factors)
}

/** `b * (a / b)` is `a`, term by term where b is one term, else for the whole cofactor of the quotient. */
function cancelQuotients(p: Poly): Poly {
  for (const atom of atomsOf(p)) {
    if (atom.kind !== "opaque" || atom.op !== "quotient") continue
    const [a, b] = atom.args
    const withAtom = [...p.terms.values()].filter((t) => t.factors.some((f) => f.atom.id === atom.id))
    const cofactors = withAtom.map((t) => ofTerms([lowerPower(t, atom)]))
    const groups = b.terms.size === 1 ? cofactors : [cofactors.reduce(add, constant(0))]
    let changed = false
    let result = ofTerms([...p.terms.values()].filter((t) => !withAtom.includes(t)))
    for (const cofactor of groups) {
      const reduced = divideExactly(cofactor, b)
      changed ||= reduced !== null
      result = add(result, reduced !== null ? multiply(reduced, a) : multiply(cofactor, ofAtom(atom)))
    }
    if (changed) return cancelQuotients(result)
  }
  return p
}

function lowerPower(t: Term, atom: Atom): Term {
  const factors = t.factors.flatMap((f) => (f.atom.id !== atom.id ? [f] : f.power === 1 ? [] : [{ atom, power: f.power - 1 }]))
  return term(t.coefficient, factors)
}

/** The polynomial q with q * b = a, if there is one. */
export function divideExactly(a: Poly, b: Poly): Poly | null {
  const lead = leading(b)
  if (lead === null) return null
  let rest = a
  let quotient = constant(0)
  for (let steps = 0; rest.terms.size > 0; steps++) {
    const top = leading(rest)
    const q = top === null ? null : divideTerm(top, lead)
    if (q === null || steps > 64) return null
    const part = ofTerms([q])
    quotient = add(quotient, part)
    rest = sub(rest, multiply(part, b))
  }
  return quotient
}

function leading(p: Poly): Term | null {
  let best: Term | null = null
  for (const t of p.terms.values()) if (best === null || degree(t) > degree(best) || (degree(t) === degree(best) && t.key > best.key)) best = t
  return best
}

function degree(t: Term): number {
  return t.factors.reduce((n, f) => n + f.power, 0)
}

function divideTerm(a: Term, b: Term): Term | null {
  if (a.coefficient % b.coefficient !== 0) return null
  const factors: Factor[] = []
  for (const f of b.factors) if (!a.factors.some((g) => g.atom.id === f.atom.id && g.power >= f.power)) return null
  for (const g of a.factors) {
    const power = g.power - (b.factors.find((f) => f.atom.id === g.atom.id)?.power ?? 0)
    if (power > 0) factors.push({ atom: g.atom, power })
  }
  return term(a.coefficient / b.coefficient, factors)
}

/** `a / b` where it is promised to come out even. The caller refuses known numbers that do not. */
export function quotient(a: Poly, b: Poly): Poly {
  const exact = divideExactly(a, b)
  if (exact !== null) return exact
  const [x, y] = cancelCommon(a, b)
  return y.terms.size === 1 && constantOf(y) === 1 ? x : bounded(ofAtom(opaque("quotient", x, y)))
}

/** Divides both by their common factors, as far as those are single terms. */
function cancelCommon(a: Poly, b: Poly): readonly [Poly, Poly] {
  const terms = [...a.terms.values(), ...b.terms.values()]
  const number = terms.reduce((n, t) => gcd(n, Math.abs(t.coefficient)), 0)
  const shared = (terms[0]?.factors ?? []).flatMap((f) => {
    const power = Math.min(...terms.map((t) => t.factors.find((g) => g.atom.id === f.atom.id)?.power ?? 0))
    return power > 0 ? [{ atom: f.atom, power }] : []
  })
  const common = ofTerms([term(number === 0 ? 1 : number, shared)])
  return [divideExactly(a, common) ?? a, divideExactly(b, common) ?? b]
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}

/** Computes where both are constants, else makes an atom. */
export function opaqueOf(op: Exclude<OpaqueOp, "quotient">, a: Poly, b: Poly): Poly {
  const x = constantOf(a)
  const y = constantOf(b)
  if (x !== null && y !== null) {
    const value = compute(op, x, y)
    if (value !== null) return constant(value)
  }
  if (op === "remainder" && divideExactly(a, b) !== null) return constant(0)
  return bounded(ofAtom(opaque(op, a, b)))
}

function opaque(op: OpaqueOp, a: Poly, b: Poly): OpaqueAtom {
  const id = `${op}(${keyOf(a)},${keyOf(b)})`
  return { kind: "opaque", id: id.length <= 100 ? id : `${op} ${sha256(id)}`, op, args: [a, b], weight: 1 + weight(a) + weight(b) }
}

/** null: not an integer. */
function compute(op: OpaqueOp, x: number, y: number): number | null {
  switch (op) {
    case "quotient": return y !== 0 && x % y === 0 ? x / y : null
    case "floor": return y !== 0 ? Math.floor(x / y) : null
    case "remainder": return y !== 0 ? x - y * Math.floor(x / y) : null
    case "power": return y >= 0 ? x ** y : null
    case "max": return Math.max(x, y)
    case "min": return Math.min(x, y)
  }
}

// ---- asking

/** The number, where no unknown is involved. */
export function constantOf(p: Poly): number | null {
  if (p.terms.size === 0) return 0
  const only = p.terms.size === 1 ? p.terms.get("") : undefined
  return only === undefined ? null : only.coefficient
}

/** The number once the facts are put in; null where some unknown remains (or a quotient does not come out even). */
export function known(p: Poly, facts: ReadonlyMap<string, number>): number | null {
  let sum = 0
  for (const t of p.terms.values()) {
    let product = t.coefficient
    for (const f of t.factors) {
      const value = atomValue(f.atom, facts)
      if (value === null) return null
      product *= value ** f.power
    }
    sum += product
  }
  return sum
}

function atomValue(atom: Atom, facts: ReadonlyMap<string, number>): number | null {
  if (atom.kind === "symbol") return facts.get(atom.id) ?? null
  const x = known(atom.args[0], facts)
  const y = known(atom.args[1], facts)
  return x === null || y === null ? null : compute(atom.op, x, y)
}

export function equals(a: Poly, b: Poly): boolean {
  return sub(a, b).terms.size === 0
}

/** Equal, different, or to be decided when unknowns are filled in. */
export function compare(a: Poly, b: Poly, facts: ReadonlyMap<string, number> = new Map()): "equal" | "different" | "later" {
  const [x, y] = [constantOf(a), constantOf(b)]
  if (a === b || (x !== null && x === y)) return "equal"
  if (x !== null && y !== null) return "different"
  const difference = substitute(sub(a, b), facts)
  if (difference.terms.size === 0) return "equal"
  if (constantOf(difference) !== null) return "different"
  return [...atomsOf(difference)].every(isRigid) ? "different" : "later"
}

/** Puts in those facts that are there. */
export function substitute(p: Poly, facts: ReadonlyMap<string, number>): Poly {
  if (facts.size === 0) return p
  let sum = constant(0)
  for (const t of p.terms.values()) {
    let product = constant(t.coefficient)
    for (const f of t.factors) {
      const value = atomValue(f.atom, facts)
      const factor = value !== null ? constant(value ** f.power) : ofTerms([term(1, [f])])
      product = mul(product, factor)
    }
    sum = add(sum, product)
  }
  return sum
}

function isRigid(atom: Atom): boolean {
  if (atom.kind === "symbol") return atom.rigid
  return atom.op === "quotient" && atom.args.every((p) => [...atomsOf(p)].every(isRigid))
}

/** The atoms that occur, each once; those inside of quotients are not listed. */
export function atomsOf(p: Poly): ReadonlySet<Atom> {
  const found = new Map<string, Atom>()
  for (const t of p.terms.values()) for (const f of t.factors) found.set(f.atom.id, f.atom)
  return new Set(found.values())
}

/** All symbols, also those inside of quotients and the like. */
export function symbolsOf(p: Poly): readonly SymbolAtom[] {
  const found = new Map<string, SymbolAtom>()
  const visit = (q: Poly): void => {
    for (const atom of atomsOf(q)) {
      if (atom.kind === "symbol") found.set(atom.id, atom)
      else atom.args.forEach(visit)
    }
  }
  visit(p)
  return [...found.values()]
}

/** The single symbol a polynomial consists of, if it does. */
export function onlySymbol(p: Poly): SymbolAtom | null {
  const [t] = p.terms.values()
  const factor = t?.factors[0]
  if (p.terms.size !== 1 || t?.coefficient !== 1 || t.factors.length !== 1 || factor?.power !== 1) return null
  return factor.atom.kind === "symbol" ? factor.atom : null
}

/** A text that equal polynomials share. */
export function keyOf(p: Poly): string {
  const terms = [...p.terms.values()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  return terms.length === 0 ? "0" : terms.map((t) => `${t.coefficient}${t.key === "" ? "" : `*${t.key}`}`).join("+")
}

// ---- showing

/** `heads * head_dim`, `T + 1`, `dim / heads`; facts are put in where given. */
export function show(p: Poly, facts: ReadonlyMap<string, number> = new Map()): string {
  const q = substitute(p, facts)
  if (q.terms.size === 0) return "0"
  let text = ""
  for (const t of q.terms.values()) {
    const sign = t.coefficient < 0 ? "-" : "+"
    const body = showTerm(Math.abs(t.coefficient), t.factors)
    text = text === "" ? (sign === "-" ? `-${body}` : body) : `${text} ${sign} ${body}`
  }
  return text
}

function showTerm(coefficient: number, factors: readonly Factor[]): string {
  const shown = factors.map((f) => (f.power === 1 ? showAtom(f.atom, factors.length > 1 || coefficient !== 1) : `${showAtom(f.atom, true)}^${f.power}`))
  return [...(coefficient !== 1 || factors.length === 0 ? [String(coefficient)] : []), ...shown].join(" * ")
}

function showAtom(atom: Atom, inside: boolean): string {
  if (atom.kind === "symbol") return atom.name
  const [a, b] = atom.args.map((p) => (p.terms.size > 1 ? `(${show(p)})` : show(p)))
  switch (atom.op) {
    case "quotient": return inside ? `(${a} / ${b})` : `${a} / ${b}`
    case "remainder": return `(${a} % ${b})`
    case "power": return `${a}^${b}`
    case "floor": case "max": case "min": return `${atom.op}(${a}, ${b})`
  }
}

/** Both sizes are vocabularies of tokenizers, and of different ones. */
export function vocabulariesDiffer(a: Poly, b: Poly): boolean {
  const [x, y] = [a, b].map((p) => symbolsOf(p).filter((s) => s.vocabulary).map((s) => s.id))
  if (x === undefined || y === undefined || x.length === 0 || y.length === 0) return false
  return x.length !== y.length || x.some((id) => !y.includes(id))
}
