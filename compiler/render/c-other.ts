/** Scatters and what looks along one axis, as C. */
import type { AxisKernel, PutKernel, ScatterKernel } from "../kernel/ir.ts"
import { cType, cTypes } from "./c-exprs.ts"
import type { Parameters } from "./c-exprs.ts"

/** Each thread owns columns (or leading rows) and takes the updates in order. */
export function renderScatter(kernel: ScatterKernel, p: Parameters): string[] {
  const { lead, rows, width, count } = kernel
  const type = cTypes[kernel.out.dtype]
  const [ids, updates, out] = [p.name(kernel.ids, false), p.name(kernel.updates, false), p.name(kernel.out, true)]
  const range = lead > 1 ? [`    const long b = share, from = 0, to = ${width};`] : [`    const long b = 0, from = share * 64, to = MIN(${width}, from + 64);`]
  return [
    "  for (long share = first; share < last; share++) {", ...range,
    `    ${type} *sums = ${out} + b * ${rows * width}L;`,
    `    for (long row = 0; row < ${rows}; row++) for (long j = from; j < to; j++) sums[row * ${width} + j] = 0;`,
    `    for (long i = 0; i < ${count}; i++) {`,
    `      const long id = ${ids}[b * ${count}L + i];`,
    `      if (id < 0 || id >= ${rows}) continue;`,
    `      const ${type} *update = ${updates} + (b * ${count}L + i) * ${width};`,
    `      for (long j = from; j < to; j++) sums[id * ${width} + j] += update[j];`,
    "    }", "  }",
  ]
}

/** One place after the other; where the result lies over what it replaces, nothing else is written. */
export function renderPut(kernel: PutKernel, inPlace: boolean, p: Parameters): string[] {
  const { middle, places, count, inner, fresh, format } = kernel
  const type = cType(kernel.out)
  const wide = kernel.out.stored === null ? 1 : 2
  const [offset, from, out] = [p.name(kernel.offset, false), p.name(fresh.buffer, false), p.name(kernel.out, true)]
  const row = places * inner
  const [b, m, i, j] = fresh.strides
  const source = `${from} + ${fresh.base} + share / ${middle} * ${b}L + share % ${middle} * ${m}L + i * ${i}L`
  const put = format !== null ? keptLines(kernel, wide === 2) : [j === 1 || inner === 1 ? `memcpy(to, source, ${inner} * sizeof(${type}));` : `for (long j = 0; j < ${inner}; j++) to[j] = source[j * ${j}L];`]
  return [
    "  for (long share = first; share < last; share++) {",
    ...(inPlace ? [] : [`    memcpy(${out} + share * ${wide * row}L, ${p.name(kernel.x, false)} + share * ${wide * row}L, ${wide * row}L * sizeof(${type}));`]),
    `    for (long i = 0; i < ${count}; i++) {`,
    `      const long place = (long)${offset}[share / ${middle}] + i;`,
    `      if (place < 0 || place >= ${places}) continue;`,
    `      const ${cType(fresh.buffer)} *source = ${source};`,
    `      ${type} *to = ${out} + share * ${wide * row}L + place * ${wide * inner};`,
    ...put.map((line) => `      ${line}`),
    "    }", "  }",
  ]
}

/** Numbers are rounded as they are put, and take two bytes where they are stored so. */
function keptLines({ inner, format, fresh }: PutKernel, isStored: boolean): readonly string[] {
  if (fresh.buffer.stored !== null) throw new Error(`render: ${fresh.buffer.name} is to be put and has a storage of its own`)
  const store = (x: string, n: string | null): string => {
    const part = n === null ? "" : "part_"
    const count = n === null ? "" : `, ${n}`
    if (isStored) return `store_${part}kept_${format}(to, j, ${x}${count});`
    return `store_${part}f32(to + j, ${format === "f16" ? `narrow_f16_f32(within_f16(${x}))` : `narrow_bf16_f32(${x})`}${count});`
  }
  return ["long j = 0;", `for (; j + LANES <= ${inner}; j += LANES) ${store("load_f32(source + j)", null)}`, `if (j < ${inner}) ${store(`load_part_f32(source + j, ${inner} - j)`, `${inner} - j`)}`]
}

export function renderAxis(kernel: AxisKernel, p: Parameters): string[] {
  const { n, inner, op } = kernel
  const type = cTypes[kernel.x.dtype]
  const [x, out] = [p.name(kernel.x, false), p.name(kernel.out, true)]
  const loops = (body: readonly string[]): string[] => [
    `  for (long o = first; o < last; o++) for (long q = 0; q < ${inner}; q++) {`,
    `    const ${type} *line = ${x} + o * ${n * inner}L + q;`, ...body, "  }",
  ]
  if (op.is === "argmax") return loops([
    "    long best = 0;", `    for (long i = 1; i < ${n}; i++) if (line[i * ${inner}L] > line[best * ${inner}L]) best = i;`, `    ${out}[o * ${inner}L + q] = (int32_t)best;`,
  ])
  if (op.is === "cumsum") return loops([
    `    ${type === "float" ? "double" : "int64_t"} sum = 0;`,
    `    for (long i = 0; i < ${n}; i++) { const long at = ${op.reverse ? `${n - 1} - i` : "i"}; sum += line[at * ${inner}L]; ${out}[(o * ${n}L + at) * ${inner}L + q] = (${type})sum; }`,
  ])
  return loops([
    "    /* a heap of the best so far, the last of them at its root; then in order */",
    `    int32_t *best = ${out} + o * ${op.k}L;`,
    `    for (long i = 0; i < ${op.k}; i++) best[i] = (int32_t)i;`,
    ...settled(`for (long i = ${op.k} / 2 - 1; i >= 0; i--)`, "best[i]", "i", `${op.k}`),
    ...settled(`for (long i = ${op.k}; i < ${n}; i++) if (line[i] > line[best[0]])`, "(int32_t)i", "0", `${op.k}`),
    ...settled(`for (long i = ${op.k} - 1; i > 0; i--)`, "best[i]", "0", "i", "best[i] = best[0];"),
  ])
}

/** An id enters a heap of `size` at a free place, and whatever comes later in the order rises over it. */
function settled(loop: string, id: string, free: string, size: string, before = ""): string[] {
  const later = (i: string, j: string): string => `(line[${i}] < line[${j}] || (line[${i}] == line[${j}] && ${i} > ${j}))`
  return [
    `    ${loop} {`, `      const int32_t id = ${id};`, ...(before === "" ? [] : [`      ${before}`]), `      long at = ${free};`,
    `      for (long next; (next = 2 * at + 1) < ${size}; at = next) {`,
    `        if (next + 1 < ${size} && ${later("best[next + 1]", "best[next]")}) next++;`,
    `        if (!${later("best[next]", "id")}) break;`, "        best[at] = best[next];", "      }", "      best[at] = id;", "    }",
  ]
}
