/** Attention and its gradient on tiles: 32 queries at a time, all factors packed; what is masked for a whole block is never computed. */
import type { AttendGradKernel, AttendKernel, Strided } from "../kernel/ir.ts"
import { attendLayout, gradientLayout, padded } from "../schedule/tiles.ts"
import type { AttendLayout } from "../schedule/tiles.ts"
import { bounds, cScale, softmaxLines, tensorAt } from "./c-attend.ts"
import type { Attend } from "./c-attend.ts"
import type { PackUse } from "./c-mma.ts"
import { packName } from "./c-mma.ts"
import type { Parameters } from "./c-exprs.ts"

/** Lines that are their own neighbours along k (keys as rows, for scores), or along the lines (values as columns, for sums over keys). */
type Order = "depth" | "line"

const useOf = (x: Strided, side: PackUse["side"], order: Order): PackUse => ({ source: x.buffer.stored === null ? "f32" : "bf16", order, side, parts: 1, far: false })

/** The rows of weights and slopes that lie in scratch, turned. */
const turnedUse: PackUse = { source: "bf16", order: "line", side: "left", parts: 1, far: false }

export function attendPacks(kernel: Attend): readonly PackUse[] {
  const { q, k, v } = kernel
  const scores = [useOf(q, "left", "depth"), useOf(k, "right", "depth")]
  if (kernel.kind === "attend") return [...scores, useOf(v, "right", "line")]
  const u = kernel.upstream
  return [...scores, useOf(v, "right", "depth"), useOf(k, "right", "line"), useOf(u, "left", "depth"), useOf(q, "right", "line"), useOf(u, "right", "line"), turnedUse]
}

/** Packs `count` rows of `wide` numbers from row `t` on, 32 lines of so many slices at a time: rows as lines, or columns as lines along the rows. */
function packLines(to: string, x: Strided, p: Parameters, places: readonly [string, string, string], count: string, wide: number, side: PackUse["side"], order: Order, slices: number | string): string {
  const name = packName(useOf(x, side, order))
  const [, , t] = places
  const stride = x.strides[2]
  const panels = typeof slices === "number" ? `${slices * 1024}L` : `${slices} * 1024`
  if (order === "line") {
    const from = tensorAt(x, p, false, places, "e")
    return `for (long e = 0; e < ${wide}; e += 32) ${name}(${to} + e / 32 * ${panels}, ${from}, 1, ${stride}, MIN(32, ${wide} - e), ${count});`
  }
  const from = tensorAt(x, p, false, [places[0], places[1], t === "0" ? "line" : `(${t} + line)`])
  return `for (long line = 0; line < ${count}; line += 32) ${name}(${to} + line / 32 * ${panels}, ${from}, ${stride}, 1, MIN(32, ${count} - line), ${wide});`
}

/** Scratch as named parts. */
function parts(layout: AttendLayout): string[] {
  let at = 0
  return layout.map(({ name, type, floats }) => {
    const from = at
    at += floats
    return `  ${type} *const ${name} = (${type} *)scratch + ${type === "float" ? from : 2 * from}L;`
  })
}

/** The product of packed tiles with packed ones; \`right\` counts numbers of bf16. */
function product(count: string, left: string, pitch: string, next: number, below: string, right: string, beside: number | string, out: string, ld: string, rows: string, cols: string, add: string): string {
  return `multiply_tiles(${count}, (const uint8_t *)(${left}), ${pitch}, ${next}, ${below}, (const uint8_t *)(${right}), ${beside}, ${out}, ${ld}, ${rows}, ${cols}, ${add});`
}

/** Sums of rows that lie as rows of a tensor: into it, or rounded into it by way of \`sums\`. */
function intoRows(out: Strided, p: Parameters, places: readonly [string, string, string], rows: string, wide: number, multiply: (to: string, ld: string, rows: string, cols: string) => string, indent: string): string[] {
  const [full, stride] = [padded(wide, 32), out.strides[2]]
  if (out.buffer.stored === null) return [`${indent}for (long e = 0; e < ${wide}; e += 32) ${multiply(tensorAt(out, p, true, places, "e"), String(stride), rows, `MIN(32, ${wide} - e)`)}`]
  return [
    `${indent}for (long e = 0; e < ${wide}; e += 32) ${multiply("sums + e", String(full), "32", "32")}`,
    `${indent}round_rows(${tensorAt(out, p, true, places)}, ${stride * 2}L, sums, ${full}, ${rows}, ${wide});`,
  ]
}

export function renderAttendTiles(kernel: AttendKernel, p: Parameters): string[] {
  const { heads, groups, queries, keys, depth, values } = kernel.sizes
  const [keyWidth, deep] = [padded(keys, 32), padded(depth, 32)]
  const [slices, keySlices] = [deep / 32, keyWidth / 32]
  const sum = (to: string, ld: string, rows: string, cols: string): string =>
    product("(end - begin) / 32", "weights", String(keyWidth * 2), 64, String(keyWidth * 32), `packed_v + e / 16 * ${keySlices * 512}L + begin * 16`, keySlices * 1024, to, ld, rows, cols, "0")
  return [
    ...parts(attendLayout(kernel.sizes)),
    "  long packed = -1;",
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${heads}, h = share % ${heads}, g = h / ${heads / groups};`,
    ...bounds(kernel, p).map((line) => (line.startsWith("#") ? line : `    ${line}`)),
    `    if (packed != b * ${groups} + g) {`,
    `      ${packLines("packed_k", kernel.k, p, ["b", "g", "0"], String(keys), depth, "right", "depth", slices)}`,
    `      ${packLines("packed_v", kernel.v, p, ["b", "g", "0"], String(keys), values, "right", "line", keySlices)}`,
    `      packed = b * ${groups} + g;`,
    "    }",
    `    for (long start = 0; start < ${queries}; start += 32) {`,
    `      const long rows = MIN(32, ${queries} - start);`,
    "      const long begin = LOW(start) / 32 * 32, end = MAX(begin, (HIGH(start + rows - 1) + 31) / 32 * 32);",
    `      ${packLines("packed_q", kernel.q, p, ["b", "h", "start"], "rows", depth, "left", "depth", slices)}`,
    `      for (long j = begin; j < end; j += 32) ${product(String(slices), "packed_q", "64", 1024, String(slices * 1024), `packed_k + j * ${deep}L`, slices * 1024, "scores + j - begin", String(keyWidth), "32", "32", "0")}`,
    "      for (long i = start; i < start + rows; i++) {",
    `        float *row = scores + (i - start) * ${keyWidth};`,
    ...softmaxLines(kernel, p, "        "),
    `        for (long j = begin; j < end; j += LANES) store_half(weights + (i - start) * ${keyWidth} + j - begin, load_f32(row + j - begin) * inverse);`,
    "      }",
    ...intoRows(kernel.out, p, ["b", "h", "start"], "rows", values, sum, "      "),
    "    }",
    "#undef LOW", "#undef HIGH",
    "  }",
  ]
}

/** ds = p (dp - sum(p dp)) with dp = dy v^T; then dq = ds k, and over a block of queries dk += ds^T q, dv += p^T dy, all scaled as the scores were. */
export function renderAttendGradTiles(kernel: AttendGradKernel, p: Parameters): string[] {
  const { heads, groups, queries, keys, depth, values } = kernel.sizes
  const { layout, block } = gradientLayout(kernel.sizes)
  const [keyWidth, deep, wide] = [padded(keys, 32), padded(depth, 32), padded(values, 32)]
  const keySlices = keyWidth / 32
  const share = heads / groups
  const sharedBias = kernel.dbias !== null && kernel.dbias.strides[0] === 0
  const count = sharedBias ? `${kernel.sizes.batch * groups}` : "last"
  const scores = (left: string, right: string, to: string, width: number): string =>
    `for (long j = begin; j < stop; j += 32) ${product(String(width / 32), left, "64", 1024, String(width * 32), `${right} + j * ${width}L`, width * 32, `${to} + j - begin`, String(keyWidth), "32", "32", "0")}`
  const intoKeys = (sums: string, from: string, right: string, width: number): string[] => [
    `          ${packName(turnedUse)}(turned, (const uint8_t *)(${from} + skipped * ${32 * keyWidth}L + j - left), 1, ${keyWidth}, 32, rows - 32 * skipped);`,
    `          for (long e = 0; e < ${width}; e += 32) ${product("many", "turned", "64", 1024, "many * 1024", `${right} + e / 16 * slices * 512 + skipped * 512`, "slices * 1024", `${sums} + j * ${width}L + e`, String(width), "32", "32", "1")}`,
  ]
  const outOf = (out: Strided | null, sums: string, width: number, n: number): string[] => (out === null ? [] : [
    `    ${out.buffer.stored === null ? "copy_rows" : "round_rows"}(${tensorAt(out, p, true, ["b", "g", "0"])}, ${out.strides[2] * (out.buffer.stored === null ? 1 : 2)}L, ${sums}, ${width}, ${keys}, ${n});`,
  ])
  const into = (to: string, ld: string, rows: string, cols: string): string =>
    product("(stop - begin) / 32", `slopes + (start - top) * ${keyWidth}L + begin - left`, String(keyWidth * 2), 64, String(keyWidth * 32), `lines_k + e / 16 * ${keySlices * 512}L + begin * 16`, keySlices * 1024, to, ld, rows, cols, "0")
  return [
    ...parts(layout),
    ...(sharedBias ? ["  if (first >= last) return;", `  memset(${p.name(kernel.dbias.buffer, true)}, 0, ${kernel.dbias.buffer.size * 4}L);`] : []),
    `  for (long share = ${sharedBias ? "0" : "first"}; share < ${count}; share++) {`,
    `    const long b = share / ${groups}, g = share % ${groups};`,
    ...bounds(kernel, p).map((line) => (line.startsWith("#") ? line : `    ${line}`)),
    `    ${packLines("packed_k", kernel.k, p, ["b", "g", "0"], String(keys), depth, "right", "depth", deep / 32)}`,
    `    ${packLines("packed_v", kernel.v, p, ["b", "g", "0"], String(keys), values, "right", "depth", wide / 32)}`,
    `    ${packLines("lines_k", kernel.k, p, ["b", "g", "0"], String(keys), depth, "right", "line", keySlices)}`,
    `    memset(sums_k, 0, ${keyWidth * deep * 4}L);`,
    `    memset(sums_v, 0, ${keyWidth * wide * 4}L);`,
    `    for (long h = g * ${share}; h < (g + 1) * ${share}; h++) {`,
    ...(kernel.dbias !== null && !sharedBias ? [`      memset(${tensorAt(kernel.dbias, p, true, ["b", "h", "0"])}, 0, ${queries * keys * 4}L);`] : []),
    `      for (long top = 0; top < ${queries}; top += ${block}) {`,
    `        const long rows = MIN(${block}, ${queries} - top), slices = (rows + 31) / 32;`,
    `        const long left = MIN(${keyWidth}L, LOW(top) / 32 * 32), right = MAX(left, (HIGH(top + rows - 1) + 31) / 32 * 32);`,
    "        for (long start = top; start < top + rows; start += 32) {",
    "          const long some = MIN(32, top + rows - start);",
    "          /* The keys of these queries; others of the block see more. */",
    `          const long begin = MIN(${keyWidth}L, LOW(start) / 32 * 32), stop = MAX(begin, (HIGH(start + some - 1) + 31) / 32 * 32);`,
    `          ${packLines("packed_q", kernel.q, p, ["b", "h", "start"], "some", depth, "left", "depth", deep / 32)}`,
    `          ${packLines("packed_u", kernel.upstream, p, ["b", "h", "start"], "some", values, "left", "depth", wide / 32)}`,
    `          ${scores("packed_q", "packed_k", "scores", deep)}`,
    `          ${scores("packed_u", "packed_v", "changes", wide)}`,
    "          for (long i = start; i < start + some; i++) {",
    `            float *row = scores + (i - start) * ${keyWidth}, *change = changes + (i - start) * ${keyWidth};`,
    `            uint16_t *weight = weights + (i - top) * ${keyWidth}L - left, *slope = slopes + (i - top) * ${keyWidth}L - left;`,
    ...softmaxLines(kernel, p, "            ").map((line) => line.replaceAll("j < end", "j < stop")),
    "            f32v mean = set_f32(0);",
    "            for (long j = begin; j < stop; j += LANES) {",
    "              const f32v x = load_f32(row + j - begin) * inverse;",
    "              store_f32(row + j - begin, x);",
    "              store_half(weight + j, x);",
    "              mean = fma_f32(x, load_f32(change + j - begin), mean);",
    "            }",
    "            mean = sum_f32(mean);",
    "            for (long j = begin; j < stop; j += LANES) {",
    "              const f32v d = load_f32(row + j - begin) * (load_f32(change + j - begin) - mean);",
    ...(kernel.dbias === null ? [] : [`              { float *to = ${tensorAt(kernel.dbias, p, true, ["b", "h", "i"])}; store_some(to, j, load_some(to, j, ${keys}) + d, ${keys}); }`]),
    `              store_half(slope + j, d * ${cScale(kernel)});`,
    "            }",
    "            memset(weight + left, 0, (begin - left) * 2);",
    "            memset(slope + left, 0, (begin - left) * 2);",
    "          }",
    ...(kernel.dq === null ? [] : intoRows(kernel.dq, p, ["b", "h", "start"], "some", depth, into, "          ")),
    "        }",
    `        ${packLines("lines_q", kernel.q, p, ["b", "h", "top"], "rows", depth, "right", "line", "slices")}`,
    `        ${packLines("lines_u", kernel.upstream, p, ["b", "h", "top"], "rows", values, "right", "line", "slices")}`,
    "        /* Slices of 32 queries none of which sees keys from j on come first. */",
    "        long skipped = 0;",
    "        for (long j = left; j < right; j += 32) {",
    "          while (MAX(left, (HIGH(MIN(top + rows, top + 32 * skipped + 32) - 1) + 31) / 32 * 32) <= j) skipped++;",
    "          const long many = slices - skipped;",
    ...(kernel.dk === null ? [] : intoKeys("sums_k", "slopes", "lines_q", deep)),
    ...(kernel.dv === null ? [] : intoKeys("sums_v", "weights", "lines_u", wide)),
    "        }",
    "      }",
    "    }",
    ...outOf(kernel.dk, "sums_k", deep, depth),
    ...outOf(kernel.dv, "sums_v", wide, values),
    "#undef LOW", "#undef HIGH",
    "  }",
  ]
}

export const attendHelpers = `/* 16 numbers, rounded to bf16 */
INLINE void store_half(uint16_t *p, f32v x) { _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh((__m512)x)); }
/* Rows of f32 to rows of bf16, \`pitch\` bytes apart. */
static __attribute__((noinline, unused)) void round_rows(uint8_t *to, long pitch, const float *from, long ld, long rows, long cols) {
  for (long i = 0; i < rows; i++, to += pitch, from += ld) for (long j = 0; j < cols; j += 32) {
    const long n = MIN(32, cols - j);
    _mm512_mask_storeu_epi16(to + 2 * j, (__mmask32)(n == 32 ? 0xffffffffu : (1u << n) - 1), (__m512i)halves_f32(from + j, n));
  }
}
static __attribute__((noinline, unused)) void copy_rows(float *to, long stride, const float *from, long ld, long rows, long cols) {
  for (long i = 0; i < rows; i++) memcpy(to + i * stride, from + i * ld, cols * 4);
}
`
