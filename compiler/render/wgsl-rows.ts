/** Rows kernels as WGSL: a thread per point, or lanes along each row that reduce in shared memory. */
import { exprsIn } from "../kernel/expr.ts"
import { factorOf } from "../kernel/index.ts"
import type { Combine, Expr, RowsKernel, Store } from "../kernel/ir.ts"
import type { GpuTarget, LinesPlan } from "../schedule/gpu-plans.ts"
import { isPerColumn, levelOf } from "../schedule/gpu-plans.ts"
import { pointThreads } from "../schedule/gpu.ts"
import { combinedText, emit, identityText, indexText, innerScope, wgslTypes } from "./wgsl-expr.ts"
import type { Emitter, Memory, Scope } from "./wgsl-expr.ts"
import type { ShaderBody } from "./wgsl-shader.ts"
import { countText, turnText } from "./wgsl-shader.ts"

const isOnce = (store: Store): boolean => factorOf(store.index, "j") === 0

/** Values first, then all stores: a state may be replaced where it is read. */
function storeLines(m: Emitter, stores: readonly Store[], scope: Scope): string[] {
  const texts = stores.map((store) => ({ store, value: emit(m, store.value, scope), place: indexText(m, store.index, scope) }))
  return texts.map(({ store, value, place }) => `${scope.indent}${m.memory.store(store.buffer, place, value)}`)
}

export function renderPoints(kernel: RowsKernel, memory: Memory): ShaderBody {
  const m: Emitter = { memory, variables: { trip: turnText }, next: 0 }
  const { rows, cols } = kernel
  const scope = innerScope(null, "r", "  ")
  const once = cols === 1 ? [] : kernel.stores.filter(isOnce)
  const all = storeLines(m, kernel.stores.filter((store) => !once.includes(store)), scope)
  const single = innerScope(scope, "r", "    ")
  const few = once.length === 0 ? [] : storeLines(m, once, single)
  return {
    threads: pointThreads, outside: [],
    lines: [
      `  let point = group * ${pointThreads} + lid;`, `  if (point >= ${countText}) { return; }`,
      // Kernels of one row differ by their length alone, which is a parameter.
      ...(rows === 1 ? ["  let j = point;"] : cols === 1 ? ["  let r = point;"] : [`  let r = point / ${cols};`, `  let j = point % ${cols};`]),
      ...scope.lines, ...all, ...(few.length === 0 ? [] : ["  if (j == 0) {", ...single.lines, ...few, "  }"]),
    ],
  }
}

// ---------------------------------------------------------------- reductions

interface Reduced { readonly expr: Extract<Expr, { is: "reduced" }>; readonly name: string }
/** What is combined over rows. `own`: a total of sums of rows that nothing else needs, so that each thread adds up what it sees and rows are never summed. */
interface Sum { readonly name: string; readonly column: RowsKernel["columns"][number]; readonly perColumn: boolean; readonly own: Reduced["expr"] | null }

/** What one loop over the columns does. */
interface Pass { readonly reductions: readonly Reduced[]; readonly stores: readonly Store[]; readonly sums: readonly Sum[] }

/** What makes some results of a kernel again adds them up as that kernel did. */
function ownSum(kernel: RowsKernel, { value, combine }: RowsKernel["columns"][number]): Sum["own"] {
  if (value.is !== "reduced" || value.combine !== combine) return null
  const { stores, columns } = kernel.whole ?? kernel
  const others = [...stores, ...columns].map((x) => x.value).filter((x) => x !== value)
  return exprsIn(others).includes(value) ? null : value
}

function passesOf(kernel: RowsKernel, sums: readonly Sum[]): Pass[] {
  const own = new Set<Expr | null>(sums.map((sum) => sum.own))
  const reductions = exprsIn([...kernel.stores, ...kernel.columns].map((x) => x.value)).filter((x): x is Reduced["expr"] => x.is === "reduced" && !own.has(x))
  return Array.from({ length: levelOf(kernel) + 1 }, (_, level) => ({
    reductions: reductions.filter((x) => x.value.level === level).map((expr) => ({ expr, name: `a${reductions.indexOf(expr)}` })),
    stores: kernel.stores.filter((store) => store.value.level === level && !isOnce(store)),
    sums: sums.filter(({ column, perColumn, own }) => (perColumn ? column.value.level : own?.value.level) === level),
  }))
}

const suffix = (dtype: Expr["dtype"]): "f32" | "i32" => (dtype === "f32" ? "f32" : "i32")

/** Shared memory and the function that combines the lanes of a row: by subgroups where a row has the whole workgroup, else by halves. */
export function reducer(name: "across" | "whole", combine: Combine, dtype: "f32" | "i32", plan: Pick<LinesPlan, "lanes" | "slots">, target: GpuTarget): readonly string[] {
  const { lanes, slots } = plan
  if (lanes === 1) return [`fn ${name}_${combine}_${dtype}(x: ${dtype}, lid: i32) -> ${dtype} { return x; }`]
  const shared = `var<workgroup> lanes_${dtype}: array<${dtype}, ${lanes * slots}>;`
  if (slots === 1 && target.subgroups) {
    return [
      shared,
      `fn ${name}_${combine}_${dtype}(given: ${dtype}, lid: i32, subgroup_size: u32, subgroup_lane: u32) -> ${dtype} {`,
      `  let x = ${combine === "sum" ? "subgroupAdd" : "subgroupMax"}(given);`,
      `  if (subgroup_lane == 0u) { lanes_${dtype}[u32(lid) / subgroup_size] = x; }`, "  workgroupBarrier();",
      `  var all = lanes_${dtype}[0];`, `  for (var i = 1u; i < (${lanes}u + subgroup_size - 1u) / subgroup_size; i++) { all = ${combinedText(combine, dtype, "all", `lanes_${dtype}[i]`)}; }`,
      "  workgroupBarrier();", "  return all;", "}",
    ]
  }
  return [
    shared,
    `fn ${name}_${combine}_${dtype}(x: ${dtype}, lid: i32) -> ${dtype} {`, `  lanes_${dtype}[lid] = x;`, "  workgroupBarrier();",
    `  for (var step = ${lanes / 2}; step > 0; step /= 2) {`, `    if (lid % ${lanes} < step) { lanes_${dtype}[lid] = ${combinedText(combine, dtype, `lanes_${dtype}[lid]`, `lanes_${dtype}[lid + step]`)}; }`, "    workgroupBarrier();", "  }",
    `  let all = lanes_${dtype}[lid - lid % ${lanes}];`, "  workgroupBarrier();", "  return all;", "}",
  ]
}

function reducedText(name: "across" | "whole", combine: Combine, dtype: "f32" | "i32", x: string, plan: Pick<LinesPlan, "lanes" | "slots">, target: GpuTarget): string {
  const more = plan.slots === 1 && plan.lanes > 1 && target.subgroups ? ", subgroup_size, subgroup_lane" : ""
  return `${name}_${combine}_${dtype}(${x}, lid${more})`
}

/** Declarations without the shared arrays that several have in common. */
function withoutRepeats(lines: readonly string[]): string[] {
  return lines.filter((line, i) => !line.startsWith("var<workgroup>") || lines.indexOf(line) === i)
}

interface Lines { readonly kernel: RowsKernel; readonly plan: LinesPlan; readonly target: GpuTarget; readonly m: Emitter; readonly reducers: Set<string>; readonly outside: string[] }

/** `x` of all lanes of a row, or of the whole workgroup. */
function combined(l: Lines, name: "across" | "whole", combine: Combine, dtype: Expr["dtype"], x: string): string {
  const type = suffix(dtype)
  const plan = name === "across" ? l.plan : { lanes: l.plan.lanes * l.plan.slots, slots: 1 }
  if (!l.reducers.has(`${name} ${combine} ${type}`)) {
    l.reducers.add(`${name} ${combine} ${type}`)
    l.outside.push(...reducer(name, combine, type, plan, l.target))
  }
  return reducedText(name, combine, type, x, plan, l.target)
}

export function renderLines(kernel: RowsKernel, plan: LinesPlan, target: GpuTarget, memory: Memory): ShaderBody {
  const l: Lines = { kernel, plan, target, m: { memory, variables: { trip: turnText }, next: 0 }, reducers: new Set(), outside: [] }
  const { lanes, slots } = plan
  const lines = [`  let slot = lid / ${lanes};`, `  let lane = lid % ${lanes};`, ...(kernel.columns.length === 0 ? plainRows(l) : chunkedRows(l))]
  return { threads: lanes * slots, outside: withoutRepeats(l.outside), lines }
}

/** The loops over the columns of one row, and what is stored once per row. */
function rowLines(l: Lines, passes: readonly Pass[], totals: readonly Sum[], indent: string): string[] {
  const row = innerScope(null, "r", indent)
  for (const pass of passes) passLines(l, pass, row)
  const once = l.kernel.stores.filter(isOnce)
  const singles = once.length === 0 ? [] : storeLines(l.m, once, row)
  // One lane of a row has its value.
  const adds = totals.filter(({ own }) => own === null).map(({ name, column }) => {
    const value = emit(l.m, column.value, row)
    return `${indent}if (live && lane == 0) { ${name} = ${combinedText(column.combine, column.buffer.dtype, name, value)}; }`
  })
  // Lanes may still read what is replaced here.
  return [...row.lines, ...(singles.length === 0 ? [] : [...(l.plan.lanes > 1 ? [`${indent}workgroupBarrier();`] : []), `${indent}if (live && lane == 0${l.plan.blocks > 1 ? " && block == 0" : ""}) {`, ...singles, `${indent}}`]), ...adds]
}

function passLines(l: Lines, pass: Pass, row: Scope): void {
  const { kernel: { cols }, plan: { lanes, blocks }, m } = l
  const { indent } = row
  if (pass.reductions.length + pass.stores.length + pass.sums.length === 0) return
  for (const { expr, name } of pass.reductions) row.lines.push(`${indent}var ${name} = ${identityText(expr.combine, expr.dtype)};`)
  const inner = innerScope(row, "j", `${indent}  `)
  const reductions = pass.reductions.map(({ expr, name }) => `${name} = ${combinedText(expr.combine, expr.dtype, name, emit(m, expr.value, inner))};`)
  const sums = pass.sums.map((sum) => ({ ...sum, value: emit(m, sum.own?.value ?? sum.column.value, inner) })).map(({ name, column, own, value }) => {
    const dtype = column.buffer.dtype
    if (own !== null) return `${name} = ${combinedText(column.combine, dtype, name, value)};`
    if (l.plan.sums === "private") return `${name}[turn] = ${combinedText(column.combine, dtype, `${name}[turn]`, value)};`
    const place = `chunk * ${cols} + j`
    return m.memory.store(column.buffer, place, combinedText(column.combine, dtype, m.memory.load(column.buffer, place), value))
  })
  const stores = storeLines(m, pass.stores, inner).map((line) => line.trim())
  const guarded = [...sums, ...stores]
  const body = [...inner.lines, ...reductions.map((line) => `${inner.indent}${line}`), ...(guarded.length === 0 ? [] : [`${inner.indent}if (live) { ${guarded.join(" ")} }`])]
  const loop = blocks > 1 ? [`${indent}if (block * ${lanes} + lane < ${cols}) {`, `${inner.indent}let turn = 0;`, `${inner.indent}let j = block * ${lanes} + lane;`]
    : [`${indent}for (var turn = 0; turn < ${Math.ceil(cols / lanes)}; turn++) {`, `${inner.indent}let j = turn * ${lanes} + lane;`, `${inner.indent}if (j >= ${cols}) { break; }`]
  row.lines.push(...loop, ...body, `${indent}}`)
  for (const { expr, name } of pass.reductions) {
    row.lines.push(`${indent}${name} = ${combined(l, "across", expr.combine, expr.dtype, name)};`)
    row.names.set(expr, name)
  }
}

/** `r` of a row beyond the last is the last row: its lanes take part in reductions and store nothing. */
function plainRows(l: Lines): string[] {
  const { rows } = l.kernel
  const { slots } = l.plan
  return [`  let live = group * ${slots} + slot < ${rows};`, `  let r = min(group * ${slots} + slot, ${rows - 1});`, ...rowLines(l, passesOf(l.kernel, []), [], "  ")]
}

function chunkedRows(l: Lines): string[] {
  const { kernel, plan } = l
  const { rows, cols, chunk } = kernel
  const { lanes, slots, blocks } = plan
  const sums = kernel.columns.map((column, i): Sum => ({ name: `sum${i}`, column, perColumn: isPerColumn(kernel, column), own: isPerColumn(kernel, column) ? null : ownSum(kernel, column) }))
  const [wide, totals] = [sums.filter((sum) => sum.perColumn), sums.filter((sum) => !sum.perColumn)]
  const turns = blocks > 1 ? 1 : Math.ceil(cols / lanes)
  const inner = rowLines(l, passesOf(kernel, sums), totals, "    ")
  const identity = ({ column }: Sum): string => identityText(column.combine, column.buffer.dtype)
  return [
    `  let chunk = group / ${blocks};`, `  let block = group % ${blocks};`, `  let stop = min((chunk + 1) * ${chunk}, ${rows});`,
    ...wide.flatMap((sum) => startOf(sum, l, turns, identity(sum))),
    ...totals.map((sum) => `  var ${sum.name} = ${identity(sum)};`),
    `  for (var base = chunk * ${chunk}; base < stop; base += ${slots}) {`, "    let live = base + slot < stop;", "    let r = min(base + slot, stop - 1);", ...inner, "  }",
    ...(plan.sums === "memory" ? [] : wide.flatMap((sum) => endOf(l, sum, turns))),
    ...totals.flatMap((sum) => totalOf(l, sum)),
  ]
}

function startOf({ name, column }: Sum, l: Lines, turns: number, identity: string): string[] {
  if (l.plan.sums === "private") return [`  var ${name}: array<${wgslTypes[column.buffer.dtype]}, ${turns}>;`, `  for (var turn = 0; turn < ${turns}; turn++) { ${name}[turn] = ${identity}; }`]
  return [`  for (var j = lane; j < ${l.kernel.cols}; j += ${l.plan.lanes}) { ${l.m.memory.store(column.buffer, `chunk * ${l.kernel.cols} + j`, identity)} }`]
}

/** Combines what the slots have, in order, and writes the chunk's sums. */
function endOf(l: Lines, { name, column }: Sum, turns: number): string[] {
  const { lanes, slots, blocks } = l.plan
  const { cols } = l.kernel
  const type = suffix(column.buffer.dtype)
  slotsShared(l, type)
  return [
    `  for (var turn = 0; turn < ${turns}; turn++) {`, `    slots_${type}[lid] = ${name}[turn];`, "    workgroupBarrier();",
    `    let j = ${blocks > 1 ? "block" : "turn"} * ${lanes} + lane;`, `    if (slot == 0 && j < ${cols}) {`, `      var all = slots_${type}[lane];`,
    `      for (var s = 1; s < ${slots}; s++) { all = ${combinedText(column.combine, type, "all", `slots_${type}[s * ${lanes} + lane]`)}; }`,
    `      ${l.m.memory.store(column.buffer, `chunk * ${cols} + j`, "all")}`, "    }", "    workgroupBarrier();", "  }",
  ]
}

/** Combines what all threads have, and writes the chunk's total. */
function totalOf(l: Lines, { name, column: { combine, buffer } }: Sum): string[] {
  return [`  ${name} = ${combined(l, "whole", combine, buffer.dtype, name)};`, `  if (lid == 0 && block == 0) { ${l.m.memory.store(buffer, "chunk", name)} }`]
}

function slotsShared(l: Lines, type: "f32" | "i32"): void {
  const text = `var<workgroup> slots_${type}: array<${type}, ${l.plan.lanes * l.plan.slots}>;`
  if (!l.outside.includes(text)) l.outside.push(text)
}

