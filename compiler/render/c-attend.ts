/** Attention and its gradient as C: eight queries at a time against packed keys; what is masked for a whole block is never computed. */
import type { AttendGradKernel, AttendKernel, Strided } from "../kernel/ir.ts"
import { queryBlock } from "../schedule/cpu.ts"
import { padded } from "../schedule/tiles.ts"
import { cType } from "./c-exprs.ts"
import type { Parameters } from "./c-exprs.ts"
import type { CpuTarget, Tile } from "../schedule/cpu.ts"
import { tileName } from "./c-tile.ts"
import type { TileUse } from "./c-contract.ts"

export type Attend = AttendKernel | AttendGradKernel

/** Panels are 32 numbers wide. */
const tileOf = (target: CpuTarget, rows: number): Tile => ({ rows, vectors: 32 / target.lanes })

export function attendTiles(kernel: Attend, target: CpuTarget): readonly TileUse[] {
  if (kernel.kind === "attend" && kernel.sizes.queries < fewQueries) return []
  const height = blockRows(target)
  const lefts = [...new Set([kernel.sizes.queries % height, (kernel.sizes.queries % queryBlock) % height])].filter((rows) => rows > 0)
  const rows = [height, ...lefts].map((n): TileUse => ({ tile: tileOf(target, n), storage: "row" }))
  return kernel.kind === "attend" ? rows : [...rows, { tile: tileOf(target, height), storage: "col" }, ...keyLefts(kernel, target).map((n): TileUse => ({ tile: tileOf(target, n), storage: "col" }))]
}

function keyLefts(kernel: Attend, target: CpuTarget): number[] {
  return [kernel.sizes.keys % blockRows(target)].filter((rows) => rows > 0)
}

/** Queries of one block of registers. */
function blockRows(target: CpuTarget): number {
  return target.lanes === 16 ? 8 : target.lanes === 8 ? 2 : 1
}

/** The address of a row of a tensor, or of column `e` of it: of its numbers, or of bytes where they lie in bf16. */
export function tensorAt(x: Strided, p: Parameters, writes: boolean, places: readonly [string, string, string], e = "0"): string {
  const [b, h, t] = x.strides
  const terms = [[b, places[0]], [h, places[1]], [t, places[2]]].filter(([stride, place]) => stride !== 0 && place !== "0").map(([stride, place]) => `${place} * ${stride}L`)
  if (x.base !== 0) terms.push(String(x.base))
  if (e !== "0") terms.push(e)
  const sum = terms.join(" + ")
  return `${p.name(x.buffer, writes)}${terms.length === 0 ? "" : x.buffer.stored === null ? ` + ${sum}` : ` + 2 * (${sum})`}`
}

const at = (x: Strided, p: Parameters, writes: boolean, places: readonly [string, string, string]): string => tensorAt(x, p, writes, places)

/** The factor of scores as a number of C. */
export function cScale({ args: { scale } }: Attend): string {
  return /[.e]/.test(`${scale}`) ? `${scale}f` : `${scale}.0f`
}

/** `switch` over the rows of a block. */
function tileCall(target: CpuTarget, storage: "row" | "col", rows: string, lefts: readonly number[], args: string): string {
  const full = blockRows(target)
  const call = (n: number): string => `${tileName(tileOf(target, n), storage)}(${args})`
  return [`if (${rows} == ${full}) ${call(full)};`, ...lefts.filter((n) => n !== full).map((n) => `else if (${rows} == ${n}) ${call(n)};`)].join(" ")
}

function queryLefts(kernel: Attend, target: CpuTarget): number[] {
  return attendTiles(kernel, target).filter((use) => use.storage === "row").map((use) => use.tile.rows).filter((n) => n !== blockRows(target))
}

/** The keys that query i may see by its place: from low up to (not including) high. */
export function bounds(kernel: Attend, p: Parameters): string[] {
  const { causal, window, offset } = kernel.args
  const { queries, keys } = kernel.sizes
  const ahead = kernel.offset !== null && offset ? `${p.name(kernel.offset, false)}[b]` : causal ? `${keys - queries}` : "0"
  return [
    `const long ahead = ${ahead};`,
    `#define LOW(i) ${window === null ? "0L" : `MAX(0L, (i) + ahead - ${window - 1}L)`}`,
    `#define HIGH(i) ${causal ? `MIN(${keys}L, MAX(0L, (i) + ahead + 1))` : window === null ? `${keys}L` : `MIN(${keys}L, MAX(0L, (i) + ahead + ${window}L))`}`,
  ]
}

/** Scores of one row at columns j …: scaled, biased, and which of them count. */
function scoreLines(kernel: Attend, p: Parameters, indent: string): string[] {
  const lines = [`${indent}f32v score = load_f32(row + j - begin) * ${cScale(kernel)};`]
  lines.push(`${indent}i32v seen = (lane_numbers() + (int32_t)j >= (int32_t)low) & (lane_numbers() + (int32_t)j < (int32_t)high);`)
  if (kernel.bias !== null) lines.push(`${indent}score += load_part_f32(${at(kernel.bias, p, false, ["b", "h", "i"])} + j, MAX(0L, MIN(LANES, ${kernel.sizes.keys}L - j)));`)
  if (kernel.segments !== null) {
    const [query, key] = kernel.segments
    lines.push(
      `${indent}const i32v segment = j + LANES <= ${kernel.sizes.keys} ? load_i32(${p.name(key, false)} + b * ${kernel.sizes.keys}L + j) : load_part_i32(${p.name(key, false)} + b * ${kernel.sizes.keys}L + j, MAX(0L, ${kernel.sizes.keys}L - j));`,
      `${indent}seen &= (segment == ${p.name(query, false)}[b * ${kernel.sizes.queries}L + i]) & (segment >= 0);`,
    )
  }
  return lines
}

/** Turns the raw products of one row into weights; leaves 1 / sum in \`inverse\`. Weights beyond the row's keys become 0. */
export function softmaxLines(kernel: Attend, p: Parameters, indent: string): string[] {
  return [
    `${indent}const long low = LOW(i), high = HIGH(i);`,
    `${indent}f32v most = set_f32(-3e38f), total = set_f32(0);`,
    `${indent}for (long j = begin; j < end; j += LANES) {`,
    ...scoreLines(kernel, p, `${indent}  `),
    `${indent}  score = pick_f32(seen, score, set_f32(-3e38f));`,
    `${indent}  most = pick_f32((score > most) | (score != score), score, most);`,
    `${indent}  store_f32(row + j - begin, score);`,
    `${indent}}`,
    `${indent}most = top_f32(most);`,
    `${indent}for (long j = begin; j < end; j += LANES) {`,
    `${indent}  const f32v score = load_f32(row + j - begin);`,
    `${indent}  const f32v weight = (f32v)((score != -3e38f) & (i32v)exp_f32(score - most));`,
    `${indent}  total += weight;`,
    `${indent}  store_f32(row + j - begin, weight);`,
    `${indent}}`,
    `${indent}total = sum_f32(total);`,
    `${indent}const f32v inverse = pick_f32(total == 0.0f, set_f32(0), 1.0f / total);`,
  ]
}

/** What is multiplied: rounded, if the factors are. */
function factor({ args: { factors } }: Attend, x: string): string {
  return factors === "f32" ? x : `narrow_${factors}_f32(${x})`
}

/** Fewer queries than this read keys and values as they lie: packing them would cost more than it saves. */
const fewQueries = 4

export function renderAttend(kernel: AttendKernel, target: CpuTarget, p: Parameters): string[] {
  if (kernel.sizes.queries < fewQueries) return renderAttendFew(kernel, target, p)
  const { heads, groups, queries, keys, depth, values } = kernel.sizes
  const [keyWidth, valueWidth] = [padded(keys, 32), padded(values, 32)]
  const height = blockRows(target)
  const lefts = queryLefts(kernel, target)
  return [
    `  float *packed_k = scratch, *packed_v = packed_k + ${keyWidth * depth}L, *scores = packed_v + ${keyWidth * valueWidth}L;`,
    "  long packed = -1;",
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${heads}, h = share % ${heads}, g = h / ${heads / groups};`,
    ...bounds(kernel, p).map((line) => (line.startsWith("#") ? line : `    ${line}`)),
    `    if (packed != b * ${groups} + g) {`,
    kernel.k.buffer.stored === null
      ? `      pack_any(packed_k, ${at(kernel.k, p, false, ["b", "g", "0"])}, ${kernel.k.strides[3]}, ${kernel.k.strides[2]}, ${depth}, ${keys}, 32);`
      : `      pack_columns_${kernel.k.buffer.stored}(packed_k, ${at(kernel.k, p, false, ["b", "g", "0"])}, ${kernel.k.strides[2]}, ${depth}, ${keys}, 32);`,
    kernel.v.buffer.stored === null
      ? `      pack_any(packed_v, ${at(kernel.v, p, false, ["b", "g", "0"])}, ${kernel.v.strides[2]}, ${kernel.v.strides[3]}, ${keys}, ${values}, 32);`
      : `      pack_rows_${kernel.v.buffer.stored}(packed_v, ${at(kernel.v, p, false, ["b", "g", "0"])}, ${kernel.v.strides[2]}, ${keys}, ${values}, 32);`,
    `      packed = b * ${groups} + g;`,
    "    }",
    `    for (long start = 0; start < ${queries}; start += ${height}) {`,
    `      const long rows = MIN(${height}, ${queries} - start);`,
    `      const long begin = LOW(start) / 32 * 32, end = MAX(begin, (HIGH(start + rows - 1) + 31) / 32 * 32);`,
    `      for (long j = begin; j < end; j += 32) ${tileCall(target, "row", "rows", lefts, `${depth}, ${at(kernel.q, p, false, ["b", "h", "start"])}, ${kernel.q.strides[2]}, packed_k + j * ${depth}, scores + j - begin, ${keyWidth}, 32, 0`)}`,
    "      for (long i = start; i < start + rows; i++) {",
    `        float *row = scores + (i - start) * ${keyWidth};`,
    ...softmaxLines(kernel, p, "        "),
    `        for (long j = begin; j < end; j += LANES) store_f32(row + j - begin, ${factor(kernel, "load_f32(row + j - begin) * inverse")});`,
    "      }",
    `      const long until = MIN(end, ${keys});`,
    `      for (long e = 0; e < ${values}; e += 32) ${tileCall(target, "row", "rows", lefts, `MAX(0L, until - begin), scores, ${keyWidth}, packed_v + e * ${keys} + begin * 32, ${at(kernel.out, p, true, ["b", "h", "start"])} + e, ${kernel.out.strides[2]}, ${values} - e, 0`)}`,
    "    }",
    "#undef LOW", "#undef HIGH",
    "  }",
  ]
}

/** One query after the other: keys are multiplied several at a time, values are added up in order of the keys. */
function renderAttendFew(kernel: AttendKernel, target: CpuTarget, p: Parameters): string[] {
  const { heads, groups, queries, depth, values } = kernel.sizes
  const together = Math.min(8, target.lanes)
  const [side, whole] = [Array.from({ length: together }, (_, q) => q), depth - (depth % target.lanes)]
  const [storedK, storedV] = [kernel.k.buffer.stored, kernel.v.buffer.stored]
  const products = (x: string, load: (from: string) => string): string => `const f32v x = ${x}; ${side.map((q) => `s${q} = fma_f32(x, ${load(`k${q}`)}, s${q});`).join(" ")}`
  const keyVector = (k: string): string => (storedK === null ? `load_f32(${k} + d)` : `load_${storedK}_f32(${k}, d)`)
  const keyPart = (k: string): string => (storedK === null ? `load_part_f32(${k} + ${whole}, ${depth - whole})` : `load_part_${storedK}_f32(${k}, ${whole}, ${depth - whole})`)
  const scores = `sum_rows_${together}(${side.map((q) => `s${q}`).join(", ")})`
  const wide = (width: number): string[] => {
    const sums = Array.from({ length: width }, (_, v) => v)
    return [
      `        f32v ${sums.map((v) => `o${v} = {0}`).join(", ")};`,
      "        for (long j = low; j < high; j++) {",
      `          const ${cType(kernel.v.buffer)} *value = ${tensorAt(kernel.v, p, false, ["b", "g", "j"], "e")};`,
      "          const f32v weight = set_f32(row[j - begin]);",
      `          ${sums.map((v) => `o${v} = fma_f32(weight, ${storedV === null ? "load_some(value, " : `load_some_${storedV}(value, 0, `}${v} * LANES, ${values} - e), o${v});`).join(" ")}`,
      "        }",
      `        ${sums.map((v) => `store_some(out, e + ${v} * LANES, o${v}, ${values});`).join(" ")}`,
    ]
  }
  return [
    "  float *row = scratch;",
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${heads}, h = share % ${heads}, g = h / ${heads / groups};`,
    ...bounds(kernel, p).map((line) => (line.startsWith("#") ? line : `    ${line}`)),
    `    for (long i = 0; i < ${queries}; i++) {`,
    `      const float *query = ${at(kernel.q, p, false, ["b", "h", "i"])};`,
    `      float *out = ${at(kernel.out, p, true, ["b", "h", "i"])};`,
    "      const long begin = LOW(i) / LANES * LANES, end = MAX(begin, (HIGH(i) + LANES - 1) / LANES * LANES);",
    `      for (long j = begin; j < HIGH(i); j += ${together}) {`,
    ...side.map((q) => `        const ${cType(kernel.k.buffer)} *k${q} = ${at(kernel.k, p, false, ["b", "g", `MIN(j + ${q}, HIGH(i) - 1)`])};`),
    `        f32v ${side.map((q) => `s${q} = {0}`).join(", ")};`,
    ...(whole > 0 ? [`        for (long d = 0; d < ${whole}; d += LANES) { ${products("load_f32(query + d)", keyVector)} }`] : []),
    ...(whole < depth ? [`        { ${products(`load_part_f32(query + ${whole}, ${depth - whole})`, keyPart)} }`] : []),
    together === target.lanes ? `        store_f32(row + j - begin, ${scores});` : `        store_part_f32(row + j - begin, ${scores}, ${together});`,
    "      }",
    ...softmaxLines(kernel, p, "      "),
    `      for (long j = begin; j < end; j += LANES) store_f32(row + j - begin, ${factor(kernel, "load_f32(row + j - begin) * inverse")});`,
    `      for (long e = 0; e < ${values}; e += 4 * LANES) {`, ...wide(Math.min(4, Math.ceil(values / target.lanes))), "      }",
    "    }",
    "#undef LOW", "#undef HIGH",
    "  }",
  ]
}

/** ds = p (dp - sum(p dp)) with dp = dy v^T; then dq = ds k, dk = ds^T q, dv = p^T dy, all scaled as the scores were. */
export function renderAttendGrad(kernel: AttendGradKernel, target: CpuTarget, p: Parameters): string[] {
  const { heads, groups, queries, keys, depth, values } = kernel.sizes
  const [keyWidth, depthWidth, valueWidth] = [padded(keys, 32), padded(depth, 32), padded(values, 32)]
  const height = blockRows(target)
  const [lefts, keysLeft] = [queryLefts(kernel, target), keyLefts(kernel, target)]
  const share = heads / groups
  const sharedBias = kernel.dbias !== null && kernel.dbias.strides[0] === 0
  const count = sharedBias ? `${kernel.sizes.batch * groups}` : "last"
  const scale = cScale(kernel)
  const pack = (to: string, x: Strided, g: string, t: string, kind: "turned" | "plain", n: string, wide: number): string => kind === "turned"
    ? `pack_any(${to}, ${at(x, p, false, ["b", g, t])}, ${x.strides[3]}, ${x.strides[2]}, ${wide}, ${n}, 32);`
    : `pack_any(${to}, ${at(x, p, false, ["b", g, t])}, ${x.strides[2]}, ${x.strides[3]}, ${n}, ${wide}, 32);`
  const intoKeys = (out: Strided | null, from: string, packed: string, wide: number): string[] => (out === null ? [] : [
    `          for (long e = 0; e < ${wide}; e += 32) ${tileCall(target, "col", "many", keysLeft, `rows, ${from} + j - begin, ${keyWidth}, ${packed} + e * rows, ${at(out, p, true, ["b", "g", "j"])} + e, ${out.strides[2]}, ${wide} - e, 1`)}`,
  ])
  const zero = (out: Strided | null, wide: number): string[] => (out === null ? [] : [`    for (long j = 0; j < ${keys}; j++) memset(${at(out, p, true, ["b", "g", "j"])}, 0, ${wide * 4});`])
  return [
    `  float *turned_k = scratch, *turned_v = turned_k + ${keyWidth * depth}L, *packed_k = turned_v + ${keyWidth * values}L, *packed_q = packed_k + ${keys * depthWidth}L;`,
    `  float *packed_u = packed_q + ${queryBlock * depthWidth}L, *weights = packed_u + ${queryBlock * valueWidth}L, *slopes = weights + ${queryBlock * keyWidth}L;`,
    ...(sharedBias ? ["  if (first >= last) return;", `  memset(${p.name(kernel.dbias.buffer, true)}, 0, ${kernel.dbias.buffer.size * 4}L);`] : []),
    `  for (long share = ${sharedBias ? "0" : "first"}; share < ${count}; share++) {`,
    `    const long b = share / ${groups}, g = share % ${groups};`,
    ...bounds(kernel, p).map((line) => (line.startsWith("#") ? line : `    ${line}`)),
    `    ${pack("turned_k", kernel.k, "g", "0", "turned", String(keys), depth)}`,
    `    ${pack("turned_v", kernel.v, "g", "0", "turned", String(keys), values)}`,
    `    ${pack("packed_k", kernel.k, "g", "0", "plain", String(keys), depth)}`,
    ...zero(kernel.dk, depth), ...zero(kernel.dv, values),
    `    for (long h = g * ${share}; h < (g + 1) * ${share}; h++) {`,
    ...(kernel.dbias !== null && !sharedBias ? [`      memset(${at(kernel.dbias, p, true, ["b", "h", "0"])}, 0, ${queries * keys * 4}L);`] : []),
    `      for (long top = 0; top < ${queries}; top += ${queryBlock}) {`,
    `        const long rows = MIN(${queryBlock}, ${queries} - top);`,
    `        const long begin = LOW(top) / 32 * 32, end = MAX(begin, (HIGH(top + rows - 1) + 31) / 32 * 32), until = MIN(end, ${keys});`,
    `        ${pack("packed_q", kernel.q, "h", "top", "plain", "rows", depth)}`,
    `        ${pack("packed_u", kernel.upstream, "h", "top", "plain", "rows", values)}`,
    `        for (long start = top; start < top + rows; start += ${height}) {`,
    `          const long some = MIN(${height}, top + rows - start);`,
    `          float *w = weights + (start - top) * ${keyWidth}L, *s = slopes + (start - top) * ${keyWidth}L;`,
    "          /* Queries of this block see no key from `stop` on. */",
    `          const long stop = MAX(begin, (HIGH(start + some - 1) + 31) / 32 * 32);`,
    `          for (long j = begin; j < stop; j += 32) ${tileCall(target, "row", "some", lefts, `${depth}, ${at(kernel.q, p, false, ["b", "h", "start"])}, ${kernel.q.strides[2]}, turned_k + j * ${depth}, w + j - begin, ${keyWidth}, 32, 0`)}`,
    `          for (long j = begin; j < stop; j += 32) ${tileCall(target, "row", "some", lefts, `${values}, ${at(kernel.upstream, p, false, ["b", "h", "start"])}, ${kernel.upstream.strides[2]}, turned_v + j * ${values}, s + j - begin, ${keyWidth}, 32, 0`)}`,
    "          for (long i = start; i < start + some; i++) {",
    `            float *row = w + (i - start) * ${keyWidth}, *slope = s + (i - start) * ${keyWidth};`,
    ...softmaxLines(kernel, p, "            ").map((line) => line.replaceAll("j < end", "j < stop")),
    "            f32v mean = set_f32(0);",
    "            for (long j = begin; j < stop; j += LANES) {",
    "              const f32v weight = load_f32(row + j - begin) * inverse;",
    "              store_f32(row + j - begin, weight);",
    "              mean = fma_f32(weight, load_f32(slope + j - begin), mean);",
    "            }",
    "            mean = sum_f32(mean);",
    "            for (long j = begin; j < stop; j += LANES) {",
    "              const f32v d = load_f32(row + j - begin) * (load_f32(slope + j - begin) - mean);",
    ...(kernel.dbias === null ? [] : [`              { float *to = ${at(kernel.dbias, p, true, ["b", "h", "i"])}; store_some(to, j, load_some(to, j, ${keys}) + d, ${keys}); }`]),
    `              store_f32(slope + j - begin, ${factor(kernel, `d * ${scale}`)});`,
    ...(kernel.args.factors === "f32" ? [] : [`              store_f32(row + j - begin, ${factor(kernel, "load_f32(row + j - begin)")});`]),
    "            }",
    "            for (long j = stop; j < end; j += LANES) { store_f32(row + j - begin, set_f32(0)); store_f32(slope + j - begin, set_f32(0)); }",
    "          }",
    ...(kernel.dq === null ? [] : [`          for (long e = 0; e < ${depth}; e += 32) ${tileCall(target, "row", "some", lefts, `MAX(0L, MIN(stop, ${keys}) - begin), s, ${keyWidth}, packed_k + e * ${keys} + begin * 32, ${at(kernel.dq, p, true, ["b", "h", "start"])} + e, ${kernel.dq.strides[2]}, ${depth} - e, 0`)}`]),
    "        }",
    `        for (long j = begin; j < until; j += ${height}) {`,
    `          const long many = MIN(${height}, until - j);`,
    ...intoKeys(kernel.dk, "slopes", "packed_q", depth),
    ...intoKeys(kernel.dv, "weights", "packed_u", values),
    "        }",
    "      }",
    "    }",
    "#undef LOW", "#undef HIGH",
    "  }",
  ]
}
