/** Products of tiles as C with AMX (Intel's tile unit): packing of factors, a row of tiles by two columns, and the loops around it. */
import { cIndex } from "./c-index.ts"
import type { Parameters } from "./c-exprs.ts"
import type { ContractKernel, Operand } from "../kernel/ir.ts"
import type { Packed, PackKernel, Parts, TilePlan } from "../schedule/tiles.ts"
import { packShare, padded } from "../schedule/tiles.ts"

/** Bytes of a tile: 16 rows of 64. */
const tileBytes = 1024
const places = { variables: {}, value: (): string => { throw new Error("render: the place of a matrix depends on a value") } }

/** The first number of matrix `b`, as the address of its bytes or numbers. */
function matrix(operand: Operand, p: Parameters): string {
  const wide = operand.buffer.stored === null ? "" : " * 2"
  return `${p.name(operand.buffer, false)} + (${cIndex(operand.offset, places)})${wide}`
}

// ---------------------------------------------------------------- packing

/** How a source is read: whether k or the lines are neighbours in memory, or neither. */
type Order = "depth" | "line" | "any"
/** `far`: more than stays near until it is read. */
export interface PackUse { readonly source: "f32" | "bf16"; readonly order: Order; readonly side: Packed["side"]; readonly parts: Parts; readonly far: boolean }

/** Bytes of the second level of cache. */
const near = 2 ** 21

export function packUse({ from, lineStride, depthStride, side, parts }: Packed, bytes = 0): PackUse {
  return { source: from.buffer.stored === null ? "f32" : "bf16", order: depthStride === 1 ? "depth" : lineStride === 1 ? "line" : "any", side, parts, far: bytes > near }
}

export const packUseOf = (kernel: PackKernel): PackUse => packUse(kernel, kernel.batch * kernel.lines * kernel.depth * 2 * kernel.parts)

export const packName = ({ source, order, side, parts, far }: PackUse): string => `pack_${side}_${source}_${order}${parts === 1 ? "" : "_parts"}${far ? "_far" : ""}`

/** Statements between shares `first` and `last`. */
export function renderPack(kernel: PackKernel, p: Parameters): string[] {
  const share = packShare(kernel.unit)
  const shares = Math.ceil(kernel.lines / share)
  const panel = padded(kernel.depth, kernel.unit.depth) * kernel.unit.rows * kernel.parts
  const step = kernel.from.buffer.stored === null ? 1 : 2
  return [
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${shares}, line = share % ${shares} * ${share};`,
    `    ${packName(packUseOf(kernel))}((uint16_t *)${p.name(kernel.to, true)} + (b * ${padded(kernel.lines, share) / kernel.unit.rows} + line / ${kernel.unit.rows}) * ${panel}L,`,
    `      ${matrix(kernel.from, p)} + line * ${kernel.lineStride * step}L, ${kernel.lineStride}, ${kernel.depthStride}, MIN(${share}, ${kernel.lines} - line), ${kernel.depth});`,
    "  }",
  ]
}

/** Two panels of 16 lines each: out[panel][slice][part][tile]. */
export function renderPacking(use: PackUse): string {
  const { source, order, side, parts, far } = use
  const type = source === "f32" ? "float" : "uint8_t"
  const at = (place: string): string => (source === "f32" ? `from + ${place}` : `from + 2 * (${place})`)
  // Line i of a tile, as it lies in each part: numbers of a line come as a left tile has them, pairs of k as a right one has them; the other is its transpose in pairs.
  const made = (from: "pair" | "halves", kind: string, args: string, way = "parts"): string => (parts === 1 ? `m[i] = ${from}_${kind}(${args});` : `${from}_${way}(${args}, m + i);`)
  const none = Array.from({ length: parts }, (_, part) => `m[i${part === 0 ? "" : ` + ${16 * part}`}] = `).join("")
  const turned = (order === "line") === (side === "left")
  // One part is made in registers, three where they are to lie if they need no turning on the way past the cache.
  const [room, lies] = parts > 1 && !(far && turned) ? ["f32v *const m = (f32v *)tile;", true] : [`f32v m[${16 * parts}];`, false]
  const way = far && lies ? "far" : "parts"
  const whole = order === "line" ? made("pair", source, `${at("(k + 2 * i) * depth_stride + line")}, ${at("(k + 2 * i + 1) * depth_stride + line")}, 16, 1`, way) : made("halves", source, `${at("(line + i) * line_stride + k")}, 32`, way)
  const part = order === "line"
    ? `          const long n = MAX(0, MIN(16, lines - line)), row = k + 2 * i;
          if (row < depth && n > 0) ${made("pair", source, `${at("row * depth_stride + line")}, ${at("MIN(row + 1, depth - 1) * depth_stride + line")}, n, row + 1 < depth`)} else ${none}(f32v){0};`
    : order === "depth"
      ? `          if (line + i < lines) ${made("halves", source, `${at("(line + i) * line_stride + k")}, depth - k`)} else ${none}(f32v){0};`
      : `          float numbers[32] = {0};
          if (line + i < lines) for (long j = 0; j < MIN(32, depth - k); j++) numbers[j] = ${source === "f32" ? "from[(line + i) * line_stride + (k + j) * depth_stride]" : "read_bf16_f32(from, (line + i) * line_stride + (k + j) * depth_stride)"};
          ${made("halves", "f32", "numbers, 32")}`
  const turns = (by: string): string => (turned ? `        ${Array.from({ length: parts }, (_, i) => `${by}(m${i === 0 ? "" : ` + ${16 * i}`});`).join(" ")}\n` : "")
  const parted = `        for (long i = 0; i < 16; i++) {
${part}
        }
${turns("turn")}${lies ? "" : `        for (long i = 0; i < ${16 * parts}; i++) store_f32((float *)(tile + 32 * i), m[i]);`}`
  const wholly = `        UNROLL for (long i = 0; i < 16; i++) ${whole}
${turns("transpose")}${lies ? "" : `        UNROLL for (long i = 0; i < ${16 * parts}; i++) ${far ? "_mm512_stream_ps((float *)(tile + 32 * i), (__m512)m[i])" : "store_f32((float *)(tile + 32 * i), m[i])"};`}`
  // What lies far apart the processor does not foresee: the next 32 k, or in parts the lines of the next block.
  const foresee = (place: string): string => `{ __builtin_prefetch(${at(place)});${parts === 1 ? "" : ` __builtin_prefetch(${at(`${place} + 16`)});`} }`
  const ahead = order === "line" ? `    if (k + 64 <= depth) for (long i = 32; i < 64; i++) ${foresee("(k + i) * depth_stride")}\n`
    : parts > 1 && order === "depth" ? `    for (long i = 32; i < 64; i++) ${foresee("i * line_stride + k")}\n` : ""
  return `/* ${side} tiles of a matrix of ${source}${parts === 1 ? "" : ` in ${parts} parts`}${order === "any" ? "" : ` whose ${order === "depth" ? "k" : "lines"} are neighbours`}${far ? ", past the cache" : ""}: out[2][depth / 32][${512 * parts}] */
static __attribute__((noinline, unused)) void ${packName(use)}(uint16_t *out, const ${type} *from, long line_stride, long depth_stride, long lines, long depth) {
  const long panel = (depth + 31) / 32 * ${512 * parts};
  for (long k = 0; k < depth; k += 32, out += ${512 * parts}) {
${ahead}    for (long line = 0; line < 32; line += 16) {
      uint16_t *tile = out + line / 16 * panel;
${order === "any" ? `      ${room}
${parted}` : `      if (k + 32 <= depth && line + 16 <= lines) {
        ${room}
${wholly}
      } else {
        ${room}
${parted}
      }`}
    }
  }
${far ? "  _mm_sfence();\n" : ""}}
`
}

// ---------------------------------------------------------------- products

/** Statements of a product between shares `first` and `last`; `then(from, to)` is the call of what follows on rows. Where that alone reads them, they rest in scratch. */
export function renderTiled(kernel: ContractKernel, plan: TilePlan, p: Parameters, then: ((from: string, to: string) => string) | null): string[] {
  const { m, n, k } = kernel
  const { unit, parts, rows, slice, left, passing } = plan
  const blocks = Math.ceil(m / rows)
  const slices = Math.ceil(k / unit.depth)
  const [step, panel] = [tileBytes * parts, slices * tileBytes * parts]
  const pitch = left === null ? kernel.a.rowStride * 2 : 64
  // Rows in place have all slices, packed ones those at hand.
  const [next, below, at] = left === null ? [64, `${16 * pitch}L`, "slice * 64"] : [step, `many * ${step}`, "0"]
  const made = left === null ? "scratch" : `scratch + ${rows / unit.rows * (slice * step / 4)}L`
  const right = `right + column / 16 * ${panel}L + slice * ${step}, ${panel}`
  const sums = `out + from * ${n}L + column, ${n}, to - from, MIN(32, ${n} - column), slice > 0`
  const multiply = `${parts === 1 ? "multiply_tiles" : "multiply_parts"}(many, left + ${at}, ${pitch}, ${next}, ${below}, ${right}, ${sums});`
  return [
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${blocks}, from = share % ${blocks} * ${rows}, to = MIN(${m}, from + ${rows});`,
    left === null ? `    const uint8_t *left = ${matrix(kernel.a, p)} + from * ${kernel.a.rowStride * 2}L;` : "    const uint8_t *left = (const uint8_t *)scratch;",
    `    const uint8_t *right = ${p.name(kernel.b.buffer, false)} + b * ${(padded(n, packShare(unit)) / unit.cols) * panel}L;`,
    passing ? `    float *const passed = ${made} - from * ${n}L, *const out = passed;` : `    float *const out = ${p.name(kernel.out, true)} + b * ${m * n}L;`,
    `    for (long slice = 0; slice < ${slices}; slice += ${slice}) {`,
    `      const long many = MIN(${slice}, ${slices} - slice);`,
    ...(left === null ? [] : leftLines(kernel, left, p, slice, step / 2)),
    `      for (long column = 0; column < ${n}; column += 32)`,
    `        ${multiply}`,
    "    }",
    ...(plan.whole === null ? [] : [`    mend(out + from * ${n}L, to - from, ${n}, ${k}, ${matrix(kernel.a, p)} + from * ${kernel.a.rowStride}L, ${kernel.a.rowStride}, ${kernel.a.colStride}, ${matrix(plan.whole, p)}, ${plan.whole.rowStride}, ${plan.whole.colStride});`]),
    ...(then === null ? [] : [`    ${then("from", "to")}`]),
    ...(passing && kernel.keep ? [`    copy_far(${p.name(kernel.out, true)} + from * ${n}L, passed + from * ${n}L, (to - from) * ${n}L);`] : []),
    "  }",
  ]
}

/** The rows of a share as the left factor of a slice. */
function leftLines({ m, k, a }: ContractKernel, left: Packed, p: Parameters, slice: number, numbers: number): string[] {
  const step = a.buffer.stored === null ? 1 : 2
  const depth = slice * 32
  return [
    `      for (long row = from; row < to; row += 32) ${packName(packUse(left))}((uint16_t *)scratch + (row - from) / 16 * many * ${numbers},`,
    `        ${matrix(a, p)} + row * ${left.lineStride * step}L + slice * ${32 * left.depthStride * step}L, ${left.lineStride}, ${left.depthStride}, MIN(32, ${m} - row), MIN(${depth}, ${k} - slice * 32));`,
  ]
}

export const tileHelpers = `/* ---- tiles: 16 rows of 64 bytes, 16 sums of f32 or 32 numbers of bf16 */
#include <sys/syscall.h>
/* Linux gives a process the tiles' registers when it asks: ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA. */
static int allow_tiles(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }
static void open_tiles(void) {
  struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } shape __attribute__((aligned(64))) = {.palette = 1};
  for (int i = 0; i < 8; i++) { shape.bytes[i] = 64; shape.rows[i] = 16; }
  __asm__ volatile("" : : "r"(&shape) : "memory"); /* GCC takes only the first bytes for read by what follows. */
  _tile_loadconfig(&shape);
}
static void close_tiles(void) { _tile_release(); }

/* Whole lines, past the cache. */
static __attribute__((noinline, unused)) void copy_far(float *to, const float *from, long n) {
  for (long i = 0; i < n; i += 16) _mm512_stream_ps(to + i, (__m512)load_f32(from + i));
  _mm_sfence();
}
static __attribute__((noinline, unused)) void turn(f32v m[16]) { transpose(m); }

/* 32 numbers rounded to bf16, of which n exist */
INLINE f32v halves_f32(const float *p, long n) {
  const f32v low = n >= 16 ? load_f32(p) : load_part_f32(p, n), high = n >= 32 ? load_f32(p + 16) : n > 16 ? load_part_f32(p + 16, n - 16) : set_f32(0);
  return (f32v)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}
INLINE f32v halves_bf16(const uint8_t *p, long n) { return (f32v)(n >= 32 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16((__mmask32)((1ull << n) - 1), p)); }
INLINE f32v alternate(__m512i x) {
  return (f32v)_mm512_permutexvar_epi16(_mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0), x);
}
/* 16 pairs (p[i], q[i]), of which n exist; zeros for q where there is none */
INLINE f32v pair_f32(const float *p, const float *q, long n, int both) {
  const f32v x = n >= 16 ? load_f32(p) : load_part_f32(p, n), y = !both ? set_f32(0) : n >= 16 ? load_f32(q) : load_part_f32(q, n);
  return alternate((__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x));
}
INLINE f32v pair_bf16(const uint8_t *p, const uint8_t *q, long n, int both) {
  const __mmask16 some = (__mmask16)((1u << n) - 1);
  const __m256i x = _mm256_maskz_loadu_epi16(some, p), y = _mm256_maskz_loadu_epi16(both ? some : 0, q);
  return alternate(_mm512_inserti64x4(_mm512_castsi256_si512(x), y, 1));
}
`

/** Products of parts of the left and of the right factor, one after the other for each slice of k. */
export type PartsOrder = readonly (readonly [left: number, right: number])[]

/** Slices of k that tiles of sums take at once: those of two columns of tiles stay in the first level of cache while rows go past them. */
const nearSlices = (parts: number): number => 12 / parts

/** Rows from which on they pay for fetching the right factor ahead. */
const manyRows = 96

/** A slice of one row of tiles by one or two columns: sums in tiles 0 and 1, a left factor in 2, a right one in 3. A tile at hand is not loaded again. */
function stepsOf(order: PartsOrder, wide: boolean): string {
  let [left, right] = [-1, ""]
  let columns = wide ? [0, 1] : [0]
  return order.map(([a, b]) => {
    if (right === `${b} of ${columns.at(-1)}`) columns = columns.toReversed()
    const products = columns.flatMap((column) => {
      const loads = [
        ...(left === a ? [] : [`_tile_loadd(2, a${a === 0 ? "" : ` + ${a * tileBytes}`}, pitch);`]),
        ...(right === `${b} of ${column}` ? [] : [`_tile_loadd(3, b${b === 0 ? "" : ` + ${b * tileBytes}`}${column === 0 ? "" : " + beside"}, 64);`]),
      ]
      ;[left, right] = [a, `${b} of ${column}`]
      return [...loads, `_tile_dpbf16ps(${column}, 2, 3);`]
    })
    return `      ${products.join(" ")}`
  }).join("\n")
}

function columnsOfSums(order: PartsOrder, step: number, wide: boolean): string {
  const sums = wide ? [0, 1] : [0]
  const at = (tile: number): string => `${tile}, c${tile === 0 ? "" : " + 16"}, 4 * ldc`
  return `    if (add) { ${sums.map((tile) => `_tile_loadd(${at(tile)});`).join(" ")} } else { ${sums.map((tile) => `_tile_zero(${tile});`).join(" ")} }
    for (; count > 0; count--, a += next, b += ${step}) {
${stepsOf(order, wide)}
      for (long i = 0; i < lines; i++, ahead += 64) { __builtin_prefetch(ahead, 0, 2);${wide ? " __builtin_prefetch(ahead + beside, 0, 2);" : ""} }
    }
    ${sums.map((tile) => `_tile_stored(${at(tile)});`).join(" ")}`
}

/** The function \`name\` of products of packed tiles in such parts, and one of a row of tiles. */
export function tileSums(name: string, order: PartsOrder): string {
  const parts = Math.max(...order.flat()) + 1
  const [step, near] = [tileBytes * parts, nearSlices(parts)]
  return `/* A row of tiles by one or two columns of them, of which rows and cols exist: what does not fill tiles goes by way of sums that do. \`lines\` of what is read next are fetched ahead for each slice. */
INLINE void row_${name}(long count, const uint8_t *a, long pitch, long next, const uint8_t *b, long beside, float *c, long ldc, long rows, long cols, int add, const uint8_t *ahead, long lines) {
  float part[16 * 32] __attribute__((aligned(64)));
  float *const whole = c;
  const long whole_ldc = ldc;
  const int in_part = rows < 16 || (cols & 15) != 0;
  if (in_part) {
    if (add) for (long i = 0; i < rows; i++) for (long j = 0; j < cols; j += 16) store_f32(part + 32 * i + j, load_some(whole + i * ldc, j, cols));
    c = part; ldc = 32;
  }
  if (cols > 16) {
${columnsOfSums(order, step, true)}
  } else {
${columnsOfSums(order, step, false)}
  }
  if (in_part) for (long i = 0; i < rows; i++) for (long j = 0; j < cols; j += 16) store_some(whole + i * whole_ldc, j, load_f32(part + 32 * i + j), cols);
}
/* c[rows][cols] (+)= the sum over count slices of a times b; up to 32 columns. a: \`pitch\` bytes between rows of a tile, \`next\` to the following slice, \`below\` to the tile below; b: packed, \`beside\` to the tile on the right. */
static __attribute__((noinline, unused)) void ${name}(long count, const uint8_t *a, long pitch, long next, long below, const uint8_t *b, long beside, float *c, long ldc, long rows, long cols, int add) {
  const long lines = rows < ${manyRows} ? 0 : ${16 * 16 * parts} / rows;
  _tile_zero(4); _tile_zero(5); _tile_zero(6); _tile_zero(7);
  for (long slice = 0; slice < count; slice += ${near}) {
    const long many = MIN(${near}, count - slice);
    const uint8_t *ahead = slice + many < count ? b + (slice + many) * ${step} : b + 2 * beside;
    for (long row = 0; row < rows; row += 16)
      row_${name}(many, a + row / 16 * below + slice * next, pitch, next, b + slice * ${step}, beside, c + row * ldc, ldc, MIN(16, rows - row), cols, add || slice > 0, ahead + row * lines * ${4 * near}L, lines);
  }
}
`
}

/**
 * Four registers of tiles are in use and no more. The two threads of a core share a few more than eight: beside somebody else, each write of a tile waits for one that is free (cycles of a product
 * and its load: 17 alone; beside somebody 30 with four in use, 65 with eight). What is zero takes none; the system fills all of them when it gives a core back.
 */
export const tileProduct = tileSums("multiply_tiles", [[0, 0]])
