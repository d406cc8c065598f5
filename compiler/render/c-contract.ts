/** Products as C: shares of rows, packed panels of b, tiles in registers, and the kernel that follows on rows just finished. */
import type { ContractKernel } from "../kernel/ir.ts"
import { bandOf, leftRows } from "../schedule/cpu.ts"
import { padded } from "../schedule/tiles.ts"
import type { ContractPlan, CpuTarget, Tile } from "../schedule/cpu.ts"
import { cIndex } from "./c-index.ts"
import { codesOf, renderCodes, renderDigits } from "./c-codes.ts"
import { renderAlong, runsAlong } from "./c-vector.ts"
import type { VectorNames } from "./c-vector.ts"
import type { Parameters } from "./c-exprs.ts"
import { tileName } from "./c-tile.ts"
import type { Storage } from "./c-tile.ts"

export interface TileUse { readonly tile: Tile; readonly storage: Storage }

/** Tiles that a product needs: the full one, and one for the rows that are left. */
export function tilesOf(kernel: ContractKernel, plan: ContractPlan): readonly TileUse[] {
  if (plan.way === "vector") return []
  const storage: Storage = plan.way === "stream" ? "row" : plan.right === "lines" ? "lines" : "col"
  const left = restRows(kernel, plan).map((rows): TileUse => ({ tile: { rows, vectors: plan.tile.vectors }, storage }))
  return [{ tile: plan.tile, storage }, ...left]
}

/** Rows left over in a share: shares but the last are multiples of the tile or all alike. */
function restRows({ m }: ContractKernel, plan: ContractPlan): number[] {
  const lefts = plan.way === "outer" ? [m % plan.tile.rows, plan.rows % plan.tile.rows, ((m % plan.rows) + plan.rows) % plan.tile.rows, ...Array.from({ length: Math.ceil(m / plan.rows) }, (_, i) => (m - i * plan.rows) % plan.tile.rows)] : [plan.rows % plan.tile.rows, (m % plan.rows) % plan.tile.rows]
  return [...new Set(lefts)].filter((rows) => rows > 0)
}

/** Rows of c in tiles: the full ones, then what is left. */
function tileLoop(kernel: ContractKernel, plan: ContractPlan, rows: string, call: (name: string, row: string) => string, indent: string): string[] {
  const [full, ...left] = tilesOf(kernel, plan)
  if (full === undefined) return []
  const lines = [`${indent}long i = 0;`, `${indent}for (; i + ${full.tile.rows} <= ${rows}; i += ${full.tile.rows}) ${call(tileName(full.tile, full.storage), "i")};`]
  if (left.length === 0) return lines
  const cases = left.map(({ tile, storage }) => `${indent}  case ${tile.rows}: ${call(tileName(tile, storage), "i")}; break;`)
  return [...lines, `${indent}switch (${rows} - i) {`, ...cases, `${indent}}`]
}

/** A call of a kernel on some rows. */
export type Call = (from: string, to: string) => string

const variables = { variables: {}, value: (): string => { throw new Error("render: the place of a matrix depends on a value") } }

function namesOf(kernel: ContractKernel, p: Parameters): VectorNames {
  return {
    a: p.name(kernel.a.buffer, false), b: kernel.prologue === null ? p.name(kernel.b.buffer, false) : null, c: p.name(kernel.out, true),
    offsetA: cIndex(kernel.a.offset, variables), offsetB: cIndex(kernel.b.offset, variables),
  }
}

/** Statements that a thread goes through before its first share of a product; null: there are none. */
export function renderBefore(kernel: ContractKernel, plan: ContractPlan, target: CpuTarget, p: Parameters): string[] | null {
  const codes = plan.way === "vector" ? codesOf(kernel, target) : null
  return codes === null ? null : renderDigits(kernel, codes, { a: p.name(kernel.a.buffer, false), offsetA: cIndex(kernel.a.offset, variables) })
}

/**
 * Statements of a product between shares `first` and `last`; `then(from, to)` is the call of what follows on rows, `make(from, to)` the one
 * that makes these rows of the second operand at `made`.
 */
export function renderContract(kernel: ContractKernel, plan: ContractPlan, target: CpuTarget, p: Parameters, then: Call | null, make: Call | null): string[] {
  const names = namesOf(kernel, p)
  const codes = plan.way === "vector" ? codesOf(kernel, target) : null
  if (codes !== null) return renderCodes(kernel, plan, codes, p, names)
  if (plan.way === "vector") return runsAlong(kernel) ? renderAlong(kernel, plan, target, p, names) : renderAcross(kernel, plan, names)
  const blocks = Math.ceil(kernel.m / plan.rows)
  const inner = plan.right !== "share" ? packedLines(kernel, plan, target, then) : plan.way === "stream" ? streamLines(kernel, plan, target, then, make) : outerLines(kernel, plan, target, then, make)
  return [
    `  for (long share = first; share < last;) {`,
    `    const long b = share / ${blocks}, from = share % ${blocks} * ${plan.rows}, here = MIN(last - share, ${blocks} - share % ${blocks});`,
    `    const long to = MIN(${kernel.m}, from + here * ${plan.rows});`,
    ...(plan.right === "panels" ? [
      `    const float *left = ${names.a} + ${names.offsetA}, *right = ${names.b} + b * ${padded(kernel.n, plan.tile.vectors * target.lanes) * kernel.k}L;`,
    ] : [`    const float *left = ${names.a} + ${names.offsetA}${names.b === null ? "" : `, *right = ${names.b} + ${names.offsetB}`};`]),
    `    float *out = ${names.c} + b * ${kernel.m * kernel.n}L;`,
    ...inner,
    "    share += here;",
    "  }",
  ]
}

/** b lies in panels, or is read as it lies; rows of a stream past it, as they are or packed block by block. A block meets slice after slice of k, the sums wait in memory. */
function packedLines(kernel: ContractKernel, plan: ContractPlan, target: CpuTarget, then: Call | null): string[] {
  const width = plan.tile.vectors * target.lanes
  const { a: { rowStride, colStride }, b, k, n } = kernel
  const isOuter = plan.way === "outer"
  const rows = isOuter ? leftRows : plan.rows
  const right = plan.right === "panels" ? `panel + k * ${width}` : `right + k * ${b.rowStride}L + column, ${b.rowStride}`
  const tile = (name: string, row: string): string => {
    const left = isOuter ? `scratch + ${row} * slice, ${name.startsWith(`tile_${plan.tile.rows}x`) ? plan.tile.rows : `stop - block - ${row}`}` : `left + (block + ${row}) * ${rowStride}L + k, ${rowStride}`
    return `${name}(slice, ${left}, ${right}, out + (block + ${row}) * ${n}L + column, ${n}, ${n} - column, k > 0)`
  }
  return [
    `    for (long block = from; block < to; block += ${rows}) {`,
    `      const long stop = MIN(to, block + ${rows});`,
    `      for (long k = 0; k < ${k}; k += ${plan.slice}) {`,
    `        const long slice = MIN(${plan.slice}, ${k} - k);`,
    ...(isOuter ? [`        pack_left(scratch, left + block * ${rowStride}L + k * ${colStride}L, ${rowStride}, ${colStride}, slice, stop - block, ${plan.tile.rows});`] : []),
    ...(plan.right === "panels" ? ["        const float *panel = right;", `        for (long column = 0; column < ${n}; column += ${width}, panel += ${k * width}L) {`] : [`        for (long column = 0; column < ${n}; column += ${width}) {`]),
    ...tileLoop(kernel, plan, "stop - block", tile, "          "),
    "        }",
    "      }",
    ...(then === null || isOuter ? [] : [`      ${then("block", "stop")}`]),
    "    }",
    // What follows may reduce by chunks of rows, which blocks need not be.
    ...(then !== null && isOuter ? [`    ${then("from", "to")}`] : []),
  ]
}

/** All of b (or a band of its columns) is packed once per thread; rows of a stream past it. */
function streamLines(kernel: ContractKernel, plan: ContractPlan, target: CpuTarget, then: Call | null, make: Call | null): string[] {
  const width = plan.tile.vectors * target.lanes
  const band = Math.min(padded(kernel.n, width), bandOf(kernel.k, width))
  const single = band >= kernel.n
  const tile = (name: string, row: string): string =>
    `${name}(slice, left + (block + ${row}) * ${kernel.a.rowStride}L + k, ${kernel.a.rowStride}, panel + k * ${width}, out + (block + ${row}) * ${kernel.n}L + column, ${kernel.n}, columns - (column - start), k > 0)`
  return [
    `    for (long start = 0; start < ${kernel.n}; start += ${band}) {`,
    `      const long columns = MIN(${band}, ${kernel.n} - start);`,
    ...(make === null ? [`      pack_any(scratch, right + start * ${kernel.b.colStride}L, ${kernel.b.rowStride}, ${kernel.b.colStride}, ${kernel.k}, columns, ${width});`] : [
      `      float *made = scratch + ${padded(band, width) * kernel.k}L;`,
      `      for (long c = 0; c < columns; c += ${width}) {`,
      `        ${make("start + c", `start + MIN(columns, c + ${width})`)}`,
      `        pack_any(scratch + c * ${kernel.k}, made, 1, ${kernel.k}, ${kernel.k}, MIN(${width}, columns - c), ${width});`,
      "      }",
    ]),
    ...rounding(kernel, "scratch", `(columns + ${width - 1}) / ${width} * ${width * kernel.k}L`, "      "),
    `      for (long block = from; block < to; block += ${plan.rows}) {`,
    `        const long rows = MIN(${plan.rows}, to - block);`,
    `        for (long k = 0; k < ${kernel.k}; k += ${plan.slice}) {`,
    `          const long slice = MIN(${plan.slice}, ${kernel.k} - k);`,
    `          const float *panel = scratch;`,
    `          for (long column = start; column < start + columns; column += ${width}, panel += ${kernel.k * width}L) {`,
    ...tileLoop(kernel, plan, "rows", tile, "            "),
    "          }",
    "        }",
    ...(then !== null && single ? [`        ${then("block", "block + rows")}`] : []),
    "      }",
    "    }",
    ...(then !== null && !single ? [`    ${then("from", "to")}`] : []),
  ]
}

/** Slices of k: both sides are packed, the sums wait in memory. */
function outerLines(kernel: ContractKernel, plan: ContractPlan, target: CpuTarget, then: Call | null, make: Call | null): string[] {
  const width = plan.tile.vectors * target.lanes
  const { rows } = plan.tile
  const tile = (name: string, row: string): string =>
    `${name}(slice, scratch + ${row} * slice, ${name.startsWith(`tile_${rows}x`) ? rows : "to - from - i"}, panel, out + (from + ${row}) * ${kernel.n}L + column, ${kernel.n}, ${kernel.n} - column, k > 0)`
  return [
    `    float *packed = scratch + (to - from + ${rows}) * ${plan.slice};`,
    `    for (long k = 0; k < ${kernel.k}; k += ${plan.slice}) {`,
    `      const long slice = MIN(${plan.slice}, ${kernel.k} - k);`,
    `      pack_left(scratch, left + from * ${kernel.a.rowStride}L + k * ${kernel.a.colStride}L, ${kernel.a.rowStride}, ${kernel.a.colStride}, slice, to - from, ${rows});`,
    ...(make === null ? [`      pack_any(packed, right + k * ${kernel.b.rowStride}L, ${kernel.b.rowStride}, ${kernel.b.colStride}, slice, ${kernel.n}, ${width});`] : [
      `      float *made = packed + ${padded(kernel.n, width) * plan.slice}L;`,
      `      for (long c = 0; c < ${kernel.n}; c += ${width}) {`,
      `        ${make("c", `MIN(${kernel.n}, c + ${width})`)}`,
      `        pack_any(packed + c * slice, made + k, 1, ${kernel.k}, slice, MIN(${width}, ${kernel.n} - c), ${width});`,
      "      }",
    ]),
    ...rounding(kernel, "packed", `slice * ${padded(kernel.n, width)}L`, "      "),
    `      const float *panel = packed;`,
    `      for (long column = 0; column < ${kernel.n}; column += ${width}, panel += slice * ${width}) {`,
    ...tileLoop(kernel, plan, "to - from", tile, "        "),
    "      }",
    "    }",
    ...(then !== null ? [`    ${then("from", "to")}`] : []),
  ]
}

/** What was packed of b is rounded where the product says so. */
function rounding({ factors }: ContractKernel, packed: string, count: string, indent: string): string[] {
  return factors === "f32" ? [] : [`${indent}round_${factors}(${packed}, ${count});`]
}

/** Few rows where b lies across: its rows are added up. */
function renderAcross(kernel: ContractKernel, plan: ContractPlan, n: VectorNames): string[] {
  const blocks = Math.ceil(kernel.n / plan.cols)
  return [
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${blocks}, from = share % ${blocks} * ${plan.cols}, to = MIN(${kernel.n}, from + ${plan.cols});`,
    `    const float *left = ${n.a} + ${n.offsetA}, *right = ${n.b} + ${n.offsetB};`,
    `    float *out = ${n.c} + b * ${kernel.m * kernel.n}L;`,
    `    for (long i = 0; i < ${kernel.m}; i++) combine${kernel.factors === "f32" ? "" : `_${kernel.factors}`}(out + i * ${kernel.n}L + from, left + i * ${kernel.a.rowStride}L, ${kernel.a.colStride}, right + from * ${kernel.b.colStride}L, ${kernel.b.rowStride}, ${kernel.b.colStride}, ${kernel.k}, to - from);`,
    "  }",
  ]
}

/** Rows of b added up; `read` says what becomes of its numbers as they are read. */
const combineRows = (suffix: string, read: (x: string) => string): string => `/* out[j] = sum over k of x[k * step] * b[k * row + j * col] */
static __attribute__((noinline, unused)) void combine${suffix}(float *out, const float *x, long step, const float *b, long row, long col, long count, long n) {
  if (col == 1) {
    for (long j = 0; j < n; j += LANES) {
      f32v s = {0};
      for (long k = 0; k < count; k++) s = fma_f32(set_f32(x[k * step]), ${read("load_some(b + k * row, j, n)")}, s);
      store_some(out, j, s, n);
    }
    return;
  }
  for (long j = 0; j < n; j++) { float s = 0; for (long k = 0; k < count; k++) s += x[k * step] * ${read("set_f32(b[k * row + j * col])")}[0]; out[j] = s; }
}
`

/** Shared functions of products. */
export const contractHelpers = `/* out[panel][count][height] = a(i, k); a(i, k) at a[i * row + k * col]; a panel that is not full is narrower. Where rows lie side by side, eight panels are written at once, so that
   each line of a is read once. Whole vectors reach into the place of the next k, which is written after them, as long as there is one. */
static __attribute__((noinline, unused)) void pack_left(float *out, const float *a, long row, long col, long count, long rows, long height) {
  const long safe = row == 1 && col >= LANES && height <= LANES ? MAX(0L, MIN(count - 1, count - (LANES + height - 1) / height)) : 0, size = height * count;
  long from = 0;
  for (; safe > 0 && from + 8 * height <= rows; from += 8 * height) {
    const float *source = a + from;
    float *to = out + from * count;
    for (long k = 0; k < safe; k++, source += col, to += height) {
      /* Lines lie too far apart for the processor to foresee them. */
      __builtin_prefetch(source + 16 * col); __builtin_prefetch(source + 16 * col + 16); __builtin_prefetch(source + 16 * col + 32); __builtin_prefetch(source + 16 * col + 48);
      store_f32(to, load_f32(source)); store_f32(to + size, load_f32(source + height)); store_f32(to + 2 * size, load_f32(source + 2 * height)); store_f32(to + 3 * size, load_f32(source + 3 * height));
      store_f32(to + 4 * size, load_f32(source + 4 * height)); store_f32(to + 5 * size, load_f32(source + 5 * height)); store_f32(to + 6 * size, load_f32(source + 6 * height)); store_f32(to + 7 * size, load_f32(source + 7 * height));
    }
  }
  for (long at = 0; at < rows; at += height) {
    const long n = MIN(height, rows - at);
    for (long k = at < from ? safe : 0; k < count; k++) for (long i = 0; i < n; i++) out[at * count + k * n + i] = a[(at + i) * row + k * col];
  }
}
/* Numbers rounded in place. */
INLINE void round_bf16(float *x, long count) { for (long i = 0; i < count; i += LANES) store_f32(x + i, narrow_bf16_f32(load_f32(x + i))); }
${combineRows("", (x) => x)}${combineRows("_bf16", (x) => `narrow_bf16_f32(${x})`)}`
