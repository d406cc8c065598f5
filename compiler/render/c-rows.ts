/** Rows kernels as C: one loop over the columns for each level of reduction, in vectors. */
import { isFlat } from "../schedule/cpu.ts"
import type { CpuTarget } from "../schedule/cpu.ts"
import { exprsIn, exprsOfPass } from "../kernel/expr.ts"
import type { Expr, RowsKernel } from "../kernel/ir.ts"
import { cIndex, isUniform } from "./c-index.ts"
import type { Parameters, Scope, Emitter } from "./c-exprs.ts"
import { cTypes, vectors, emit, names, identity, combined, tableLines } from "./c-exprs.ts"

/** Ops so slow that a value needed in two passes over a row is kept between them. */
const slow: ReadonlySet<string> = new Set(["exp", "log", "sin", "cos", "tanh", "erf", "sigmoid", "pow"])
/** The longest row for which values are kept. */
const longestKept = 8192

interface Reduction { readonly expr: Extract<Expr, { is: "reduced" }>; readonly name: string }

/** What one pass over the columns does. */
interface Pass {
  readonly reductions: readonly Reduction[]
  readonly stores: readonly RowsKernel["stores"][number][]
  readonly columns: readonly { readonly name: string; readonly column: RowsKernel["columns"][number] }[]
}

function isPerColumn(kernel: RowsKernel, column: RowsKernel["columns"][number]): boolean {
  return kernel.cols > 1 && column.buffer.size === kernel.cols * Math.ceil(kernel.rows / kernel.chunk)
}

function passesOf(kernel: RowsKernel): Pass[] {
  const roots = [...kernel.stores, ...kernel.columns].map((x) => x.value)
  const reductions = exprsIn(roots).filter((x): x is Extract<Expr, { is: "reduced" }> => x.is === "reduced")
  const last = Math.max(0, ...roots.map((x) => x.level), ...reductions.map((x) => x.level))
  return Array.from({ length: last + 1 }, (_, level) => ({
    reductions: reductions.filter((x) => x.value.level === level).map((expr) => ({ expr, name: `a${expr.id}` })),
    stores: kernel.stores.filter((store) => store.value.level === level && !isUniform(store.index)),
    columns: kernel.columns.map((column, i) => ({ name: `column${i}`, column })).filter(({ column }) => column.value.level === level && isPerColumn(kernel, column)),
  }))
}

/** Whether a value is read at places that other values say, as the rows of tables are. A product might become part of a fused operation where it is not kept. */
function isGathered(x: Expr): boolean {
  return x.dtype === "f32" && !(x.is === "binary" && x.op === "mul") && exprsIn([x]).some((part) => part.is === "load" && part.index.terms.some(({ atom }) => atom.is === "value"))
}

/** Values that are slow to compute, or stored and gathered, and needed in several passes. */
function keptBetween(kernel: RowsKernel, passes: readonly Pass[]): Map<Expr, string> {
  const seen = new Map<Expr, number>()
  const gathered = new Set(kernel.stores.map(({ value }) => value).filter(isGathered))
  for (const pass of passes) {
    const roots = [...pass.reductions.map((r) => r.expr.value), ...pass.stores.map((s) => s.value), ...pass.columns.map((c) => c.column.value)]
    for (const x of exprsOfPass(roots)) if (((x.is === "unary" && slow.has(x.op)) || gathered.has(x)) && x.depends.has("j") && !x.depends.has("k")) seen.set(x, (seen.get(x) ?? 0) + 1)
  }
  const kept = [...seen].filter(([, count]) => count > 1).map(([x]) => x)
  return new Map(kernel.cols > longestKept ? [] : kept.map((x, i) => [x, `kept${i}`]))
}

function storeText(m: Emitter, store: RowsKernel["stores"][number], scope: Scope): string {
  const { stored } = store.buffer
  if (stored !== null) {
    // What is rounded on its way into memory is rounded by the store.
    const rounds = stored === "bf16" && store.value.is === "unary" && store.value.op === "narrow_bf16" ? store.value.x : null
    const value = emit(m, rounds ?? store.value, scope)
    const [at, kind] = [`${m.p.name(store.buffer, true)}, ${cIndex(store.index, names(m, scope, null))}`, rounds === null ? stored : "rounded"]
    return m.part === null ? `store_${kind}_f32(${at}, ${value});` : `store_part_${kind}_f32(${at}, ${value}, ${m.part});`
  }
  const value = emit(m, store.value, scope)
  const place = `${m.p.name(store.buffer, true)} + ${cIndex(store.index, names(m, scope, null))}`
  return m.part === null ? `store_${store.buffer.dtype}(${place}, ${value});` : `store_part_${store.buffer.dtype}(${place}, ${value}, ${m.part});`
}

/** The statements for one vector of columns: everything is computed before anything is stored. */
function columnsBody(m: Emitter, pass: Pass, row: Scope, indent: string): string[] {
  const scope: Scope = { lines: [], names: new Map(), indent, outer: row, own: "columns" }
  const stores = pass.stores.map((store) => storeText(m, store, scope))
  const columns = pass.columns.map(({ name, column }) => {
    const value = emit(m, column.value, scope)
    const dtype = column.buffer.dtype
    const [load, store, end] = m.part === null ? [`load_${dtype}(${name} + j)`, `store_${dtype}`, ""] : [`load_part_${dtype}(${name} + j, ${m.part})`, `store_part_${dtype}`, `, ${m.part}`]
    return `${store}(${name} + j, ${combined(column.combine, dtype, load, value)}${end});`
  })
  const reductions = pass.reductions.map(({ expr, name }) => {
    const value = emit(m, expr.value, scope)
    const own = m.part === null ? value : `first_${expr.dtype === "f32" ? "f32" : "i32"}(${value}, ${identity(expr.combine, expr.dtype)}, ${m.part})`
    return `${name} = ${combined(expr.combine, expr.dtype, name, own)};`
  })
  return [...scope.lines, ...[...reductions, ...columns, ...stores].map((line) => `${indent}${line}`)]
}

/** One pass: its loop, and the columns that do not fill a vector. */
function passLines(m: Emitter, pass: Pass, row: Scope): void {
  const { indent } = row
  const { cols } = m.kernel
  if (pass.reductions.length + pass.stores.length + pass.columns.length === 0) return
  const whole = cols - (cols % m.target.lanes)
  for (const { expr, name } of pass.reductions) row.lines.push(`${indent}${vectors[expr.dtype]} ${name} = ${identity(expr.combine, expr.dtype)};`)
  const before = new Set(m.written)
  if (whole > 0) {
    m.part = null
    const body = columnsBody(m, pass, row, `${indent}  `)
    row.lines.push(`${indent}for (long j = 0; j < ${whole}; j += LANES) {`, ...body, `${indent}}`)
  }
  if (whole < cols) {
    m.part = String(cols - whole)
    const after = new Set(m.written)
    m.written.clear()
    before.forEach((x) => m.written.add(x))
    const body = columnsBody(m, pass, row, `${indent}  `)
    after.forEach((x) => m.written.add(x))
    row.lines.push(`${indent}{`, `${indent}  const long j = ${whole};`, ...body, `${indent}}`)
    m.part = null
  }
  for (const { expr, name } of pass.reductions) {
    const across = `${expr.combine === "sum" ? "sum" : "top"}_${expr.dtype === "f32" ? "f32" : "i32"}`
    row.lines.push(`${indent}${name} = ${across}(${name});`)
    row.names.set(expr, name)
  }
}

function emitter(kernel: RowsKernel, p: Parameters, target: CpuTarget, kept: Map<Expr, string>): Emitter {
  return { p, target, kernel, kept, written: new Set(), inverses: new Map(), tables: null, next: 0, rowsAfter: 0, part: null }
}

/** The statements of a kernel between `first` and `last`: rows (whole chunks), or columns of a flat kernel. */
export function renderRows(kernel: RowsKernel, p: Parameters, target: CpuTarget): string[] {
  return isFlat(kernel) ? renderFlat(kernel, p, target) : renderNested(kernel, p, target)
}

function renderFlat(kernel: RowsKernel, p: Parameters, target: CpuTarget): string[] {
  const m = emitter(kernel, p, target, new Map())
  const pass: Pass = { reductions: [], columns: [], stores: kernel.stores.filter((s) => !isUniform(s.index)) }
  const call: Scope = { lines: [], names: new Map(), indent: "  ", outer: null, own: "row" }
  const body = columnsBody(m, pass, call, "    ")
  const lines = ["  long j = first;", `  for (; j + LANES <= last; j += LANES) {`, ...body, "  }"]
  m.part = "(last - j)"
  lines.push("  if (j < last) {", ...columnsBody(m, pass, call, "    "), "  }")
  m.part = "1"
  const single = kernel.stores.filter((s) => isUniform(s.index)).map((store) => `  ${storeText(m, store, call)}`)
  return [...call.lines, ...lines, ...single]
}

/** Rows one after the other, however few they are. */
export function renderNested(kernel: RowsKernel, p: Parameters, target: CpuTarget): string[] {
  const passes = passesOf(kernel)
  const kept = keptBetween(kernel, passes)
  const m: Emitter = { ...emitter(kernel, p, target, kept), tables: new Map() }
  const chunked = kernel.columns.length > 0
  const indent = chunked ? "      " : "    "
  const row: Scope = { lines: [], names: new Map(), indent, outer: null, own: "row" }
  for (const pass of passes) passLines(m, pass, row)
  const singles: string[] = []
  m.part = "1"
  for (const store of kernel.stores) if (isUniform(store.index)) singles.push(`${indent}${storeText(m, store, row)}`)
  const totals = kernel.columns.map((column, i) => ({ column, name: `column${i}` })).filter(({ column }) => !isPerColumn(kernel, column))
  for (const { column, name } of totals) singles.push(`${indent}${name} = ${combined(column.combine, column.buffer.dtype, name, emit(m, column.value, row))};`)
  const arrays = [...tableLines(m), ...[...kept.values()].map((name) => `  float ${name}[${kernel.cols + target.lanes}] __attribute__((aligned(64)));`)]
  const inner = [...row.lines, ...singles]
  if (!chunked) return [...arrays, "  for (long r = first; r < last; r++) {", ...inner, "  }"]
  return [...arrays, ...chunkedLines(m, passes, totals, inner)]
}

/** Rows chunk by chunk, with the sums over rows of each. */
function chunkedLines(m: Emitter, passes: readonly Pass[], totals: readonly { readonly column: RowsKernel["columns"][number]; readonly name: string }[], inner: readonly string[]): string[] {
  const { cols, chunk, rows } = m.kernel
  const lines = [`  for (long start = first; start < last; start += ${chunk}) {`, `    const long chunk = start / ${chunk}, stop = MIN(start + ${chunk}, ${rows});`]
  for (const pass of passes) for (const { name, column } of pass.columns) {
    const type = cTypes[column.buffer.dtype]
    const start = column.combine === "sum" ? "0" : column.buffer.dtype === "f32" ? "-1e30f * 1e30f" : "-2147483647 - 1"
    lines.push(`    ${type} *${name} = ${m.p.name(column.buffer, true)} + chunk * ${cols};`, `    for (long j = 0; j < ${cols}; j++) ${name}[j] = ${start};`)
  }
  for (const { name, column } of totals) lines.push(`    ${vectors[column.buffer.dtype]} ${name} = ${identity(column.combine, column.buffer.dtype)};`)
  lines.push("    for (long r = start; r < stop; r++) {", ...inner, "    }")
  for (const { name, column } of totals) lines.push(`    ${m.p.name(column.buffer, true)}[chunk] = ${name}[0];`)
  return [...lines, "  }"]
}

// ---------------------------------------------------------------- values for other kernels

/** The statements that compute one value of a row, in vectors of columns. */
export interface RowValue {
  /** Once per row, before the columns. */
  readonly row: readonly string[]
  /** For the vector of columns at j. */
  readonly columns: readonly string[]
  readonly name: string
}

/** What a kernel stores, as values in vectors: of the row that is `rowsAfter` after r at column j, `part` columns (null: a whole vector). Names begin at `next`. */
export function rowValue(kernel: RowsKernel, p: Parameters, target: CpuTarget, rowsAfter: number, part: string | null, next: number, indent: string): RowValue {
  const [store] = kernel.stores
  if (store === undefined || store.value.level > 0) throw new Error(`render: ${kernel.name} does not make one value for each point`)
  const m: Emitter = { ...emitter(kernel, p, target, new Map()), next, rowsAfter, part }
  const outer: Scope = { lines: [], names: new Map(), indent, outer: null, own: "row" }
  const scope: Scope = { lines: [], names: new Map(), indent: `${indent}  `, outer, own: "columns" }
  const name = emit(m, store.value, scope)
  return { row: outer.lines, columns: scope.lines, name }
}
