/** Places and conditions as C. */
import type { Atom, Guard, Index } from "../kernel/index.ts"
import { factorOf } from "../kernel/index.ts"
import type { Expr } from "../kernel/ir.ts"

/** How variables and numbers read at run time are written where the index stands. */
export interface IndexNames {
  readonly variables: Readonly<Record<string, string>>
  /** The row is so many after r: a constant behind places, which addresses take for nothing. */
  readonly rowsAfter?: number
  value(expr: Expr): string
}

export function cIndex(index: Index, names: IndexNames): string {
  const terms = index.terms.map(({ times, atom }) => {
    const inner = atom.is === "var" ? names.variables[atom.name] ?? atom.name
      : atom.is === "value" ? names.value(atom.expr)
      : `(${cIndex(atom.of, names)}) ${atom.is === "div" ? "/" : "%"} ${atom.by}`
    const whole = atom.is === "div" || atom.is === "mod" ? `(${inner})` : inner
    return times === 1 ? whole : `${times}L * ${whole}`
  })
  const after = index.terms.reduce((sum, { times, atom }) => sum + (atom.is === "var" && atom.name === "r" ? times * (names.rowsAfter ?? 0) : 0), index.base)
  if (after !== 0 || terms.length === 0) terms.push(String(after))
  return terms.join(" + ").replaceAll("+ -", "- ")
}

export function cGuard({ index, low, high }: Guard, names: IndexNames): string {
  const place = cIndex(index, names)
  return high === low + 1 ? `(${place}) == ${low}` : `(${place}) >= ${low} && (${place}) < ${high}`
}

/** Whether a place is the same in all columns. */
export function isUniform(index: Index): boolean {
  return factorOf(index, "j") === 0
}

/**
 * How a place moves from lane to lane of a vector whose first column is a multiple of `lanes`: a quotient by a multiple of it stays, a
 * remainder moves as its column does. Null where lanes must be looked at one by one.
 */
export function laneFactor(index: Index, lanes: number): number | null {
  let factor = 0
  for (const { times, atom } of index.terms) {
    const own = atom.is === "var" ? (atom.name === "j" ? 1 : 0) : atom.is === "value" ? (atom.expr.depends.has("j") ? null : 0) : laneFactorInside(atom, lanes)
    if (own === null) return null
    factor += times * own
  }
  return factor
}

function laneFactorInside(atom: Extract<Atom, { is: "div" | "mod" }>, lanes: number): number | null {
  const { base, terms } = atom.of
  const inner = laneFactor(atom.of, lanes)
  if (inner === 0) return 0
  const whole = base % lanes === 0 && atom.by % lanes === 0 && terms.every((t) => (t.atom.is === "var" && t.atom.name === "j" && t.times === 1) || t.times % lanes === 0)
  return inner === 1 && whole ? (atom.is === "div" ? 0 : 1) : null
}

/** f32 as C: exact, whatever the number. */
export function cFloat(x: number): string {
  const value = Math.fround(x)
  if (Number.isNaN(value)) return "(0.0f / 0.0f)"
  if (!Number.isFinite(value)) return value > 0 ? "(1e30f * 1e30f)" : "(-1e30f * 1e30f)"
  const text = Object.is(value, -0) ? "-0.0" : shortest(value)
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`
}

/** The shortest decimal that rounds to the f32. */
function shortest(value: number): string {
  for (let digits = 1; digits <= 9; digits++) {
    const text = value.toPrecision(digits)
    if (Math.fround(Number(text)) === value) return String(Number(text))
  }
  return String(value)
}
