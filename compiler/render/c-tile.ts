/** The innermost loops of products: a block of c in registers, one column of a and one row of packed b at a time. */
import type { KeptFormat } from "../graph/node.ts"
import type { CpuTarget, Tile } from "../schedule/cpu.ts"

/** `row`: a(i, k) at a[i * lda + k]; `col`: a(i, k) at a[k * lda + i]; `lines`: so, and rows of b lie ldb apart. */
export type Storage = "row" | "col" | "lines"

export function tileName(tile: Tile, storage: Storage): string {
  return `tile_${tile.rows}x${tile.vectors}_${storage}`
}

/**
 * c[rows][vectors * LANES] = (add ? c : 0) + sum over k of a(i, k) * b[k][..]; only the first n columns of c exist.
 * The sum runs in order of k, with one rounding per step.
 */
export function renderTile(tile: Tile, storage: Storage): string {
  const rows = Array.from({ length: tile.rows }, (_, i) => i)
  const vectors = Array.from({ length: tile.vectors }, (_, v) => v)
  const each = (line: (i: number, v: number) => string): string => rows.map((i) => `    ${vectors.map((v) => line(i, v)).join(" ")}`).join("\n")
  const a = (i: number): string => (storage === "row" ? `a[${i === 0 ? "" : `${i} * lda + `}k]` : `a[k * lda + ${i}]`)
  const width = `${tile.vectors} * LANES`
  const [step, stride] = storage === "lines" ? ["ldb", "long ldb, "] : [width, ""]
  // What lies far apart the processor does not foresee.
  const ahead = storage === "lines" ? `    ${vectors.map((v) => `__builtin_prefetch(b + 16 * ldb + ${v} * LANES);`).join(" ")}\n` : ""
  return `/* c[${tile.rows}][${width}] (+)= a[${tile.rows}][count] * b[count][${width}]; a is stored by ${storage === "row" ? "rows" : "cols"}${storage === "lines" ? ", rows of b lie ldb apart" : ""} */
static __attribute__((noinline, unused)) void ${tileName(tile, storage)}(long count, const float *a, long lda, const float *b, ${stride}float *c, long ldc, long n, int add) {
  f32v ${rows.map((i) => vectors.map((v) => `c${i}_${v}`).join(", ")).join(",\n    ")};
  if (!add) {
${each((i, v) => `c${i}_${v} = set_f32(0);`)}
  } else if (n >= ${width}) {
${each((i, v) => `c${i}_${v} = load_f32(c + ${i} * ldc + ${v} * LANES);`)}
  } else {
${each((i, v) => `c${i}_${v} = load_some(c + ${i} * ldc, ${v} * LANES, n);`)}
  }
  for (long k = 0; k < count; k++, b += ${step}) {
${ahead}    const f32v ${vectors.map((v) => `b${v} = load_f32(b + ${v} * LANES)`).join(", ")};
    f32v x;
${rows.map((i) => `    x = set_f32(${a(i)}); ${vectors.map((v) => `c${i}_${v} = fma_f32(x, b${v}, c${i}_${v});`).join(" ")}`).join("\n")}
  }
  if (n >= ${width}) {
${each((i, v) => `store_f32(c + ${i} * ldc + ${v} * LANES, c${i}_${v});`)}
  } else {
${each((i, v) => `store_some(c + ${i} * ldc, ${v} * LANES, c${i}_${v}, n);`)}
  }
}
`
}

/** How numbers are read from place `at` on: a vector of which those before n exist, a whole one, one number. */
interface Reads { readonly some: (at: string) => string; readonly vector: (at: string) => string; readonly one: (at: string) => string }

function packLines(suffix: string, type: string, { some, vector, one }: Reads): string {
  return `/* b(k, column) at b[k * ldb + column] */
static __attribute__((noinline, unused)) void pack_rows${suffix}(float *out, const ${type} *b, long ldb, long count, long columns, long width) {
  for (long from = 0; from < columns; from += width) {
    const long n = MIN(width, columns - from);
    for (long k = 0; k < count; k++, out += width) for (long v = 0; v < width; v += LANES) store_f32(out + v, ${some("k * ldb + from")});
  }
}
/* b(k, column) at b[column * ldb + k]: squares are turned in vectors */
static __attribute__((noinline, unused)) void pack_columns${suffix}(float *out, const ${type} *b, long ldb, long count, long columns, long width) {
  for (long from = 0; from < columns; from += width, out += count * width) {
    for (long v = 0; v < width; v += LANES) {
      const long n = MIN(LANES, MAX(0, columns - from - v)), source = (from + v) * ldb;
      long k = 0;
      if (n == LANES) for (; k + LANES <= count; k += LANES) {
        f32v square[LANES];
        for (long l = 0; l < LANES; l++) square[l] = ${vector("source + l * ldb + k")};
        transpose(square);
        for (long l = 0; l < LANES; l++) store_f32(out + (k + l) * width + v, square[l]);
      }
      for (; k < count; k++) { f32v x = {0}; for (long l = 0; l < n; l++) x[l] = ${one("source + l * ldb + k")}; store_f32(out + k * width + v, x); }
    }
  }
}`
}

/** The same from numbers of 16 bits. */
export function storedPacking(stored: KeptFormat): string {
  return packLines(`_${stored}`, "uint8_t", { some: (at) => `load_some_${stored}(b, ${at}, v, n)`, vector: (at) => `load_${stored}_f32(b, ${at})`, one: (at) => `read_${stored}_f32(b, ${at})` })
}

/** Packing of b into panels [panel][k][width], zeros beyond its edge, and parts of rows. */
export const packing = `/* ---- parts of rows: columns from \`at\` on, of which n exist */
INLINE f32v load_some(const float *p, long at, long n) { return n - at >= LANES ? load_f32(p + at) : n > at ? load_part_f32(p + at, n - at) : set_f32(0); }
INLINE void store_some(float *p, long at, f32v x, long n) { if (n - at >= LANES) store_f32(p + at, x); else if (n > at) store_part_f32(p + at, x, n - at); }

/* ---- packing: out[panel][k][width] = b(k, column), zeros beyond the last column */
${packLines("", "float", { some: (at) => `load_some(b + ${at}, v, n)`, vector: (at) => `load_f32(b + ${at})`, one: (at) => `b[${at}]` })}
/* b(k, column) at b[k * row + column * col] */
static __attribute__((noinline, unused)) void pack_any(float *out, const float *b, long row, long col, long count, long columns, long width) {
  if (col == 1) { pack_rows(out, b, row, count, columns, width); return; }
  if (row == 1) { pack_columns(out, b, col, count, columns, width); return; }
  for (long from = 0; from < columns; from += width)
    for (long k = 0; k < count; k++, out += width)
      for (long v = 0; v < width; v++) out[v] = from + v < columns ? b[k * row + (from + v) * col] : 0;
}
`

/** Turns LANES vectors of LANES numbers, in steps that double. Each vector has a name of its own, so that they stay in registers. */
export function transpose({ lanes }: CpuTarget): string {
  const steps: string[] = []
  const all = Array.from({ length: lanes }, (_, i) => i)
  for (let half = 1, level = 0; half < lanes; half *= 2, level++) {
    const [low, high] = [all.map((i) => ((i & half) === 0 ? i : lanes + i - half)), all.map((i) => ((i & half) === 0 ? i + half : lanes + i))]
    const name = (i: number): string => `m${level}_${i}`
    const next = (i: number): string => (half * 2 < lanes ? `const f32v m${level + 1}_${i}` : `m[${i}]`)
    for (const i of all) if ((i & half) === 0) {
      const pair = `${name(i)}, ${name(i + half)}`
      steps.push(`  ${next(i)} = __builtin_shufflevector(${pair}, ${low.join(", ")}); ${next(i + half)} = __builtin_shufflevector(${pair}, ${high.join(", ")});`)
    }
  }
  return `/* m[i][j] becomes m[j][i] */
INLINE void transpose(f32v m[LANES]) {
  const f32v ${all.map((i) => `m0_${i} = m[${i}]`).join(", ")};
${steps.join("\n")}
}
`
}
