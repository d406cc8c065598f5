/** Expressions of kernels as C: a value of one element, or of a vector of them. */
import type { CpuTarget } from "../schedule/cpu.ts"
import { codeOf, halfOf, isEven, tableOf, theCode } from "../kernel/code-table.ts"
import { exprsIn } from "../kernel/expr.ts"
import type { Guard, Index } from "../kernel/index.ts"
import type { Buffer, Combine, Expr, RowsKernel } from "../kernel/ir.ts"
import { cFloat, cGuard, cIndex, laneFactor } from "./c-index.ts"
import type { IndexNames } from "./c-index.ts"
import { lanesThat, runsOf, runsTable } from "./c-runs.ts"

/** Names of buffers in the function's text, in order of first use. */
export interface Parameters {
  name(buffer: Buffer, writes: boolean): string
}

/** A function's text without its head: (buffers…, long first, long last[, long trip]). */
export interface Body {
  readonly lines: readonly string[]
}

export const cTypes = { f32: "float", i32: "int32_t", bool: "uint8_t" } as const
/** How a function sees a buffer. */
export const cType = ({ dtype, stored }: Buffer): string => (stored === null ? cTypes[dtype] : "uint8_t")
export const vectors = { f32: "f32v", i32: "i32v", bool: "i32v" } as const


/** Lines of one scope and what has been computed there. */
export interface Scope {
  readonly lines: string[]
  readonly names: Map<Expr, string>
  readonly indent: string
  readonly outer: Scope | null
  /** Variables that exist in this scope but not in the outer one. */
  readonly own: "row" | "columns" | "fold"
}

export interface Emitter {
  readonly p: Parameters
  readonly target: CpuTarget
  readonly kernel: RowsKernel
  /** Values kept between passes, by array name. */
  readonly kept: Map<Expr, string>
  readonly written: Set<Expr>
  /** Divisors that are one number for a whole row, with the names of their inverses. */
  readonly inverses: Map<Expr, string>
  /** Constant tables of the function, name by text; null where vectors do not begin at multiples of their lanes. */
  readonly tables: Map<string, string> | null
  next: number
  /** The row is so many after r. */
  readonly rowsAfter: number
  /** How many lanes count: all, or a number (C text). */
  part: string | null
}

function scopeFor(x: Expr, scope: Scope): Scope {
  let at = scope
  while (at.outer !== null && !(at.own === "fold" ? x.depends.has("k") : x.depends.has("j"))) at = at.outer
  return at
}

export function emit(m: Emitter, x: Expr, scope: Scope): string {
  const home = scopeFor(x, scope)
  for (let at: Scope | null = scope; at !== null; at = at.outer) {
    const known = at.names.get(x)
    if (known !== undefined) return known
  }
  const array = m.kept.get(x)
  if (array !== undefined && m.written.has(x) && home.own === "columns") return bind(m, x, home, m.part === null ? `load_f32(${array} + j)` : `load_part_f32(${array} + j, ${m.part})`)
  if (x.is === "fold") return emitFold(m, x, home)
  const found = lookedUp(m, x, home)
  if (found !== null) return bind(m, x, home, found)
  const name = x.is === "load" && isLanes(m, x.index, x.guards) ? emitLanes(m, x, home) : bind(m, x, home, text(m, x, home))
  if (array !== undefined && home.own === "columns") {
    m.written.add(x)
    home.lines.push(`${home.indent}store_f32(${array} + j, ${name});`)
  }
  return name
}

/** A value of one code of 4 bits at an even place is looked up in a table of 16, where vectors have as many lanes. */
function lookedUp(m: Emitter, x: Expr, scope: Scope): string | null {
  if (m.target.lanes !== 16 || m.target.family !== "avx512" || x.dtype !== "f32" || m.part !== null) return null
  const code = theCode(x)
  if (code === null || codeOf(code.buffer)?.bits !== 4 || !isEven(code.index, 16) || laneFactor(code.index, 16) !== 1) return null
  const table = tableOf(x, code).map((value, i) => (i === 0 && Object.is(value, -0) ? "0.0f" : cFloat(value)))
  return `look_up(nibbles(${m.p.name(code.buffer, false)} + ${cIndex(halfOf(code.index), names(m, scope, null))}), (f32v){${table.join(", ")}})`
}

function bind(m: Emitter, x: Expr, scope: Scope, value: string): string {
  const name = `t${m.next++}`
  scope.lines.push(`${scope.indent}const ${vectors[x.dtype]} ${name} = ${value};`)
  scope.names.set(x, name)
  return name
}

/** Whether lanes must be read one by one: places that are not neighbours, or conditions that differ between lanes. */
function isLanes(m: Emitter, index: Index, guards: readonly Guard[]): boolean {
  const factor = laneFactor(index, m.target.lanes)
  return (factor !== 0 && factor !== 1) || guards.some((guard) => laneFactor(guard.index, m.target.lanes) !== 0)
}

export function names(m: Emitter, scope: Scope, lane: string | null): IndexNames {
  return {
    variables: lane === null ? {} : { j: `(j + ${lane})` },
    rowsAfter: m.rowsAfter,
    value: (x) => `(long)${emit(m, x, scope)}[${lane !== null && x.depends.has("j") ? lane : "0"}]`,
  }
}

function conditions(m: Emitter, guards: readonly Guard[], scope: Scope, lane: string | null): string {
  return guards.map((guard) => cGuard(guard, names(m, scope, lane))).join(" && ")
}

/** A constant of the function; equal ones are one. */
function table(tables: Map<string, string>, make: (name: string) => string): string {
  const text = make("NAME")
  const known = tables.get(text)
  if (known !== undefined) return known
  const name = `lanes${tables.size}`
  tables.set(text, name)
  return name
}

export function tableLines(m: Emitter): readonly string[] {
  return [...m.tables ?? []].map(([text, name]) => `  ${text.replace("NAME", name)}`)
}

/** A load whose lanes lie in a few stretches. */
function inRuns(m: Emitter, x: Extract<Expr, { is: "load" }>, scope: Scope): string | null {
  const { lanes } = m.target
  const runs = m.tables === null || x.dtype === "bool" || x.buffer.stored !== null || scope.own === "row" ? null : runsOf(x.index, x.guards, m.kernel.cols, lanes)
  if (runs === null || m.tables === null) return null
  const { count } = runsTable("", runs)
  const name = table(m.tables, (name) => runsTable(name, runs).text)
  return bind(m, x, scope, `load_runs_${x.dtype}(${m.p.name(x.buffer, false)} + ${cIndex(runs.base, names(m, scope, null))}, ${name}[j / LANES], ${count})`)
}

/** Values that places depend on must be computed before the loop over lanes. */
function emitLanes(m: Emitter, x: Extract<Expr, { is: "load" }>, scope: Scope): string {
  const found = inRuns(m, x, scope)
  if (found !== null) return found
  const place = cIndex(x.index, names(m, scope, "l"))
  const when = conditions(m, x.guards, scope, "l")
  const name = `t${m.next++}`
  const buffer = m.p.name(x.buffer, false)
  const read = readText(x, buffer, place)
  const value = x.dtype === "bool" ? `-(${read} != 0)` : read
  scope.lines.push(`${scope.indent}${vectors[x.dtype]} ${name} = {0};`)
  scope.lines.push(`${scope.indent}for (long l = 0; l < ${m.part ?? "LANES"}; l++) ${when === "" ? "" : `if (${when}) `}${name}[l] = ${value};`)
  scope.names.set(x, name)
  return name
}

function emitFold(m: Emitter, x: Extract<Expr, { is: "fold" }>, scope: Scope): string {
  const name = `t${m.next++}`
  scope.lines.push(`${scope.indent}${vectors[x.dtype]} ${name} = ${identity(x.combine, x.dtype)};`)
  const inner: Scope = { lines: [], names: new Map(), indent: `${scope.indent}  `, outer: scope, own: "fold" }
  const body = emit(m, x.body, inner)
  scope.lines.push(`${scope.indent}for (long k = 0; k < ${x.count}; k++) {`, ...inner.lines, `${scope.indent}  ${name} = ${combined(x.combine, x.dtype, name, body)};`, `${scope.indent}}`)
  scope.names.set(x, name)
  return name
}

export function identity(combine: Combine, dtype: Expr["dtype"]): string {
  if (dtype === "f32") return combine === "sum" ? "set_f32(0)" : "set_f32(-1e30f * 1e30f)"
  return combine === "sum" ? "set_i32(0)" : "set_i32(-2147483647 - 1)"
}

export function combined(combine: Combine, dtype: Expr["dtype"], x: string, y: string): string {
  return combine === "sum" ? `${x} + ${y}` : `max_${dtype === "f32" ? "f32" : "i32"}(${x}, ${y})`
}

/** A value of which all parts are emitted first. */
function text(m: Emitter, x: Expr, scope: Scope): string {
  const of = (part: Expr): string => emit(m, part, scope)
  switch (x.is) {
    case "load": return loadText(m, x, scope)
    case "constant": return x.dtype === "f32" ? `set_f32(${cFloat(x.value)})` : x.dtype === "i32" ? `set_i32(${x.value})` : `set_bool(${x.value === 0 ? 0 : 1})`
    case "index": return indexText(m, x.index, scope)
    case "unary": return unaryText(x, of(x.x))
    case "binary": return fused(m, x, scope) ?? dividedBy(m, x, scope) ?? binaryText(x, of(x.x), of(x.y))
    case "select": return `pick_${x.dtype}(${of(x.condition)}, ${of(x.yes)}, ${of(x.no)})`
    case "cast": return castText(x.x.dtype, x.dtype, of(x.x))
    case "guarded": return `pick_${x.dtype}(${maskText(m, x.guards, scope)}, ${of(x.yes)}, ${of(x.no)})`
    case "random": return `random_f32(${of(x.seed)}, ${x.stream >>> 0}u, ${of(x.step)}, ${of(x.row)}, ${indexText(m, x.element, scope)})`
    case "reduced": case "fold": throw new Error(`render: ${x.is} is out of place`)
  }
}

/** x * y + z rounded once, where the product has no other reader in sight. */
function fused(m: Emitter, x: Extract<Expr, { is: "binary" }>, scope: Scope): string | null {
  if (x.dtype !== "f32" || (x.op !== "add" && x.op !== "sub")) return null
  const isProduct = (y: Expr): y is Extract<Expr, { is: "binary" }> => y.is === "binary" && y.op === "mul" && readers(m, y) === 1 && !m.kept.has(y) && !isDecoded(y)
  const of = (part: Expr): string => emit(m, part, scope)
  if (isProduct(x.x)) return `fma_f32(${of(x.x.x)}, ${of(x.x.y)}, ${x.op === "add" ? "" : "-"}${of(x.y)})`
  if (isProduct(x.y)) return `fma_f32(${x.op === "add" ? "" : "-"}${of(x.y.x)}, ${of(x.y.y)}, ${of(x.x)})`
  return null
}

/** x / y where y is the same along the row: by its inverse, which is computed once, and put right. */
function dividedBy(m: Emitter, x: Extract<Expr, { is: "binary" }>, scope: Scope): string | null {
  const inner = (y: Expr): boolean => y.depends.has("j") || y.depends.has("k")
  if (x.op !== "div" || x.dtype !== "f32" || inner(x.y) || !inner(x.x)) return null
  const [a, b] = [emit(m, x.x, scope), emit(m, x.y, scope)]
  let inverse = m.inverses.get(x.y)
  if (inverse === undefined) {
    const home = scopeFor(x.y, scope)
    inverse = `i${m.next++}`
    home.lines.push(`${home.indent}const f32v ${inverse} = inverse_f32(${b});`)
    m.inverses.set(x.y, inverse)
  }
  return `over_f32(${a}, ${b}, ${inverse})`
}

/** Whether numbers in narrower storage are in it: what codes stand for is rounded as the encoding says, whoever reads them. */
function isDecoded(x: Expr): boolean {
  return exprsIn([x]).some((part) => part.is === "load" && part.buffer.stored !== null)
}

const readerCounts = new WeakMap<RowsKernel, ReadonlyMap<Expr, number>>()

function readers(m: Emitter, x: Expr): number {
  let counts = readerCounts.get(m.kernel)
  if (counts === undefined) {
    const made = new Map<Expr, number>()
    const roots = [...m.kernel.stores, ...m.kernel.columns].map((s) => s.value)
    const count = (part: Expr): void => void made.set(part, (made.get(part) ?? 0) + 1)
    roots.forEach(count)
    for (const whole of exprsIn(roots)) {
      if (whole.is === "binary") { count(whole.x); count(whole.y) }
      else if (whole.is === "unary" || whole.is === "cast") count(whole.x)
      else if (whole.is === "select") [whole.condition, whole.yes, whole.no].forEach(count)
      else if (whole.is === "guarded") [whole.yes, whole.no].forEach(count)
      else if (whole.is === "reduced") count(whole.value)
      else if (whole.is === "fold") count(whole.body)
    }
    counts = made
    readerCounts.set(m.kernel, made)
  }
  return counts.get(x) ?? 0
}

function loadText(m: Emitter, x: Extract<Expr, { is: "load" }>, scope: Scope): string {
  const place = cIndex(x.index, names(m, scope, null))
  const buffer = m.p.name(x.buffer, false)
  const { stored } = x.buffer
  const [kind, from] = stored === null ? [x.dtype, `${buffer} + ${place}`] : [`${stored}_${x.dtype}`, `${buffer}, ${place}`]
  const value = laneFactor(x.index, m.target.lanes) === 0 ? `set_${x.dtype}(${readText(x, buffer, place)})` : m.part === null ? `load_${kind}(${from})` : `load_part_${kind}(${from}, ${m.part})`
  return x.guards.length === 0 ? value : `(${conditions(m, x.guards, scope, null)}) ? ${value} : ${x.dtype === "f32" ? "set_f32(0)" : "set_i32(0)"}`
}

/** One number. */
function readText({ buffer: { stored }, dtype }: Extract<Expr, { is: "load" }>, name: string, place: string): string {
  return stored === null ? `${name}[${place}]` : `read_${stored}_${dtype}(${name}, ${place})`
}

function indexText(m: Emitter, index: Index, scope: Scope): string {
  const factor = laneFactor(index, m.target.lanes)
  if (factor === 0) return `set_i32((int32_t)(${cIndex(index, names(m, scope, null))}))`
  if (factor === 1) return `set_i32((int32_t)(${cIndex(index, names(m, scope, null))})) + lane_numbers()`
  const name = `t${m.next++}`
  const place = cIndex(index, names(m, scope, "l"))
  scope.lines.push(`${scope.indent}i32v ${name} = {0};`, `${scope.indent}for (long l = 0; l < LANES; l++) ${name}[l] = (int32_t)(${place});`)
  return name
}

function maskText(m: Emitter, guards: readonly Guard[], scope: Scope): string {
  if (guards.every((guard) => laneFactor(guard.index, m.target.lanes) === 0)) return `set_bool(${conditions(m, guards, scope, null)})`
  const lanes = m.tables === null ? null : lanesThat(guards, m.kernel.cols, m.target.lanes)
  if (lanes !== null && m.tables !== null) return `load_i32(${table(m.tables, (name) => `static const int32_t ${name}[${lanes.length}] = {${lanes.join(", ")}};`)} + j)`
  const name = `t${m.next++}`
  const when = conditions(m, guards, scope, "l")
  scope.lines.push(`${scope.indent}i32v ${name} = {0};`, `${scope.indent}for (long l = 0; l < LANES; l++) ${name}[l] = -(${when});`)
  return name
}

function unaryText(x: Extract<Expr, { is: "unary" }>, a: string): string {
  if (x.op === "neg") return `-${a}`
  if (x.op === "not") return `~${a}`
  return `${x.op}_${x.dtype}(${a})`
}

const operators: Readonly<Record<string, string>> = { add: "+", sub: "-", mul: "*", lt: "<", le: "<=", eq: "==", and: "&", or: "|" }

function binaryText(x: Extract<Expr, { is: "binary" }>, a: string, b: string): string {
  const operator = operators[x.op]
  if (operator !== undefined) return `${a} ${operator} ${b}`
  return x.op === "div" && x.dtype === "f32" ? `${a} / ${b}` : `${x.op}_${x.dtype}(${a}, ${b})`
}

function castText(from: Expr["dtype"], to: Expr["dtype"], a: string): string {
  if (to === "bool") return `${a} != 0`
  if (from === "bool") return to === "i32" ? `${a} & 1` : `(f32v)(${a} & (i32v)set_f32(1))`
  return to === "f32" ? `to_f32(${a})` : `trunc_i32(${a})`
}
