/** Zeros, scatters and what looks along one axis, as WGSL. */
import type { AxisKernel, Buffer, ScatterKernel } from "../kernel/ir.ts"
import { pointThreads } from "../schedule/gpu.ts"
import { constantText, wgslTypes } from "./wgsl-expr.ts"
import type { Memory } from "./wgsl-expr.ts"
import type { ShaderBody } from "./wgsl-shader.ts"
import { countText } from "./wgsl-shader.ts"

export function renderZeros(buffer: Buffer, memory: Memory): ShaderBody {
  return { threads: pointThreads, outside: [], lines: [`  let j = group * ${pointThreads} + lid;`, `  if (j < ${countText}) { ${memory.store(buffer, "j", constantText(0, buffer.dtype))} }`] }
}

/**
 * A workgroup for each update. The one whose id was not met before adds all updates of that id, in order; the others have nothing to do. So there
 * is one writer for each row and one order of the sum.
 */
export function renderScatter({ lead, rows, width, count, ...kernel }: ScatterKernel, memory: Memory): ShaderBody {
  const threads = width >= 128 ? 128 : 64
  const id = (i: string): string => memory.load(kernel.ids, `b * ${count} + ${i}`)
  const turns = Math.ceil(width / threads)
  const sums = Array.from({ length: turns }, (_, t) => t)
  const type = wgslTypes[kernel.out.dtype]
  return {
    threads,
    outside: ["var<workgroup> met: atomic<u32>;", "var<workgroup> own_id: i32;", "var<workgroup> is_met: u32;", `var<workgroup> some: array<i32, ${threads}>;`],
    lines: [
      `  let b = group / ${count};`, `  let i = group % ${count};`, `  if (lid == 0) { own_id = ${id("i")}; atomicStore(&met, 0u); }`, "  let id = workgroupUniformLoad(&own_id);", `  if (id < 0 || id >= ${rows}) { return; }`,
      `  for (var x = lid; x < i; x += ${threads}) { if (${id("x")} == id) { atomicStore(&met, 1u); } }`, "  workgroupBarrier();", "  if (lid == 0) { is_met = atomicLoad(&met); }", "  if (workgroupUniformLoad(&is_met) != 0u) { return; }",
      ...sums.map((t) => `  var sum${t} = ${type}(0);`),
      `  for (var base = i; base < ${count}; base += ${threads}) {`, `    some[lid] = -1;`, `    if (base + lid < ${count}) { some[lid] = ${id("(base + lid)")}; }`, "    workgroupBarrier();",
      `    for (var x = 0; x < ${threads}; x++) {`, "      if (some[x] == id) {",
      ...sums.map((t) => `        ${(t + 1) * threads > width ? `if (lid + ${t * threads} < ${width}) { ` : ""}sum${t} += ${memory.load(kernel.updates, `(b * ${count} + base + x) * ${width} + lid + ${t * threads}`)};${(t + 1) * threads > width ? " }" : ""}`),
      "      }", "    }", "    workgroupBarrier();", "  }",
      ...sums.map((t) => `  if (lid + ${t * threads} < ${width}) { ${memory.store(kernel.out, `(b * ${lead === 1 ? 0 : rows} + id) * ${width} + lid + ${t * threads}`, `sum${t}`)} }`),
    ],
  }
}

/** A workgroup for each line along the axis. */
export function renderAxis(kernel: AxisKernel, lanes: number, memory: Memory): ShaderBody {
  const { n, inner, op } = kernel
  const dtype = kernel.x.dtype
  const place = (i: string): string => `start + ${i}${inner === 1 ? "" : ` * ${inner}`}`
  const value = (i: string): string => memory.load(kernel.x, place(i))
  const head = [`  let start = group / ${inner} * ${n * inner} + group % ${inner};`]
  if (op.is === "cumsum") {
    const part = Math.ceil(n / lanes)
    const at = op.reverse ? `(${n - 1} - x)` : "x"
    return {
      threads: lanes, outside: [`var<workgroup> sums: array<${dtype}, ${lanes}>;`],
      lines: [
        ...head, `  let first = lid * ${part};`, `  let last = min(first + ${part}, ${n});`, `  var sum = ${dtype}(0);`, `  for (var x = first; x < last; x++) { sum += ${value(at)}; }`, "  sums[lid] = sum;", "  workgroupBarrier();",
        `  sum = ${dtype}(0);`, "  for (var x = 0; x < lid; x++) { sum += sums[x]; }", `  for (var x = first; x < last; x++) { sum += ${value(at)}; ${memory.store(kernel.out, place(at), "sum")} }`,
      ],
    }
  }
  const k = op.is === "top_k" ? op.k : 1
  const out = op.is === "top_k" ? `group * ${k} + turn` : "group"
  // Each turn takes the first of the largest numbers that come after what the turn before took.
  return {
    threads: lanes, outside: [`var<workgroup> values: array<${dtype}, ${lanes}>;`, `var<workgroup> places: array<i32, ${lanes}>;`, `fn is_before(v: ${dtype}, i: i32, w: ${dtype}, j: i32) -> bool { return v > w || (v == w && i < j); }`],
    lines: [
      ...head, `  var last_value = ${dtype}(0);`, "  var last = -1;", `  for (var turn = 0; turn < ${k}; turn++) {`, `    var best_value = ${dtype}(0);`, "    var best = -1;",
      `    for (var x = lid; x < ${n}; x += ${lanes}) {`, `      let v = ${value("x")};`, "      if ((last < 0 || is_before(last_value, last, v, x)) && (best < 0 || is_before(v, x, best_value, best))) { best_value = v; best = x; }", "    }",
      "    values[lid] = best_value;", "    places[lid] = best;", "    workgroupBarrier();",
      `    for (var x = 0; x < ${lanes}; x++) { if (places[x] >= 0 && (best < 0 || is_before(values[x], places[x], best_value, best))) { best_value = values[x]; best = places[x]; } }`,
      "    workgroupBarrier();", "    last_value = best_value;", "    last = best;", `    if (lid == 0) { ${memory.store(kernel.out, out, "max(best, 0)")} }`, "  }",
    ],
  }
}
