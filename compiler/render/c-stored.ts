/** Reading numbers from narrower storage: `load_<type>_<dtype>(p, i)` takes those from place i on, `read_…` one of them. */
import type { CpuTarget } from "../schedule/cpu.ts"

/** 16 lanes in two halves of 32 bits, each with the same shifts; fewer lanes are one half or a part of it. */
function nibbles({ lanes }: CpuTarget): string {
  const shifts = Array.from({ length: lanes }, (_, l) => 4 * (l % 8)).join(", ")
  const word = lanes === 16 ? "word >> (l & 8) * 4" : "word"
  return `/* Numbers of 4 bits from place i on; the first of a byte is its low half. */
INLINE u32v nibbles_any(const uint8_t *p, long i) {
  uint64_t word = 0;
  memcpy(&word, p + (i >> 1), LANES / 2);
  if (i & 1) word = (word >> 4) | ((uint64_t)p[(i >> 1) + LANES / 2] << (4 * LANES - 4));
  u32v r;
  for (int l = 0; l < LANES; l++) r[l] = (uint32_t)(${word});
  return r >> (u32v){${shifts}};
}
/* From a whole byte on; bits above the lowest four are anything. */
#if defined(__AVX512VBMI__) && LANES == 16
INLINE u32v nibbles(const uint8_t *p) {
  int64_t word;
  memcpy(&word, p, 8);
  return (u32v)_mm512_multishift_epi64_epi8((__m512i)(u64v){${Array.from({ length: 8 }, (_, q) => `0x${((BigInt(8 * q + 4) << 32n) | BigInt(8 * q)).toString(16)}ull`).join(", ")}}, _mm512_set1_epi64(word));
}
#else
INLINE u32v nibbles(const uint8_t *p) { return nibbles_any(p, 0); }
#endif
/* The number of a table that each code names. */
#if defined(__AVX512F__) && LANES == 16
INLINE f32v look_up(u32v codes, f32v table) { return (f32v)_mm512_permutexvar_ps((__m512i)codes, (__m512)table); }
#endif
INLINE i32v load_u4_i32(const uint8_t *p, long i) { return (i32v)(nibbles_any(p, i) & 15u); }
INLINE i32v load_i4_i32(const uint8_t *p, long i) { return (i32v)(nibbles_any(p, i) << 28) >> 28; }`
}

/** Of some kinds of numbers the first n alone. */
function partLoads(kinds: readonly string[]): string {
  return kinds.map((kind) => {
    const dtype = kind.split("_")[1] ?? ""
    return `INLINE ${dtype}v load_part_${kind}(const uint8_t *p, long i, long n) { ${dtype}v r = {0}; for (long l = 0; l < n; l++) r[l] = read_${kind}(p, i + l); return r; }`
  }).join("\n")
}

export function storedLoads(target: CpuTarget): string {
  const whole = ["i8", "u8", "i4", "u4"]
  return `/* ---- numbers in narrower storage: p holds bytes, i counts numbers */
typedef int8_t i8v __attribute__((vector_size(LANES)));
typedef int8_t i8u __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef uint8_t u8u __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef uint64_t u64v __attribute__((vector_size(4 * LANES)));
typedef uint16_t u16v __attribute__((vector_size(2 * LANES)));
typedef uint16_t u16u __attribute__((vector_size(2 * LANES), aligned(1), may_alias));
/* Compilers take conversions of narrow vectors apart. */
#if defined(__AVX512F__) && LANES == 16
INLINE i32v load_i8_i32(const uint8_t *p, long i) { return (i32v)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(p + i))); }
INLINE i32v load_u8_i32(const uint8_t *p, long i) { return (i32v)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(p + i))); }
INLINE u32v load_u16(const uint8_t *p, long i) { return (u32v)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p + 2 * i))); }
#elif defined(__AVX2__) && LANES == 8
INLINE i32v load_i8_i32(const uint8_t *p, long i) { return (i32v)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + i))); }
INLINE i32v load_u8_i32(const uint8_t *p, long i) { return (i32v)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + i))); }
INLINE u32v load_u16(const uint8_t *p, long i) { return (u32v)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 2 * i))); }
#else
INLINE i32v load_i8_i32(const uint8_t *p, long i) { return __builtin_convertvector(*(const i8u *)(p + i), i32v); }
INLINE i32v load_u8_i32(const uint8_t *p, long i) { return __builtin_convertvector(*(const u8u *)(p + i), i32v); }
INLINE u32v load_u16(const uint8_t *p, long i) { return __builtin_convertvector(*(const u16u *)(p + 2 * i), u32v); }
#endif
${nibbles(target)}
/* f16: 15 bits moved up and multiplied by 2^112 are the number, but for what is not finite. */
INLINE f32v from_f16(u32v h) {
  const f32v scale = (f32v)set_i32(0x77800000);
  const f32v x = (f32v)((h & 0x7fffu) << 13) * scale;
  const u32v bits = (u32v)pick_f32((i32v)((h & 0x7c00u) == 0x7c00u), (f32v)(((h & 0x7fffu) << 13) + 0x70000000u), x);
  return (f32v)(bits | ((h & 0x8000u) << 16));
}
INLINE f32v load_bf16_f32(const uint8_t *p, long i) { return (f32v)(load_u16(p, i) << 16); }
/* Numbers that are of bf16 already lose nothing. */
INLINE void store_bf16_f32(uint8_t *p, long i, f32v x) { *(u16u *)(p + 2 * i) = __builtin_convertvector((u32v)x >> 16, u16v); }
INLINE void store_part_bf16_f32(uint8_t *p, long i, f32v x, long n) { const u32v bits = (u32v)x; for (long l = 0; l < n; l++) { const uint16_t h = (uint16_t)(bits[l] >> 16); memcpy(p + 2 * (i + l), &h, 2); } }
#if defined(__AVX512BF16__) && LANES == 16
INLINE void store_rounded_f32(uint8_t *p, long i, f32v x) { _mm256_storeu_si256((__m256i *)(p + 2 * i), (__m256i)_mm512_cvtneps_pbh((__m512)x)); }
INLINE void store_part_rounded_f32(uint8_t *p, long i, f32v x, long n) { _mm256_mask_storeu_epi16(p + 2 * i, (__mmask16)((1u << n) - 1), (__m256i)_mm512_cvtneps_pbh((__m512)x)); }
#else
INLINE void store_rounded_f32(uint8_t *p, long i, f32v x) { store_bf16_f32(p, i, narrow_bf16_f32(x)); }
INLINE void store_part_rounded_f32(uint8_t *p, long i, f32v x, long n) { store_part_bf16_f32(p, i, narrow_bf16_f32(x), n); }
#endif
#if defined(__F16C__) && LANES == 8
INLINE f32v load_f16_f32(const uint8_t *p, long i) { return (f32v)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))); }
#elif defined(__AVX512F__) && LANES == 16
INLINE f32v load_f16_f32(const uint8_t *p, long i) { return (f32v)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p + 2 * i))); }
#else
INLINE f32v load_f16_f32(const uint8_t *p, long i) { return from_f16(load_u16(p, i)); }
#endif
/* What is kept: rounded to nearest, ties to even, within the range of the format. */
#if defined(__F16C__) && LANES == 8
INLINE void store_kept_f16(uint8_t *p, long i, f32v x) { _mm_storeu_si128((__m128i *)(p + 2 * i), _mm256_cvtps_ph((__m256)within_f16(x), 0)); }
#elif defined(__AVX512F__) && LANES == 16
INLINE void store_kept_f16(uint8_t *p, long i, f32v x) { _mm256_storeu_si256((__m256i *)(p + 2 * i), _mm512_cvtps_ph((__m512)within_f16(x), 0)); }
#else
INLINE void store_kept_f16(uint8_t *p, long i, f32v x) {
  const u32v bits = (u32v)narrow_f16_f32(within_f16(x)), size = bits & 0x7fffffffu;
  const f32v small = pick_f32((i32v)(size < 0x38800000u), (f32v)size, set_f32(0)); /* whole multiples of 2^-24 */
  u32v h = (u32v)pick_i32((i32v)(size < 0x38800000u), __builtin_convertvector(small * 16777216.0f, i32v), (i32v)((size - 0x38000000u) >> 13));
  h = (u32v)pick_i32((i32v)(size >= 0x7f800000u), (i32v)(0x7c00u | ((size > 0x7f800000u) & 0x200u)), (i32v)h);
  *(u16u *)(p + 2 * i) = __builtin_convertvector(h | (bits >> 16 & 0x8000u), u16v);
}
#endif
INLINE void store_kept_bf16(uint8_t *p, long i, f32v x) { store_rounded_f32(p, i, x); }
${(["f16", "bf16"] as const).map((s) => `INLINE void store_part_kept_${s}(uint8_t *p, long i, f32v x, long n) { uint8_t all[2 * LANES]; store_kept_${s}(all, 0, x); memcpy(p + 2 * i, all, 2 * n); }`).join("\n")}
INLINE int32_t read_i8_i32(const uint8_t *p, long i) { return (int8_t)p[i]; }
INLINE int32_t read_u8_i32(const uint8_t *p, long i) { return p[i]; }
INLINE int32_t read_u4_i32(const uint8_t *p, long i) { return (p[i >> 1] >> (4 * (i & 1))) & 15; }
INLINE int32_t read_i4_i32(const uint8_t *p, long i) { return (int32_t)((uint32_t)(p[i >> 1] >> (4 * (i & 1))) << 28) >> 28; }
INLINE float read_bf16_f32(const uint8_t *p, long i) { union { uint32_t u; float f; } v = {(uint32_t)p[2 * i] << 16 | (uint32_t)p[2 * i + 1] << 24}; return v.f; }
#if defined(__F16C__)
INLINE float read_f16_f32(const uint8_t *p, long i) { return _cvtsh_ss((unsigned short)(p[2 * i] | p[2 * i + 1] << 8)); }
#else
INLINE float read_f16_f32(const uint8_t *p, long i) { return from_f16((u32v)set_i32(p[2 * i] | p[2 * i + 1] << 8))[0]; }
#endif
${whole.map((s) => `INLINE f32v load_${s}_f32(const uint8_t *p, long i) { return to_f32(load_${s}_i32(p, i)); }
INLINE float read_${s}_f32(const uint8_t *p, long i) { return (float)read_${s}_i32(p, i); }`).join("\n")}
/* The first n alone; other lanes are 0. */
#if defined(__AVX512BW__) && defined(__AVX512VL__) && LANES == 16
INLINE f32v load_part_f16_f32(const uint8_t *p, long i, long n) { return (f32v)_mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p + 2 * i)); }
INLINE f32v load_part_bf16_f32(const uint8_t *p, long i, long n) { return (f32v)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p + 2 * i)), 16); }
#else
${partLoads(["f16_f32", "bf16_f32"])}
#endif
${partLoads(whole.flatMap((s) => [`${s}_f32`, `${s}_i32`]))}
${(["f16", "bf16"] as const).map((s) => `/* Of n numbers from place i on, those from at on. */
INLINE f32v load_some_${s}(const uint8_t *p, long i, long at, long n) { return n - at >= LANES ? load_${s}_f32(p, i + at) : n > at ? load_part_${s}_f32(p, i + at, n - at) : set_f32(0); }`).join("\n")}
`
}
