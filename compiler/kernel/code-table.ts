/** Values that depend on one code of 4 or 8 bits and on nothing else: a table of 16 or 256 numbers says all there is to know of them. */
import { binaryOf, castTo, unaryOf } from "../graph/interpret-elementwise.ts"
import { constant, div, plus, times } from "./index.ts"
import type { Index } from "./index.ts"
import type { Buffer, Expr } from "./ir.ts"

/** Ops that have the same result everywhere, to the bit. */
const exact: ReadonlySet<string> = new Set(["neg", "abs", "sign", "sqrt", "floor", "round", "not", "add", "sub", "mul", "div", "max", "min", "lt", "le", "eq", "and", "or"])

export type Load = Extract<Expr, { is: "load" }>

/** Bits of a code, and whether its highest is a sign; null: the buffer holds other numbers. */
export function codeOf({ stored }: Buffer): { readonly bits: 4 | 8; readonly signed: boolean } | null {
  return stored === "u4" || stored === "i4" ? { bits: 4, signed: stored === "i4" } : stored === "u8" || stored === "i8" ? { bits: 8, signed: stored === "i8" } : null
}

/** The only thing that is read, if it is a code without guards; null otherwise. */
export function theCode(x: Expr): Load | null {
  let found: Load | null = null
  const pending = [x]
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part.is === "constant") continue
    if (part.is === "unary" && exact.has(part.op)) pending.push(part.x)
    else if (part.is === "cast") pending.push(part.x)
    else if (part.is === "binary" && exact.has(part.op)) pending.push(part.x, part.y)
    else if (part.is === "select") pending.push(part.condition, part.yes, part.no)
    else if (part.is === "load" && codeOf(part.buffer) !== null && part.guards.length === 0 && (found === null || found === part)) found = part
    else return null
  }
  return found
}

/** The value for each pattern of the code, 0 … 15 or 0 … 255, rounded as the ops say. */
export function tableOf(x: Expr, { buffer }: Load): readonly number[] {
  const { bits, signed } = codeOf(buffer) ?? { bits: 8, signed: false }
  return Array.from({ length: 2 ** bits }, (_, pattern) => valueFor(x, signed && pattern >= 2 ** (bits - 1) ? pattern - 2 ** bits : pattern))
}

function valueFor(x: Expr, code: number): number {
  const round = (value: number): number => (x.dtype === "f32" ? Math.fround(value) : x.dtype === "i32" ? value | 0 : value)
  switch (x.is) {
    case "load": return code
    case "constant": return round(x.value)
    case "unary": return x.op === "narrow_f16" || x.op === "narrow_bf16" ? NaN : round(unaryOf[x.op](valueFor(x.x, code)))
    case "binary": return round(binaryOf(x.op, x.x.dtype)(valueFor(x.x, code), valueFor(x.y, code)))
    case "select": return valueFor(x.condition, code) !== 0 ? valueFor(x.yes, code) : valueFor(x.no, code)
    case "cast": return round(castTo(x.x.dtype, x.dtype)(valueFor(x.x, code)))
    default: throw new Error(`kernel: ${x.is} is not a value of a code alone`)
  }
}

/** Whether a place is even wherever columns are multiples of `lanes`, an even number. */
export function isEven(index: Index, lanes: number): boolean {
  return lanes % 2 === 0 && index.base % 2 === 0 && index.terms.every(({ times, atom }) => times % 2 === 0 || (atom.is === "var" && atom.name === "j"))
}

/** Half of an even place. */
export function halfOf({ base, terms }: Index): Index {
  return terms.reduce((sum, { times: n, atom }) => plus(sum, n % 2 === 0 ? { base: 0, terms: [{ times: n / 2, atom }] } : times(div({ base: 0, terms: [{ times: 1, atom }] }, 2), n)), constant(base / 2))
}
