/**
 * Products of few rows with weights that are whole numbers of 4 or 8 bits times a scale, as sums of whole numbers: each row of the first operand
 * becomes whole numbers of 24 bits (of 23 in groups of codes of 8 bits) under its largest, in three digits of 8 bits, and a dot product of bytes takes 64 bytes of codes at once.
 * Sums under one scale are exact; they meet it in f32.
 */
import type { Load } from "../kernel/code-table.ts"
import { codeOf, halfOf, isEven, tableOf, theCode } from "../kernel/code-table.ts"
import { plus, substitute, constant as place } from "../kernel/index.ts"
import type { Index } from "../kernel/index.ts"
import type { ContractKernel, RowsKernel } from "../kernel/ir.ts"
import { mostUnits } from "../schedule/cpu.ts"
import type { ContractPlan, CpuTarget } from "../schedule/cpu.ts"
import { cIndex, isUniform, laneFactor } from "./c-index.ts"
import type { Parameters } from "./c-exprs.ts"
import type { VectorNames } from "./c-vector.ts"

/** The weight is scale * ((pattern ^ flip) + zero), and pattern ^ flip is not negative. */
interface LinearCodes {
  readonly codes: Load
  readonly bits: 4 | 8
  readonly flip: number
  readonly zero: number
  /** One for each row, or the same for whole groups of 32 columns. */
  readonly scale: Load
  readonly by: "row" | "group"
}

/** Columns in 64 bytes of codes. */
const blockOf = ({ bits }: Pick<LinearCodes, "bits">): number => 512 / bits

/** So many columns of a row with one scale are added up as whole numbers of each digit: numbers of f32 hold such sums to the bit. */
const longest = 2 ** 14

/** Columns whose sums are whole numbers. */
const spanOf = (linear: LinearCodes): number => (linear.by === "row" ? longest : blockOf(linear))

/** Bytes of what the zero of the codes adds to the sums of a span: a vector for each digit. It lies before their digits. */
const zeroBytes = 3 * 64

/** Whether a kernel makes such weights, row by row; null: it makes others. */
function linearCodes({ stores: [store], cols }: RowsKernel): LinearCodes | null {
  const value = store?.value
  if (value?.is !== "binary" || value.op !== "mul" || value.dtype !== "f32") return null
  for (const [x, scale] of [[value.x, value.y], [value.y, value.x]] as const) {
    if (scale.is !== "load" || scale.dtype !== "f32" || scale.guards.length > 0) continue
    const by = isUniform(scale.index) ? "row" : cols % 32 === 0 && laneFactor(scale.index, 32) === 0 ? "group" : null
    const codes = theCode(x)
    const form = codes === null ? null : codeOf(codes.buffer)
    if (by === null || codes === null || form === null || x.dtype !== "f32" || laneFactor(codes.index, 128) !== 1 || (form.bits === 4 && !isEven(codes.index, 16))) continue
    const table = tableOf(x, codes)
    const [flip, most] = [form.signed ? 2 ** (form.bits - 1) : 0, form.bits === 8 ? 128 : 30]
    const zero = table[flip] ?? NaN
    if (Number.isInteger(zero) && table.every((entry, pattern) => entry === (pattern ^ flip) + zero && Math.abs(entry) <= most)) return { codes, bits: form.bits, flip, zero, scale, by }
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
  return [`  for (long i = 0; i < ${kernel.m}; i++) scratch[i] = ${digitsOf(linear)}((uint8_t *)(scratch + ${mostUnits}) + i * ${rowBytes(kernel, linear)}L, ${a} + ${offsetA} + i * ${kernel.a.rowStride}L, ${kernel.k}, ${linear.zero});`]
}

/** The function that makes them. */
const digitsOf = ({ bits, by }: Pick<LinearCodes, "bits" | "by">): string => `digits_${bits}_by_${by}`

function rowBytes({ k }: ContractKernel, linear: LinearCodes): number {
  return Math.ceil(k / blockOf(linear)) * 3 * blockOf(linear) + Math.ceil(k / spanOf(linear)) * zeroBytes
}

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

const indented = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`)

/** Statements over so many columns from `first` on, some at a time, then over what is left. */
function inParts(name: string, first: string, columns: number, step: number, lines: (count: number) => readonly string[]): string[] {
  const whole = columns - (columns % step)
  const to = first === "0" ? String(whole) : `${first} + ${whole}`
  return [
    ...(whole > 0 ? [`for (long ${name} = ${first}; ${name} < ${to}; ${name} += ${step}) {`, ...indented(lines(step)), "}"] : []),
    ...(whole < columns ? ["{", ...indented([`const long ${name} = ${to};`, ...lines(columns - whole)]), "}"] : []),
  ]
}

/** `count` rows of codes from r on, times row i of the first operand. */
function rowLines(kernel: ContractKernel, linear: LinearCodes, p: Parameters, count: number, i: number): string[] {
  const { n, k } = kernel
  const [block, span] = [blockOf(linear), spanOf(linear)]
  const each = (line: (q: number) => string): string => range(count).map(line).join(" ")
  const row = `digits + ${i * rowBytes(kernel, linear)}`
  const sums = range(count).map((q) => `s${q}`).join(", ")
  const lines = linear.by === "group"
    ? inParts("j", "0", k, block, (part) => [`const uint8_t *d = ${row} + j / ${block} * ${zeroBytes + 3 * block};`, ...groupLines(linear, p, each, count, part)])
    : inParts("span", "0", k, span, (part) => [`const uint8_t *zeros = ${row} + span / ${span} * ${zeroBytes + 3 * span}, *d = zeros + ${zeroBytes};`, ...spanLines(linear, p, each, count, part)])
  return [
    `f32v ${range(count).map((q) => `s${q} = {0}`).join(", ")};`,
    ...lines,
    count === 1 ? `out[${i * n} + r] = sum_f32(s0)[0] * unit[${i}];` : `store_part_f32(out + ${i * n} + r, sum_rows_${count}(${sums}) * unit[${i}], ${count});`,
  ]
}

type Each = (line: (q: number) => string) => string

/** The codes of up to a block of columns as bytes that are not negative, `c0_0` those of row 0 that are multiplied first. Those of the rows after them are on their way meanwhile. */
function codeLines(linear: LinearCodes, p: Parameters, each: Each, count: number, part: number): string[] {
  const { bits, flip } = linear
  const load = (q: number): string => `load_codes(${codesText(linear, p, q)}, ${Math.ceil(part * bits / 8)})`
  return [
    ...(count === 1 ? [] : [each((q) => `__builtin_prefetch(${codesText(linear, p, q + count)});`)]),
    bits === 8 ? each((q) => `const __m512i c${q}_0 = codes_of(${load(q)}, 255, ${flip});`) : each((q) => `const __m512i b${q} = ${load(q)}, c${q}_0 = codes_of(b${q}, 15, ${flip}), c${q}_1 = codes_of(_mm512_srli_epi16(b${q}, 4), 15, ${flip});`),
  ]
}

const dot = ({ bits }: LinearCodes, sum: string, q: number, half: number, at: string): string => `${sum} = dot_bytes_${bits}(${sum}, c${q}_${half}, _mm512_loadu_si512(${at}));`
const halves = ({ bits }: LinearCodes): readonly number[] => range(8 / bits)

/** Columns of several groups: digit by digit side by side, as each sum waits for the one before it. */
function groupLines(linear: LinearCodes, p: Parameters, each: Each, count: number, part: number): string[] {
  const block = blockOf(linear)
  const digit = (at: number): string[] => halves(linear).map((half) => each((q) => dot(linear, `t${q}`, q, half, `d + ${zeroBytes + at * block + 64 * half}`)))
  return [
    ...codeLines(linear, p, each, count, part),
    each((q) => `i32v t${q} = load_bytes(d);`), ...digit(2),
    each((q) => `t${q} = shifted_in(t${q}, load_bytes(d + 64));`), ...digit(1),
    each((q) => `t${q} = shifted_in(t${q}, load_bytes(d + 128));`), ...digit(0),
    each((q) => `s${q} = fma_f32(${scaleText(linear, p, q, part)}, to_f32(t${q}), s${q});`),
  ]
}

/** Columns of a row with one scale: a sum for each digit. */
function spanLines(linear: LinearCodes, p: Parameters, each: Each, count: number, columns: number): string[] {
  const block = blockOf(linear)
  const digits = range(3)
  return [
    ...digits.map((digit) => each((q) => `i32v t${q}_${digit} = load_bytes(zeros + ${64 * digit});`)),
    ...inParts("j", "span", columns, block, (part) => [
      ...range(count).flatMap((q) => [
        ...codeLines(linear, p, (line) => line(q), count, part),
        ...halves(linear).map((half) => digits.map((digit) => dot(linear, `t${q}_${digit}`, q, half, `d + ${digit * block + 64 * half}`)).join(" ")),
      ]),
      `d += ${3 * block};`,
    ]),
    each((q) => `s${q} = fma_f32(set_f32(${readScale(linear, p, q, 0)}), digits_f32(t${q}_2, t${q}_1, t${q}_0), s${q});`),
  ]
}

const text = (index: Index, rowsAfter: number): string => cIndex(index, { variables: {}, rowsAfter, value: () => { throw new Error("render: the place of a code depends on a value") } })

function codesText({ codes, bits }: LinearCodes, p: Parameters, q: number): string {
  return `${p.name(codes.buffer, false)} + ${text(bits === 8 ? codes.index : halfOf(codes.index), q)}`
}

/** The scale of a group of 32 columns, counted from j. */
function readScale({ scale }: LinearCodes, p: Parameters, q: number, group: number): string {
  const name = p.name(scale.buffer, false)
  const at = text(substitute(scale.index, (atom) => (atom.is === "var" && atom.name === "j" ? plus({ base: 0, terms: [{ times: 1, atom }] }, place(32 * group)) : null)), q)
  return scale.buffer.stored === null ? `${name}[${at}]` : `read_${scale.buffer.stored}_f32(${name}, ${at})`
}

/** As many lanes for each group of a block. */
function scaleText(linear: LinearCodes, p: Parameters, q: number, part: number): string {
  const { index, buffer } = linear.scale
  const groups = blockOf(linear) / 32
  const next = index.terms.some(({ times, atom }) => times === 1 && atom.is === "div" && atom.by === 32 && atom.of.terms.length === 1 && atom.of.terms[0]?.atom.is === "var")
  if (next && part === 32 * groups && (buffer.stored === null || buffer.stored === "f16")) return `scales_${groups}_${buffer.stored ?? "f32"}(${p.name(buffer, false)} + ${buffer.stored === null ? "" : "2 * ("}${text(index, q)}${buffer.stored === null ? "" : ")"})`
  return `scales_${groups}(${range(groups).map((group) => (32 * group < part ? readScale(linear, p, q, group) : "0.0f")).join(", ")})`
}

/** What these products call. */
export const codeHelpers = `/* ---- products with codes of 4 and 8 bits */
#if defined(__AVX512VNNI__)
INLINE i32v dot_bytes_4(i32v sums, __m512i codes, __m512i digits) { return (i32v)_mm512_dpbusd_epi32((__m512i)sums, codes, digits); }
INLINE i32v dot_bytes_8(i32v sums, __m512i codes, __m512i digits) { return dot_bytes_4(sums, codes, digits); }
#else
INLINE i32v dot_bytes_4(i32v sums, __m512i codes, __m512i digits) { return (i32v)((u32v)sums + (u32v)_mm512_madd_epi16(_mm512_maddubs_epi16(codes, digits), _mm512_set1_epi16(1))); }
/* Sums of two products need more than 16 bits. */
INLINE i32v dot_bytes_8(i32v sums, __m512i codes, __m512i digits) {
  const __m512i low = _mm512_and_si512(codes, _mm512_set1_epi8(15)), high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
  return (i32v)((u32v)dot_bytes_4(sums, low, digits) + (u32v)_mm512_madd_epi16(_mm512_maddubs_epi16(high, digits), _mm512_set1_epi16(16)));
}
#endif
INLINE i32v load_bytes(const uint8_t *p) { return (i32v)_mm512_loadu_si512(p); }
INLINE __m512i load_codes(const uint8_t *p, long bytes) { return bytes == 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(((__mmask64)1 << bytes) - 1, p); }
INLINE __m512i codes_of(__m512i x, int mask, int flip) { return mask == 255 ? _mm512_xor_si512(x, _mm512_set1_epi8((char)flip)) : _mm512_ternarylogic_epi32(x, _mm512_set1_epi8((char)mask), _mm512_set1_epi8((char)flip), 0x6a); } /* (x & mask) ^ flip */
/* x 2^8 + the highest byte of y */
INLINE i32v shifted_in(i32v x, i32v y) {
#if defined(__AVX512VBMI2__)
  return (i32v)_mm512_shldi_epi32((__m512i)x, (__m512i)y, 8);
#else
  return (i32v)((u32v)x << 8 | (u32v)y >> 24);
#endif
}
/* x 2^16 + y 2^8 + z of whole numbers of at most 2^24 */
INLINE f32v digits_f32(i32v x, i32v y, i32v z) { return fma_f32(to_f32(x), set_f32(65536), fma_f32(to_f32(y), set_f32(256), to_f32(z))); }
/* Scales of 2 or 4 groups, each in as many lanes. */
INLINE f32v spread_2(__m128 x) { return (f32v)_mm512_permutexvar_ps(_mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0), _mm512_castps128_ps512(x)); }
INLINE f32v spread_4(__m128 x) { return (f32v)_mm512_permutexvar_ps(_mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0), _mm512_castps128_ps512(x)); }
INLINE f32v scales_2_f32(const float *p) { return spread_2(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)p))); }
INLINE f32v scales_4_f32(const float *p) { return spread_4(_mm_loadu_ps(p)); }
INLINE f32v scales_2_f16(const uint8_t *p) { int32_t both; memcpy(&both, p, 4); return spread_2(_mm_cvtph_ps(_mm_cvtsi32_si128(both))); }
INLINE f32v scales_4_f16(const uint8_t *p) { return spread_4(_mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)p))); }
INLINE f32v scales_2(float a, float b) { return spread_2(_mm_set_ps(0, 0, b, a)); }
INLINE f32v scales_4(float a, float b, float c, float d) { return spread_4(_mm_set_ps(d, c, b, a)); }
/* Blocks of numbers for 64 bytes of codes as [digit][half][64], where codes of 4 bits lie as even and odd ones, and before every span of columns (0: every block) what the codes' zero adds; returns what a unit of them is worth. */
INLINE float make_digits(uint8_t *out, const float *x, long count, int bits, int zero, long span) {
  u32v most = {0};
  for (long j = 0; j < count; j += LANES) { const u32v size = (u32v)load_some(x, j, count) & 0x7fffffffu; most = (u32v)_mm512_max_epu32((__m512i)most, (__m512i)size); }
  /* The largest lies between 2^22 and 2^23, so near to it that it has three digits of -128 to 127; where sums within a block would not fit, at half of that and no 2^22 when it is rounded. */
  const int wide = bits == 4 || span > 0;
  const uint32_t top = _mm512_reduce_max_epu32((__m512i)most), exponent = MAX((top + (wide ? 0x10200u : 2u)) >> 23, 22u + wide);
  union { uint32_t u; float f; } times = {(275u + wide - exponent) << 23}, unit = {top >= 0x7f800000u ? 0x7fc00000u : (exponent - 21 - wide) << 23};
  const __m512i evens = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0), odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1)), half = _mm512_set1_epi32(128), ones = _mm512_set1_epi8(1);
  const long block = 512 / bits;
  for (long first = 0; first < count; first += MAX(span, block)) {
    uint8_t *zeros = out;
    i32v sums[3] = {{0}, {0}, {0}};
    out += ${zeroBytes};
    for (long from = first; from < MIN(count, first + MAX(span, block)); from += block, out += 3 * block) {
      for (long at = 0; at < block; at += 32) {
        const f32v a = load_some(x, from + at, count) * times.f, b = load_some(x, from + at + LANES, count) * times.f;
        UNROLL for (long odd = 0; odd < 2; odd++) {
          __m512i v = _mm512_cvtps_epi32(bits == 4 ? _mm512_permutex2var_ps((__m512)a, odd ? odds : evens, (__m512)b) : (__m512)(odd ? b : a));
          uint8_t *to = out + (bits == 4 ? 64 * odd + at / 2 : 16 * odd + at);
          UNROLL for (long digit = 0; digit < 3; digit++) {
            _mm_storeu_si128((__m128i *)(to + block * digit), _mm512_cvtepi32_epi8(v));
            v = _mm512_srai_epi32(_mm512_add_epi32(v, half), 8);
          }
        }
      }
      UNROLL for (long digit = 0; digit < 3; digit++) UNROLL for (long at = 0; at < block; at += 64) sums[digit] = dot_bytes_4(sums[digit], ones, _mm512_loadu_si512(out + block * digit + at));
    }
    const u32v low = (u32v)sums[0] * (uint32_t)zero, middle = (u32v)sums[1] * (uint32_t)zero, high = (u32v)sums[2] * (uint32_t)zero;
    /* In a block all but the low 16 bits of their sum, then those byte by byte. */
    const u32v sum = (high << 16) + (middle << 8) + low;
    store_i32((int32_t *)zeros, span > 0 ? (i32v)low : (i32v)sum >> 16);
    store_i32((int32_t *)zeros + LANES, span > 0 ? (i32v)middle : (i32v)(sum << 16));
    store_i32((int32_t *)zeros + 2 * LANES, span > 0 ? (i32v)high : (i32v)(sum << 24));
  }
  return unit.f;
}
${([4, 8] as const).flatMap((bits) => (["row", "group"] as const).map((by) => `static __attribute__((noinline, unused)) float ${digitsOf({ bits, by })}(uint8_t *out, const float *x, long count, int zero) { return make_digits(out, x, count, ${bits}, zero, ${by === "row" ? longest : 0}); }`)).join("\n")}
`
