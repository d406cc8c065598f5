/**
 * Products of few rows with weights that are whole numbers of 4 bits times a scale for each group, as sums of whole numbers: each row of the
 * first operand becomes whole numbers of 23 bits under its largest, in three digits of 8 bits, and a dot product of bytes takes 64 weights at
 * once. Sums within a group are exact; they meet their scale in f32.
 */
import type { Load } from "../kernel/code-table.ts"
import { halfOf, isEven, tableOf, theCode } from "../kernel/code-table.ts"
import { plus, substitute, constant as place } from "../kernel/index.ts"
import type { Index } from "../kernel/index.ts"
import type { ContractKernel, RowsKernel } from "../kernel/ir.ts"
import { digitBlock as block, digitFloats, mostUnits } from "../schedule/cpu.ts"
import type { ContractPlan, CpuTarget } from "../schedule/cpu.ts"
import { cIndex, laneFactor } from "./c-index.ts"
import type { Parameters } from "./c-exprs.ts"
import type { VectorNames } from "./c-vector.ts"

/** The weight is scale * ((pattern ^ flip) + zero). */
interface LinearCodes {
  readonly codes: Load
  readonly flip: 0 | 8
  readonly zero: number
  /** The same for whole groups of 32 columns. */
  readonly scale: Load
}

/** Bytes of a block of a row in digits: three for each number, and what the zero of the codes adds to each lane, in parts. */
const blockBytes = 4 * digitFloats

/** Whether a kernel makes such weights, row by row; null: it makes others. */
function linearCodes({ stores: [store], cols }: RowsKernel): LinearCodes | null {
  const value = store?.value
  if (value?.is !== "binary" || value.op !== "mul" || value.dtype !== "f32" || cols % 32 !== 0) return null
  for (const [x, scale] of [[value.x, value.y], [value.y, value.x]] as const) {
    if (scale.is !== "load" || scale.dtype !== "f32" || scale.guards.length > 0 || laneFactor(scale.index, 32) !== 0) continue
    const codes = theCode(x)
    if (codes === null || x.dtype !== "f32" || !isEven(codes.index, 16) || laneFactor(codes.index, block) !== 1) continue
    const table = tableOf(x, codes)
    for (const flip of [0, 8] as const) {
      const zero = table[flip] ?? NaN
      if (Number.isInteger(zero) && Math.abs(zero) <= 15 && table.every((entry, pattern) => entry === (pattern ^ flip) + zero)) return { codes, flip, zero, scale }
    }
  }
  return null
}

/** The codes of a product that is taken in this way on this processor. */
export function codesOf(kernel: ContractKernel, target: CpuTarget): LinearCodes | null {
  return target.family === "avx512" && kernel.factors === "f32" && kernel.prologue !== null && (kernel.a.colStride === 1 || kernel.k === 1) ? linearCodes(kernel.prologue) : null
}

const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i)

/** What each thread makes before its first share: the digits of all rows of the first operand, behind what a unit of each row is worth. */
export function renderDigits(kernel: ContractKernel, linear: LinearCodes, { a, offsetA }: Pick<VectorNames, "a" | "offsetA">): string[] {
  return [`  for (long i = 0; i < ${kernel.m}; i++) scratch[i] = make_digits((uint8_t *)(scratch + ${mostUnits}) + i * ${rowBytes(kernel)}L, ${a} + ${offsetA} + i * ${kernel.a.rowStride}L, ${kernel.k}, ${linear.zero});`]
}

const rowBytes = ({ k }: ContractKernel): number => Math.ceil(k / block) * blockBytes

/** Shares are blocks of columns: threads divide the rows of codes. */
export function renderCodes(kernel: ContractKernel, plan: ContractPlan, linear: LinearCodes, p: Parameters, { c }: VectorNames): string[] {
  const { m, n } = kernel
  const rows = (count: number): string[] => range(m).flatMap((i) => ["{", ...rowLines(kernel, linear, p, count, i).map((line) => `  ${line}`), "}"]).map((line) => `      ${line}`)
  return [
    `  const float *unit = scratch;`,
    `  const uint8_t *digits = (const uint8_t *)(scratch + ${mostUnits});`,
    `  float *out = ${c};`,
    `  const long from = first * ${plan.cols}, to = MIN(${n}, last * ${plan.cols});`,
    "  long r = from;",
    `  for (; r + 8 <= to; r += 8) {`, ...rows(8), "  }",
    "  for (; r < to; r++) {", ...rows(1), "  }",
  ]
}

/**
 * `count` rows of codes from r on, times row i of the first operand. They go digit by digit side by side, as each sum waits for the one before it,
 * and the codes of the rows after them are on their way meanwhile.
 */
function rowLines(kernel: ContractKernel, linear: LinearCodes, p: Parameters, count: number, i: number): string[] {
  const { n, k } = kernel
  const whole = k - (k % block)
  const each = (line: (q: number) => string): string => range(count).map(line).join(" ")
  const dot = (codes: string, at: number): string => each((q) => `t${q} = dot_bytes(t${q}, ${codes}${q}, _mm512_loadu_si512(d + ${at}));`)
  const body = (part: number | null): string[] => [
    `const uint8_t *d = digits + ${i * rowBytes(kernel)} + j / ${block} * ${blockBytes};`,
    ...(count === 1 ? [] : [each((q) => `__builtin_prefetch(${codesText(linear, p, q + count)});`)]),
    each((q) => `const __m512i c${q} = load_codes(${codesText(linear, p, q)}, ${part === null ? block / 2 : part / 2});`),
    each((q) => `const __m512i low${q} = codes_of(c${q}, ${linear.flip}), high${q} = codes_of(_mm512_srli_epi16(c${q}, 4), ${linear.flip});`),
    each((q) => `__m512i t${q} = _mm512_loadu_si512(d + ${3 * block});`), dot("low", 2 * block), dot("high", 2.5 * block),
    each((q) => `t${q} = shifted_in(t${q}, _mm512_loadu_si512(d + ${3.5 * block}));`), dot("low", block), dot("high", 1.5 * block),
    each((q) => `t${q} = shifted_in(t${q}, _mm512_loadu_si512(d + ${4 * block}));`), dot("low", 0), dot("high", 0.5 * block),
    each((q) => `s${q} = fma_f32(${scaleText(linear, p, q, part)}, (f32v)_mm512_cvtepi32_ps(t${q}), s${q});`),
  ]
  const sums = range(count).map((q) => `s${q}`).join(", ")
  return [
    `f32v ${range(count).map((q) => `s${q} = {0}`).join(", ")};`,
    ...(whole > 0 ? [`for (long j = 0; j < ${whole}; j += ${block}) {`, ...body(null).map((line) => `  ${line}`), "}"] : []),
    ...(whole < k ? ["{", `  const long j = ${whole};`, ...body(k - whole).map((line) => `  ${line}`), "}"] : []),
    count === 1 ? `out[${i * n} + r] = sum_f32(s0)[0] * unit[${i}];` : `store_part_f32(out + ${i * n} + r, sum_rows_${count}(${sums}) * unit[${i}], ${count});`,
  ]
}

const text = (index: Index, rowsAfter: number): string => cIndex(index, { variables: {}, rowsAfter, value: () => { throw new Error("render: the place of a code depends on a value") } })

function codesText({ codes }: LinearCodes, p: Parameters, q: number): string {
  return `${p.name(codes.buffer, false)} + ${text(halfOf(codes.index), q)}`
}

/** Four lanes for each group of 32 columns. */
function scaleText({ scale }: LinearCodes, p: Parameters, q: number, part: number | null): string {
  const name = p.name(scale.buffer, false)
  const at = (group: number): Index => substitute(scale.index, (atom) => (atom.is === "var" && atom.name === "j" ? plus({ base: 0, terms: [{ times: 1, atom }] }, place(32 * group)) : null))
  const read = (group: number): string => (scale.buffer.stored === null ? `${name}[${text(at(group), q)}]` : `read_${scale.buffer.stored}_f32(${name}, ${text(at(group), q)})`)
  const groups = range(part === null ? 4 : part / 32)
  const next = scale.index.terms.some(({ times, atom }) => times === 1 && atom.is === "div" && atom.by === 32 && atom.of.terms.length === 1 && atom.of.terms[0]?.atom.is === "var")
  if (next && part === null && (scale.buffer.stored === null || scale.buffer.stored === "f16")) return `group_scales_${scale.buffer.stored ?? "f32"}(${name} + ${scale.buffer.stored === null ? "" : "2 * ("}${text(scale.index, q)}${scale.buffer.stored === null ? "" : ")"})`
  return `four_scales(${range(4).map((group) => (groups.includes(group) ? read(group) : "0.0f")).join(", ")})`
}

/** What these products call. */
export const codeHelpers = `/* ---- products with codes of 4 bits */
INLINE __m512i dot_bytes(__m512i sums, __m512i codes, __m512i digits) {
#if defined(__AVX512VNNI__)
  return _mm512_dpbusd_epi32(sums, codes, digits);
#else
  return _mm512_add_epi32(sums, _mm512_madd_epi16(_mm512_maddubs_epi16(codes, digits), _mm512_set1_epi16(1)));
#endif
}
INLINE __m512i load_codes(const uint8_t *p, long bytes) { return bytes == 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(((__mmask64)1 << bytes) - 1, p); }
INLINE __m512i codes_of(__m512i x, int flip) { return _mm512_ternarylogic_epi32(x, _mm512_set1_epi8(15), _mm512_set1_epi8((char)flip), 0x6a); } /* (x & 15) ^ flip */
/* x 2^8 + the highest byte of y */
INLINE __m512i shifted_in(__m512i x, __m512i y) {
#if defined(__AVX512VBMI2__)
  return _mm512_shldi_epi32(x, y, 8);
#else
  return _mm512_or_si512(_mm512_slli_epi32(x, 8), _mm512_srli_epi32(y, 24));
#endif
}
INLINE f32v spread_scales(__m128 x) { return (f32v)_mm512_permutexvar_ps(_mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0), _mm512_broadcast_f32x4(x)); }
INLINE f32v group_scales_f32(const float *p) { return spread_scales(_mm_loadu_ps(p)); }
INLINE f32v group_scales_f16(const uint8_t *p) { return spread_scales(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)p))); }
INLINE f32v four_scales(float a, float b, float c, float d) { return spread_scales(_mm_set_ps(d, c, b, a)); }
/* Blocks of 128 numbers as [digit][even, odd][64] and what the codes' zero adds; returns what a unit of them is worth. */
static __attribute__((noinline, unused)) float make_digits(uint8_t *out, const float *x, long count, int zero) {
  u32v most = {0};
  for (long j = 0; j < count; j += LANES) { const u32v bits = (u32v)load_some(x, j, count) & 0x7fffffffu; most = (u32v)_mm512_max_epu32((__m512i)most, (__m512i)bits); }
  const uint32_t top = _mm512_reduce_max_epu32((__m512i)most), exponent = MAX(top >> 23, 22u);
  /* The largest lies between 2^21 and 2^22. */
  union { uint32_t u; float f; } times = {(275u - MIN(exponent, 254u)) << 23}, unit = {exponent >= 255 ? 0x7fc00000u : exponent > 21 ? (exponent - 21) << 23 : 0};
  const __m512i evens = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0), odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1)), half = _mm512_set1_epi32(128);
  for (long from = 0; from < count; from += 128, out += ${blockBytes}) {
    for (long q = 0; q < 4; q++) {
      const f32v a = load_some(x, from + 32 * q, count) * times.f, b = load_some(x, from + 32 * q + LANES, count) * times.f;
      for (long odd = 0; odd < 2; odd++) {
        __m512i v = _mm512_cvtps_epi32(_mm512_permutex2var_ps((__m512)a, odd ? odds : evens, (__m512)b));
        for (long digit = 0; digit < 3; digit++) {
          _mm_storeu_si128((__m128i *)(out + 128 * digit + 64 * odd + 16 * q), _mm512_cvtepi32_epi8(v));
          v = _mm512_srai_epi32(_mm512_add_epi32(v, half), 8);
        }
      }
    }
    /* What the zero adds to lane l, which has the columns 8 l to 8 l + 7: all but its low 16 bits, then those byte by byte. */
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i sums = _mm512_setzero_si512();
    for (long at = 256; at >= 0; at -= 128) sums = dot_bytes(dot_bytes(_mm512_slli_epi32(sums, 8), ones, _mm512_loadu_si512(out + at)), ones, _mm512_loadu_si512(out + at + 64));
    sums = _mm512_mullo_epi32(sums, _mm512_set1_epi32(zero));
    _mm512_storeu_si512(out + 384, _mm512_srai_epi32(sums, 16));
    _mm512_storeu_si512(out + 448, _mm512_slli_epi32(sums, 16));
    _mm512_storeu_si512(out + 512, _mm512_slli_epi32(sums, 24));
  }
  return unit.f;
}
`
