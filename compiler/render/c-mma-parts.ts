/** Products of f32 as C with AMX: each number is the sum of three of bf16, and six of the nine products of parts are computed; the others are below 2^-24 of theirs. */
import type { PartsOrder } from "./c-mma.ts"
import { tileSums } from "./c-mma.ts"

/** The order of the six for each slice of k, the largest last, so that small ones are added to sums that lack it. Each step changes the parts of one side. */
const order: PartsOrder = [[2, 0], [1, 0], [1, 1], [0, 1], [0, 2], [0, 0]]

/** `far`: past the cache. */
const splitting = (suffix: string, store: (to: string, what: string) => string): string => `INLINE void split_${suffix}(f32v x, f32v y, __m512i halves, f32v *out) {
  UNROLL for (long part = 0; part < 3; part++) {
    /* Rounding may reach infinity, and not a number may round to 0: then what is left over is not a number, and neither is any sum. */
    const u32v a = (u32v)x + 0x8000u & 0xffff0000u, b = (u32v)y + 0x8000u & 0xffff0000u;
    ${store("out + 16 * part", "_mm512_permutex2var_epi16((__m512i)(part < 2 ? a : (u32v)x), halves, (__m512i)(part < 2 ? b : (u32v)y))")};
    x -= (f32v)a; y -= (f32v)b;
  }
}
/* 32 numbers, of which n exist */
INLINE void halves_${suffix}(const float *p, long n, f32v *out) {
  const f32v low = n >= 16 ? load_f32(p) : load_part_f32(p, n), high = n >= 32 ? load_f32(p + 16) : n > 16 ? load_part_f32(p + 16, n - 16) : set_f32(0);
  split_${suffix}(low, high, _mm512_set_epi16(${Array.from({ length: 32 }, (_, i) => 63 - 2 * i).join(", ")}), out);
}
/* 16 pairs (p[i], q[i]), of which n exist; zeros for q where there is none */
INLINE void pair_${suffix}(const float *p, const float *q, long n, int both, f32v *out) {
  const f32v x = n >= 16 ? load_f32(p) : load_part_f32(p, n), y = !both ? set_f32(0) : n >= 16 ? load_f32(q) : load_part_f32(q, n);
  split_${suffix}(x, y, _mm512_set_epi16(${Array.from({ length: 32 }, (_, i) => (i % 2 === 0 ? 63 : 32) - i).join(", ")}), out);
}
`

export const partsHelpers = `/* ---- numbers of f32 as three of bf16, x = x0 + x1 + x2 to the bit: each takes 8 of 24 bits to the nearest, what is left over is exact.
   \`halves\` of two vectors lie one after the other, or in pairs; parts 16 vectors apart. */
${splitting("parts", (to, what) => `*(${to}) = (f32v)${what}`)}/* past the cache */
${splitting("far", (to, what) => `_mm512_stream_si512((__m512i *)(${to}), ${what})`)}
${tileSums("multiply_parts", order)}/* Sums that came out infinite or not a number, as some factor is or as parts were too large: made again of whole numbers, as vectors do, in order of k. a(i, k) at a[i * a_row + k * a_col], b(k, j) at b[k * b_row + j * b_col]. */
static __attribute__((noinline, unused)) void mend(float *c, long rows, long cols, long depth, const float *a, long a_row, long a_col, const float *b, long b_row, long b_col) {
  for (long i = 0; i < rows; i++) for (long j = 0; j < cols; j += 16) {
    const __mmask16 wrong = _mm512_fpclass_ps_mask((__m512)load_some(c + i * cols, j, cols), 0x99);
    if (wrong == 0) continue;
    const long n = MIN(16, cols - j);
    f32v sum = set_f32(0);
    for (long k = 0; k < depth; k++) {
      f32v x = {0};
      for (long l = 0; l < n; l++) x[l] = b[k * b_row + (j + l) * b_col];
      sum = fma_f32(set_f32(a[i * a_row + k * a_col]), x, sum);
    }
    _mm512_mask_storeu_ps(c + i * cols + j, wrong, (__m512)sum);
  }
}
`
