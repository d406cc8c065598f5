/** The head of every C program: vectors, loads and stores, and elementary functions. GCC and Clang vector extensions; no libm. */
import type { CpuTarget } from "../schedule/cpu.ts"

/** What every program reads of its system: a compiler may have it translated already. */
export const systemHeaders = `#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
`

export function prelude({ lanes, family }: CpuTarget): string {
  return `${systemHeaders}
/* ---- vectors of ${lanes} numbers (${family}); a condition is -1 or 0 in each lane */
#define LANES ${lanes}
typedef float f32v __attribute__((vector_size(4 * LANES)));
typedef int32_t i32v __attribute__((vector_size(4 * LANES)));
typedef uint32_t u32v __attribute__((vector_size(4 * LANES)));
typedef uint8_t boolv __attribute__((vector_size(LANES)));
typedef float f32u __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t i32u __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t boolu __attribute__((vector_size(LANES), aligned(1), may_alias));
#define INLINE static inline __attribute__((always_inline, unused))
/* Before a loop over an array of vectors, so that they stay in registers. */
#define UNROLL _Pragma("GCC unroll 16")
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

INLINE f32v set_f32(float x) { return x - (f32v){0}; }
INLINE i32v set_i32(int32_t x) { return x - (i32v){0}; }
INLINE i32v set_bool(int x) { return set_i32(-(x != 0)); }
INLINE i32v lane_numbers(void) { return (i32v){${Array.from({ length: lanes }, (_, lane) => lane).join(", ")}}; }
INLINE f32v load_f32(const float *p) { return *(const f32u *)p; }
INLINE i32v load_i32(const int32_t *p) { return *(const i32u *)p; }
INLINE i32v load_bool(const uint8_t *p) { return __builtin_convertvector(*(const boolu *)p, i32v) != 0; }
INLINE void store_f32(float *p, f32v x) { *(f32u *)p = x; }
INLINE void store_i32(int32_t *p, i32v x) { *(i32u *)p = x; }
INLINE void store_bool(uint8_t *p, i32v x) { *(boolu *)p = __builtin_convertvector(x & 1, boolv); }
/* The first n numbers alone; other lanes are 0. */
#if defined(__AVX512F__) && LANES == 16
INLINE f32v load_part_f32(const float *p, long n) { return (f32v)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE i32v load_part_i32(const int32_t *p, long n) { return (i32v)_mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1), p); }
INLINE void store_part_f32(float *p, f32v x, long n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x); }
INLINE void store_part_i32(int32_t *p, i32v x, long n) { _mm512_mask_storeu_epi32(p, (__mmask16)((1u << n) - 1), (__m512i)x); }
#else
INLINE f32v load_part_f32(const float *p, long n) { f32v r = {0}; for (long l = 0; l < n; l++) r[l] = p[l]; return r; }
INLINE i32v load_part_i32(const int32_t *p, long n) { i32v r = {0}; for (long l = 0; l < n; l++) r[l] = p[l]; return r; }
INLINE void store_part_f32(float *p, f32v x, long n) { for (long l = 0; l < n; l++) p[l] = x[l]; }
INLINE void store_part_i32(int32_t *p, i32v x, long n) { for (long l = 0; l < n; l++) p[l] = x[l]; }
#endif
/* Numbers of a vector that lie in a few stretches: lane l at p[at + l]; lanes of none are 0. */
typedef struct { uint32_t lanes; int32_t at; } lane_run;
#if defined(__AVX512F__) && LANES == 16
INLINE f32v load_runs_f32(const float *p, const lane_run *runs, int n) { __m512 x = _mm512_setzero_ps(); UNROLL for (int i = 0; i < n; i++) x = _mm512_mask_loadu_ps(x, (__mmask16)runs[i].lanes, p + runs[i].at); return (f32v)x; }
INLINE i32v load_runs_i32(const int32_t *p, const lane_run *runs, int n) { __m512i x = _mm512_setzero_si512(); UNROLL for (int i = 0; i < n; i++) x = _mm512_mask_loadu_epi32(x, (__mmask16)runs[i].lanes, p + runs[i].at); return (i32v)x; }
#else
INLINE f32v load_runs_f32(const float *p, const lane_run *runs, int n) { f32v r = {0}; for (int i = 0; i < n; i++) for (long l = 0; l < LANES; l++) if (runs[i].lanes >> l & 1) r[l] = p[runs[i].at + l]; return r; }
INLINE i32v load_runs_i32(const int32_t *p, const lane_run *runs, int n) { i32v r = {0}; for (int i = 0; i < n; i++) for (long l = 0; l < LANES; l++) if (runs[i].lanes >> l & 1) r[l] = p[runs[i].at + l]; return r; }
#endif
INLINE i32v load_part_bool(const uint8_t *p, long n) { i32v r = {0}; for (long l = 0; l < n; l++) r[l] = -(p[l] != 0); return r; }
INLINE void store_part_bool(uint8_t *p, i32v x, long n) { for (long l = 0; l < n; l++) p[l] = x[l] & 1; }
INLINE f32v pick_f32(i32v c, f32v a, f32v b) { return (f32v)((c & (i32v)a) | (~c & (i32v)b)); }
INLINE i32v pick_i32(i32v c, i32v a, i32v b) { return (c & a) | (~c & b); }
INLINE i32v pick_bool(i32v c, i32v a, i32v b) { return (c & a) | (~c & b); }
#if defined(__AVX512F__) && LANES == 16
INLINE f32v fma_f32(f32v a, f32v b, f32v c) { return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE f32v sqrt_f32(f32v x) { return (f32v)_mm512_sqrt_ps((__m512)x); }
#elif defined(__FMA__) && LANES == 8
INLINE f32v fma_f32(f32v a, f32v b, f32v c) { return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE f32v sqrt_f32(f32v x) { return (f32v)_mm256_sqrt_ps((__m256)x); }
#elif defined(__aarch64__)
INLINE f32v fma_f32(f32v a, f32v b, f32v c) { for (int l = 0; l < LANES; l++) c[l] = __builtin_fmaf(a[l], b[l], c[l]); return c; }
INLINE f32v sqrt_f32(f32v x) { for (int l = 0; l < LANES; l++) x[l] = __builtin_sqrtf(x[l]); return x; }
#else
INLINE f32v fma_f32(f32v a, f32v b, f32v c) { return a * b + c; }
INLINE f32v sqrt_f32(f32v x) { for (int l = 0; l < LANES; l++) x[l] = __builtin_sqrtf(x[l]); return x; }
#endif
/* x / y for a y of which there are many x: division takes as long as a dozen multiplications. What y's inverse, rounded, makes of x is put right by
   what that is too much; where that may overflow or vanish, the inverse is no number. */
#if defined(__AVX512F__) && LANES == 16
INLINE f32v inverse_f32(f32v y) {
  const f32v size = (f32v)((i32v)y & 0x7fffffff);
  return pick_f32((size > 1e-30f) & (size < 1e30f), 1.0f / y, (f32v)set_i32(0x7fc00000));
}
INLINE f32v over_f32(f32v x, f32v y, f32v inverse) {
  if (__builtin_expect(inverse[0] != inverse[0], 0)) return x / y;
  const f32v q = x * inverse, over = fma_f32(y, q, -x);
  return (f32v)_mm512_mask3_fnmadd_ps((__m512)over, (__m512)inverse, (__m512)q, _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)q), _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ));
}
#else
INLINE f32v inverse_f32(f32v y) { return y; }
INLINE f32v over_f32(f32v x, f32v y, f32v inverse) { (void)inverse; return x / y; }
#endif
/* Not a number if either is not. */
INLINE f32v max_f32(f32v a, f32v b) { return pick_f32((a > b) | (a != a), a, b); }
INLINE f32v min_f32(f32v a, f32v b) { return pick_f32((a < b) | (a != a), a, b); }
INLINE i32v max_i32(i32v a, i32v b) { return pick_i32(a > b, a, b); }
INLINE i32v min_i32(i32v a, i32v b) { return pick_i32(a < b, a, b); }
${across(lanes)}INLINE f32v first_f32(f32v x, f32v other, long n) { return pick_f32(lane_numbers() < set_i32((int32_t)n), x, other); }
INLINE i32v first_i32(i32v x, i32v other, long n) { return pick_i32(lane_numbers() < set_i32((int32_t)n), x, other); }
${math}`
}

/** Lanes are combined by halves, each with the one half the vector away, so that all end with the same number. */
function across(lanes: number): string {
  const order = (of: (lane: number) => number): string => Array.from({ length: lanes }, (_, lane) => of(lane)).join(", ")
  const turned = (half: number): string => `__builtin_shufflevector(x, x, ${order((lane) => lane ^ half)})`
  const define = (name: string, type: string, combined: (y: string) => string, last: string): string => {
    const halves = Array.from({ length: Math.log2(lanes) }, (_, i) => lanes / 2 ** (i + 1))
    return `INLINE ${type} ${name}(${type} x) { ${halves.map((half) => `x = ${combined(turned(half))};`).join(" ")} return ${last}; }\n`
  }
  // Of two zeros or two NaN the first lane's is the one.
  const first = `__builtin_shufflevector(x, x, ${order(() => 0)})`
  return `/* Lanes are combined by halves: the order depends on LANES alone. */
${define("sum_f32", "f32v", (y) => `x + ${y}`, "x")}${define("top_f32", "f32v", (y) => `max_f32(x, ${y})`, first)}${define("sum_i32", "i32v", (y) => `x + ${y}`, "x")}${define("top_i32", "i32v", (y) => `max_i32(x, ${y})`, "x")}`
}

const math = `
/* ---- elementary functions */
INLINE f32v abs_f32(f32v x) { return (f32v)((i32v)x & 0x7fffffff); }
INLINE i32v abs_i32(i32v x) { return pick_i32(x < 0, -x, x); }
INLINE f32v sign_f32(f32v x) { return (f32v)((x > 0) & (i32v)set_f32(1)) - (f32v)((x < 0) & (i32v)set_f32(1)); }
INLINE i32v sign_i32(i32v x) { return (x < 0) - (x > 0); }
INLINE f32v rsqrt_f32(f32v x) { return 1.0f / sqrt_f32(x); }
INLINE f32v to_f32(i32v x) { return __builtin_convertvector(x, f32v); }
/* Below 2^23 a number may have a fraction; from there on it is whole. */
INLINE f32v floor_f32(f32v x) {
  f32v t = to_f32(__builtin_convertvector(pick_f32(abs_f32(x) < 8388608.0f, x, set_f32(0)), i32v));
  t -= (f32v)((t > x) & (i32v)set_f32(1));
  return pick_f32(abs_f32(x) < 8388608.0f, t, x);
}
INLINE f32v round_f32(f32v x) {
  f32v big = (f32v)(((i32v)x & (int32_t)0x80000000) | (i32v)set_f32(8388608.0f));
  return pick_f32(abs_f32(x) < 8388608.0f, (x + big) - big, x);
}
/* Towards zero; not a number is 0, beyond the ends are the ends. */
INLINE i32v trunc_i32(f32v x) {
  i32v r = __builtin_convertvector(pick_f32(abs_f32(x) < 2147483648.0f, x, set_f32(0)), i32v);
  r = pick_i32(x >= 2147483648.0f, set_i32(2147483647), r);
  return pick_i32(x <= -2147483648.0f, set_i32(-2147483647 - 1), r);
}
INLINE f32v power_of_two(i32v n) { return (f32v)((n + 127) << 23); }
/* A number that is none stays none. */
#if defined(__AVX512F__) && LANES == 16
INLINE f32v at_least(f32v x, float least) { return (f32v)_mm512_max_ps((__m512)set_f32(least), (__m512)x); }
INLINE f32v at_most(f32v x, float most) { return (f32v)_mm512_min_ps((__m512)set_f32(most), (__m512)x); }
INLINE f32v nearest(f32v x) { return (f32v)_mm512_roundscale_ps((__m512)x, 8); }
INLINE f32v scaled(f32v x, f32v n) { return (f32v)_mm512_scalef_ps((__m512)x, (__m512)n); }
#else
INLINE f32v at_least(f32v x, float least) { return pick_f32(x < least, set_f32(least), x); }
INLINE f32v at_most(f32v x, float most) { return pick_f32(x > most, set_f32(most), x); }
INLINE f32v nearest(f32v x) { return round_f32(pick_f32(x != x, set_f32(0), x)); }
/* x 2^n: in two steps, as 2^n alone may be out of range. */
INLINE f32v scaled(f32v x, f32v n) { const i32v whole = __builtin_convertvector(n, i32v), half = whole >> 1; return x * power_of_two(half) * power_of_two(whole - half); }
#endif
/* e^x = 2^n e^r with |r| <= ln 2 / 2; the polynomial is Cephes' (Moshier). */
INLINE f32v exp_f32(f32v given) {
  f32v x = at_most(at_least(given, -104.0f), 89.0f), n = nearest(x * 1.44269504088896341f);
  f32v r = fma_f32(n, set_f32(-0.693359375f), x);
  r = fma_f32(n, set_f32(2.12194440e-4f), r);
  f32v p = set_f32(1.9875691500e-4f);
  p = fma_f32(p, r, set_f32(1.3981999507e-3f));
  p = fma_f32(p, r, set_f32(8.3334519073e-3f));
  p = fma_f32(p, r, set_f32(4.1665795894e-2f));
  p = fma_f32(p, r, set_f32(1.6666665459e-1f));
  p = fma_f32(p, r, set_f32(5.0000001201e-1f));
  p = fma_f32(p, r * r, r) + 1.0f;
  return scaled(p, n);
}
/* x = 2^e m with m near 1; the polynomial is Cephes'. */
INLINE f32v log_f32(f32v x) {
  i32v bits = (i32v)x;
  i32v e = ((bits >> 23) & 255) - 126;
  f32v m = (f32v)((bits & 0x007fffff) | 0x3f000000);
  i32v low = m < 0.70710678118654752f;
  e += low;
  m = m + (f32v)(low & (i32v)m) - 1.0f;
  f32v z = m * m, p = set_f32(7.0376836292e-2f);
  p = fma_f32(p, m, set_f32(-1.1514610310e-1f));
  p = fma_f32(p, m, set_f32(1.1676998740e-1f));
  p = fma_f32(p, m, set_f32(-1.2420140846e-1f));
  p = fma_f32(p, m, set_f32(1.4249322787e-1f));
  p = fma_f32(p, m, set_f32(-1.6668057665e-1f));
  p = fma_f32(p, m, set_f32(2.0000714765e-1f));
  p = fma_f32(p, m, set_f32(-2.4999993993e-1f));
  p = fma_f32(p, m, set_f32(3.3333331174e-1f));
  f32v ef = to_f32(e), y = m * z * p;
  y = fma_f32(ef, set_f32(-2.12194440e-4f), y);
  y = fma_f32(z, set_f32(-0.5f), y);
  f32v r = fma_f32(ef, set_f32(0.693359375f), m + y);
  r = pick_f32(x == (f32v)set_i32(0x7f800000), x, r);
  r = pick_f32(x == 0.0f, (f32v)set_i32((int32_t)0xff800000), r);
  return pick_f32((x < 0.0f) | (x != x), (f32v)set_i32(0x7fc00000), r);
}
/* A quotient of polynomials, as in XLA and Eigen. */
INLINE f32v tanh_f32(f32v given) {
  f32v x = at_least(at_most(given, 7.90531110763549805f), -7.90531110763549805f);
  f32v z = x * x, p = set_f32(-2.76076847742355e-16f);
  p = fma_f32(p, z, set_f32(2.00018790482477e-13f));
  p = fma_f32(p, z, set_f32(-8.60467152213735e-11f));
  p = fma_f32(p, z, set_f32(5.12229709037114e-08f));
  p = fma_f32(p, z, set_f32(1.48572235717979e-05f));
  p = fma_f32(p, z, set_f32(6.37261928875436e-04f));
  p = fma_f32(p, z, set_f32(4.89352455891786e-03f));
  f32v q = set_f32(1.19825839466702e-06f);
  q = fma_f32(q, z, set_f32(1.18534705686654e-04f));
  q = fma_f32(q, z, set_f32(2.26843463243900e-03f));
  q = fma_f32(q, z, set_f32(4.89352518554385e-03f));
  return pick_f32(abs_f32(x) < 0.0004f, x, x * p / q);
}
INLINE f32v erf_f32(f32v given) {
  f32v x = at_least(at_most(given, 4.0f), -4.0f);
  f32v z = x * x, p = set_f32(-2.72614225801306e-10f);
  p = fma_f32(p, z, set_f32(2.77068142495902e-08f));
  p = fma_f32(p, z, set_f32(-2.10102402082508e-06f));
  p = fma_f32(p, z, set_f32(-5.69250639462346e-05f));
  p = fma_f32(p, z, set_f32(-7.34990630326855e-04f));
  p = fma_f32(p, z, set_f32(-2.95459980854025e-03f));
  p = fma_f32(p, z, set_f32(-1.60960333262415e-02f));
  f32v q = set_f32(-1.45660718464996e-05f);
  q = fma_f32(q, z, set_f32(-2.13374055278905e-04f));
  q = fma_f32(q, z, set_f32(-1.68282697438203e-03f));
  q = fma_f32(q, z, set_f32(-7.37332916720468e-03f));
  q = fma_f32(q, z, set_f32(-1.42647390514189e-02f));
  return x * p / q;
}
INLINE f32v sigmoid_f32(f32v x) { f32v e = exp_f32(-abs_f32(x)); return pick_f32(x < 0.0f, e, set_f32(1)) / (1.0f + e); }
/* Quadrants of pi / 2 taken off in three parts (Cody, Waite), then Cephes' polynomials. */
INLINE f32v sine_from(f32v x, int quarter) {
  f32v n = round_f32(x * 0.636619772367581343f);
  f32v r = fma_f32(n, set_f32(-1.5703125f), x);
  r = fma_f32(n, set_f32(-4.837512969970703125e-4f), r);
  r = fma_f32(n, set_f32(-7.54978995489188216e-8f), r);
  i32v quadrant = trunc_i32(n) + quarter;
  f32v z = r * r, s = set_f32(-1.9515295891e-4f), c = set_f32(2.443315711809948e-5f);
  s = fma_f32(s, z, set_f32(8.3321608736e-3f));
  s = fma_f32(s, z, set_f32(-1.6666654611e-1f));
  s = fma_f32(s * z, r, r);
  c = fma_f32(c, z, set_f32(-1.388731625493765e-3f));
  c = fma_f32(c, z, set_f32(4.166664568298827e-2f));
  c = fma_f32(c, z * z, fma_f32(z, set_f32(-0.5f), set_f32(1)));
  f32v y = pick_f32((quadrant & 1) != 0, c, s);
  return pick_f32((quadrant & 2) != 0, -y, y);
}
INLINE f32v sin_f32(f32v x) { return sine_from(x, 0); }
INLINE f32v cos_f32(f32v x) { return sine_from(x, 1); }
/* x^y one by one in double precision: e^(y log x) with the sign of odd powers. */
static double exact_log(double x) {
  union { double d; uint64_t u; } v = {x};
  int e = (int)((v.u >> 52) & 2047) - 1022;
  v.u = (v.u & 0x000fffffffffffffull) | 0x3fe0000000000000ull;
  if (v.d < 0.70710678118654752440) { v.d *= 2; e--; }
  double s = (v.d - 1) / (v.d + 1), z = s * s, sum = 0;
  for (int k = 27; k >= 1; k -= 2) sum = sum * z + 1.0 / k;
  return 2 * s * sum + e * 0.69314718055994530942;
}
static double exact_exp(double x) {
  if (x > 709) return 1e308 * 10;
  if (x < -745) return 0;
  double n = (double)(long)(x * 1.4426950408889634074 + (x < 0 ? -0.5 : 0.5)), r = x - n * 0.69314718055994530942, sum = 1;
  for (int k = 18; k >= 1; k--) sum = 1 + sum * r / k;
  union { uint64_t u; double d; } v;
  for (; n < -1000; n += 500) sum *= 3.054936363499605e-151;
  v.u = (uint64_t)((long)n + 1023) << 52;
  return sum * v.d;
}
static float pow_one(float x, float y) {
  if (y == 0) return 1;
  if (x != x || y != y) return x + y;
  double a = x < 0 ? -(double)x : (double)x;
  int whole = y == (float)(long)y || (y < 0 ? -y : y) >= 16777216.0f, odd = whole && (y < 0 ? -y : y) < 16777216.0f && ((long)y & 1);
  if (x < 0 && !whole) return (x - x) / (x - x);
  double r = a == 0 ? (y > 0 ? 0 : 1e308 * 10) : a == 1 ? 1 : a > 3.5e38 ? (y > 0 ? a : 0) : exact_exp((double)y * exact_log(a));
  return (float)(x < 0 && odd ? -r : r);
}
INLINE f32v pow_f32(f32v x, f32v y) { f32v r; for (int l = 0; l < LANES; l++) r[l] = pow_one(x[l], y[l]); return r; }
INLINE f32v mod_f32(f32v x, f32v y) { return x - floor_f32(x / y) * y; }
/* Rounded down; by zero 0. */
INLINE i32v div_i32(i32v x, i32v y) { i32v r; for (int l = 0; l < LANES; l++) { int64_t a = x[l], b = y[l]; r[l] = b == 0 ? 0 : (int32_t)(a / b - ((a % b != 0) && ((a < 0) != (b < 0)))); } return r; }
INLINE i32v mod_i32(i32v x, i32v y) { i32v r; for (int l = 0; l < LANES; l++) { int64_t a = x[l], b = y[l], m = b == 0 ? 0 : a % b; r[l] = (int32_t)(m != 0 && (m < 0) != (b < 0) ? m + b : m); } return r; }
/* To the nearest number of the format, ties to even, kept as f32. */
INLINE f32v narrow_bf16_f32(f32v x) {
  u32v u = (u32v)x;
  u32v r = (u + 0x7fffu + ((u >> 16) & 1)) & 0xffff0000u;
  return pick_f32(x != x, (f32v)(u | 0x400000u), (f32v)r);
}
INLINE f32v narrow_f16_f32(f32v x) {
  i32v e = (i32v)(((u32v)x >> 23) & 255) - 127;
  e = pick_i32(e < -14, set_i32(-14), e);
  /* Adding 1.5 * 2^(e + 13) leaves ten bits of fraction. */
  f32v big = (f32v)((e + 13 + 127) << 23) * 1.5f;
  f32v r = (x + big) - big;
  r = pick_f32(abs_f32(r) >= 65536.0f, (f32v)(((i32v)x & (int32_t)0x80000000) | 0x7f800000), r);
  return pick_f32(abs_f32(x) < (f32v)set_i32(0x7f800000), r, x);
}
/* What only an infinity of f16 is nearer to is its largest number; infinities and NaN stay what they are. */
INLINE f32v within_f16(f32v x) {
  const f32v size = abs_f32(x);
  return pick_f32((size > 65504.0f) & (size <= 3.4028234663852886e38f), (f32v)((i32v)set_f32(65504) | ((i32v)x & (int32_t)0x80000000)), x);
}
/* Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw 2011). */
INLINE void threefry(u32v k0, u32v k1, u32v c0, u32v c1, u32v *x0, u32v *x1) {
  static const int turns[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  u32v keys[3] = {k0, k1, k0 ^ k1 ^ 0x1bd11bdau};
  u32v a = c0 + k0, b = c1 + k1;
  for (uint32_t group = 0; group < 5; group++) {
    for (int i = 0; i < 4; i++) { const int r = turns[(group & 1) * 4 + i]; a += b; b = ((b << r) | (b >> (32 - r))) ^ a; }
    a += keys[(group + 1) % 3];
    b += keys[(group + 2) % 3] + (group + 1);
  }
  *x0 = a; *x1 = b;
}
/* Uniform in [0, 1) with 24 bits, a function of its arguments alone. */
INLINE f32v random_f32(i32v seed, uint32_t stream, i32v step, i32v row, i32v element) {
  u32v k0, k1, a, b, zero = {0};
  threefry((u32v)seed, zero + stream, (u32v)step, (u32v)row, &k0, &k1);
  threefry(k0, k1, (u32v)element >> 1, zero, &a, &b);
  u32v bits = (u32v)pick_i32((element & 1) != 0, (i32v)b, (i32v)a);
  return __builtin_convertvector((i32v)(bits >> 8), f32v) * 5.9604644775390625e-8f;
}
`
