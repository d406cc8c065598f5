/** Places and conditions as C. */
import type { Guard, Index } from "../kernel/index.ts"
import { factorOf } from "../kernel/index.ts"
import type { Expr } from "../kernel/ir.ts"

/** How variables and numbers read at run time are written where the index stands. */
export interface IndexNames {
  readonly variables: Readonly<Record<string, string>>
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
  if (index.base !== 0 || terms.length === 0) terms.push(String(index.base))
  return terms.join(" + ").replaceAll("+ -", "- ")
}

export function cGuard({ index, low, high }: Guard, names: IndexNames): string {
  const place = cIndex(index, names)
  return high === low + 1 ? `(${place}) == ${low}` : `(${place}) >= ${low} && (${place}) < ${high}`
}

/** Whether a place is the same in all lanes of a vector of columns. */
export function isUniform(index: Index): boolean {
  return factorOf(index, "j") === 0
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
