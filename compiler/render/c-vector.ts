/** Products of few rows as C: each row of b is read once, as it lies or as it is made, and meets all rows of a. */
import type { ContractKernel } from "../kernel/ir.ts"
import type { ContractPlan, CpuTarget } from "../schedule/cpu.ts"
import { rowValue } from "./c-rows.ts"
import type { Parameters } from "./c-exprs.ts"

/** How the operands are called where the product stands. */
export interface VectorNames { readonly a: string; readonly b: string | null; readonly c: string; readonly offsetA: string; readonly offsetB: string }

/** Whether the sum runs along memory on both sides; then vectors go along k. */
export function runsAlong(kernel: ContractKernel): boolean {
  return kernel.prologue !== null || (kernel.b.rowStride === 1 && kernel.a.colStride === 1)
}

/** Shares are blocks of columns: threads divide the rows of b. */
export function renderAlong(kernel: ContractKernel, plan: ContractPlan, target: CpuTarget, p: Parameters, names: VectorNames): string[] {
  const { m, n, k, a } = kernel
  const blocks = Math.ceil(n / plan.cols)
  const gathered = a.colStride !== 1 && k > 1
  const block = (rows: number): string[] => blockLines(kernel, target, p, rows, gathered ? k : a.rowStride).map((line) => `      ${line}`)
  return [
    ...(gathered ? [
      `  const float *from_a = ${names.a};`,
      `  for (long i = 0; i < ${m}; i++) for (long j = 0; j < ${k}; j++) scratch[i * ${k} + j] = from_a[i * ${a.rowStride}L + j * ${a.colStride}L];`,
    ] : []),
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${blocks}, from = share % ${blocks} * ${plan.cols}, to = MIN(${n}, from + ${plan.cols});`,
    `    const float *left = ${gathered ? "scratch" : `${names.a} + ${names.offsetA}`}${names.b === null ? "" : `, *right = ${names.b} + ${names.offsetB}`};`,
    `    float *out = ${names.c} + b * ${m * n}L;`,
    "    long r = from;",
    ...(plan.tile.rows > 1 ? [`    for (; r + ${plan.tile.rows} <= to; r += ${plan.tile.rows}) {`, ...block(plan.tile.rows), "    }"] : []),
    "    for (; r < to; r++) {", ...block(1), "    }", "  }",
  ]
}

const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i)

/** `rows` rows of b from r on: their products with all rows of a, one sum of lanes for each. */
function blockLines(kernel: ContractKernel, target: CpuTarget, p: Parameters, rows: number, stride: number): string[] {
  const { m, n, k } = kernel
  const whole = k - (k % target.lanes)
  const sums = range(m).map((i) => `f32v ${range(rows).map((q) => `s${q}_${i} = {0}`).join(", ")};`)
  const results = range(m).flatMap((i) => {
    const names = range(rows).map((q) => `s${q}_${i}`).join(", ")
    return rows === 1 ? [`out[${i * n} + r] = sum_f32(s0_${i})[0];`] : [rows === target.lanes ? `store_f32(out + ${i * n} + r, sum_rows_${rows}(${names}));` : `store_part_f32(out + ${i * n} + r, sum_rows_${rows}(${names}), ${rows});`]
  })
  const head = (part: string | null): ReturnType<typeof values> => values(kernel, target, p, rows, part)
  const [full, rest] = [whole > 0 ? head(null) : null, whole < k ? head(String(k - whole)) : null]
  const products = (names: readonly string[], load: (i: number) => string): string[] =>
    range(m).flatMap((i) => [`const f32v x${i} = ${load(i)};`, names.map((name, q) => `s${q}_${i} = fma_f32(x${i}, ${name}, s${q}_${i});`).join(" ")])
  return [
    ...sums,
    ...(full === null ? [] : ["{", ...full.row, `for (long j = 0; j < ${whole}; j += LANES) {`, ...full.columns, ...products(full.names, (i) => `load_f32(left + ${i * stride} + j)`), "}", "}"]),
    ...(rest === null ? [] : ["{", `const long j = ${whole};`, ...rest.row, ...rest.columns, ...products(rest.names, (i) => `load_part_f32(left + ${i * stride} + j, ${k - whole})`), "}"]),
    ...results,
  ]
}

/** One vector of each row of b; lanes beyond the end are zeros. */
function values(kernel: ContractKernel, target: CpuTarget, p: Parameters, rows: number, part: string | null): { readonly row: readonly string[]; readonly columns: readonly string[]; readonly names: readonly string[] } {
  const { prologue, b } = kernel
  if (prologue === null) {
    const load = (q: number): string => (part === null ? `load_f32(right + r * ${b.colStride}L + ${q * b.colStride} + j)` : `load_part_f32(right + r * ${b.colStride}L + ${q * b.colStride} + j, ${part})`)
    const read = (q: number): string => (kernel.factors === "f32" ? load(q) : `narrow_${kernel.factors}_f32(${load(q)})`)
    return { row: [], columns: range(rows).map((q) => `const f32v w${q} = ${read(q)};`), names: range(rows).map((q) => `w${q}`) }
  }
  const made = range(rows).map((q) => rowValue(prologue, p, target, q, part, 1000 * q, ""))
  const ends = part === null ? [] : made.map(({ name }, q) => `const f32v w${q} = first_f32(${name}, set_f32(0), ${part});`)
  return { row: made.flatMap((x) => x.row), columns: [...made.flatMap((x) => x.columns), ...ends], names: made.map(({ name }, q) => (part === null ? name : `w${q}`)) }
}

/** The sums of several vectors at once, each by halves as `sum_f32` takes them: lane q of the result is that of vector q. */
export function sumRows(rows: number, { lanes }: CpuTarget): string {
  const lines: string[] = []
  let names = range(rows).map((q) => `x${q}`)
  let width = lanes // of what is left of each vector
  for (let level = 0; width > 1; level++, width /= 2) {
    const half = width / 2
    const count = lanes / width // vectors in one, before this step
    const next: string[] = []
    for (let i = 0; i < names.length; i += 2) {
      const [x = "", y = x] = [names[i], names[i + 1]]
      const both = (offset: number): string => range(lanes).map((l) => {
        const slot = Math.floor(l / half) // which of the 2 * count sums this lane belongs to
        return (slot < count ? 0 : lanes) + (slot % count) * width + offset + (l % half)
      }).join(", ")
      const name = `y${level}_${i / 2}`
      lines.push(`  const f32v ${name} = __builtin_shufflevector(${x}, ${y}, ${both(0)}) + __builtin_shufflevector(${x}, ${y}, ${both(half)});`)
      next.push(name)
    }
    names = next
  }
  return `INLINE f32v sum_rows_${rows}(${range(rows).map((q) => `f32v x${q}`).join(", ")}) {\n${lines.join("\n")}\n  return ${names[0]};\n}\n`
}
