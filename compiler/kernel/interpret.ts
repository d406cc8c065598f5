/** What kernels mean, one point at a time and in double precision but for what is stored: the oracle of every renderer. */
import { threefry } from "../graph/random.ts"
import { binaryOf, castTo, keptIn, narrowTo, unaryOf } from "../graph/interpret-elementwise.ts"
import type { DType } from "../graph/node.ts"
import type { Fused } from "./fuse.ts"
import type { Guard, Index } from "./index.ts"
import type { AttendGradKernel, AttendKernel, AxisKernel, Buffer, Column, Combine, ContractKernel, Expr, Kernel, Operand, PutKernel, RowsKernel, ScatterKernel, Strided } from "./ir.ts"

export type Data = Float32Array | Int32Array | Uint8Array
/** The contents of buffers. */
export type Memory = Map<Buffer, Data>

export function allocate(dtype: DType, n: number): Data {
  return dtype === "f32" ? new Float32Array(n) : dtype === "i32" ? new Int32Array(n) : new Uint8Array(n)
}

/** Memory for all buffers of a program, zeros but for constants. */
export function createMemory(program: Fused): Memory {
  return new Map(program.buffers.map((buffer) => {
    const data = allocate(buffer.dtype, buffer.size)
    if (buffer.values !== null) data.set(buffer.values)
    return [buffer, data]
  }))
}

/** One call of a program: all kernels in order, then states take their new values. */
export function interpretKernels(program: Fused, memory: Memory): void {
  for (const kernel of program.kernels) runKernel(kernel, memory, 0)
  const values = program.updates.map(({ value }) => dataOf(memory, value).slice())
  program.updates.forEach(({ state }, i) => dataOf(memory, state).set(values[i] ?? []))
}

function dataOf(memory: Memory, buffer: Buffer): Data {
  const data = memory.get(buffer)
  if (data === undefined) throw new Error(`interpret: ${buffer.name} has no memory`)
  return data
}

function runKernel(kernel: Kernel, memory: Memory, trip: number): void {
  switch (kernel.kind) {
    case "rows": return runRows(kernel, memory, trip)
    case "contract": return runContract(kernel, memory, trip)
    case "siblings": return kernel.members.forEach((member) => runContract(member, memory, trip))
    case "attend": return runAttend(kernel, memory)
    case "attend_grad": return runAttendGrad(kernel, memory)
    case "scatter": return runScatter(kernel, memory)
    case "axis": return runAxis(kernel, memory)
    case "put": return runPut(kernel, memory)
    case "loop":
      for (let turn = 0; turn < kernel.trips; turn++) for (const inner of kernel.body) runKernel(inner, memory, turn)
  }
}

// ---------------------------------------------------------------- expressions

interface Point {
  readonly memory: Memory
  readonly kernel: RowsKernel
  readonly trip: number
  r: number
  j: number
  k: number
  /** Reductions along the present row. */
  readonly reduced: Map<Expr, number>
}

function place(index: Index, p: Point): number {
  let sum = index.base
  for (const { times, atom } of index.terms) {
    const value = atom.is === "value" ? evaluate(atom.expr, p)
      : atom.is === "div" ? Math.floor(place(atom.of, p) / atom.by)
      : atom.is === "mod" ? ((place(atom.of, p) % atom.by) + atom.by) % atom.by
      : atom.is === "var" ? p[atom.name === "r" || atom.name === "j" || atom.name === "k" ? atom.name : "trip"] : NaN
    sum += times * value
  }
  return sum
}

function holds(guards: readonly Guard[], p: Point): boolean {
  return guards.every((guard) => {
    const at = place(guard.index, p)
    return at >= guard.low && at < guard.high
  })
}

function start(combine: Combine, dtype: DType): number {
  return combine === "sum" ? 0 : dtype === "i32" ? -(2 ** 31) : -Infinity
}

const joined = (combine: Combine, x: number, y: number): number => (combine === "sum" ? x + y : Math.max(x, y))

function evaluate(x: Expr, p: Point): number {
  switch (x.is) {
    case "load": return holds(x.guards, p) ? dataOf(p.memory, x.buffer)[place(x.index, p)] ?? NaN : 0
    case "constant": return x.value
    case "index": return place(x.index, p)
    case "unary": return rounded(x.dtype, x.op === "narrow_f16" ? narrowTo.f16(evaluate(x.x, p)) : x.op === "narrow_bf16" ? narrowTo.bf16(evaluate(x.x, p)) : unaryOf[x.op](evaluate(x.x, p)))
    case "binary": return rounded(x.dtype, binaryOf(x.op, x.x.dtype)(evaluate(x.x, p), evaluate(x.y, p)))
    case "select": return evaluate(x.condition, p) !== 0 ? evaluate(x.yes, p) : evaluate(x.no, p)
    case "cast": return rounded(x.dtype, castTo(x.x.dtype, x.dtype)(evaluate(x.x, p)))
    case "guarded": return holds(x.guards, p) ? evaluate(x.yes, p) : evaluate(x.no, p)
    case "random": return random(x, p)
    case "reduced": return reduce(x, p)
    case "fold": {
      let sum = start(x.combine, x.dtype)
      const outer = p.k
      for (p.k = 0; p.k < x.count; p.k++) sum = joined(x.combine, sum, evaluate(x.body, p))
      p.k = outer
      return sum
    }
  }
}

function rounded(dtype: DType, value: number): number {
  return dtype === "f32" ? Math.fround(value) : dtype === "i32" ? value | 0 : value
}

function random(x: Extract<Expr, { is: "random" }>, p: Point): number {
  const key = threefry([evaluate(x.seed, p), x.stream | 0], [evaluate(x.step, p), evaluate(x.row, p)])
  const element = place(x.element, p)
  return ((threefry(key, [element >>> 1, 0])[element & 1] ?? 0) >>> 8) * 2 ** -24
}

function reduce(x: Extract<Expr, { is: "reduced" }>, p: Point): number {
  const known = p.reduced.get(x)
  if (known !== undefined) return known
  const outer = p.j
  let sum = start(x.combine, x.dtype)
  for (p.j = 0; p.j < p.kernel.cols; p.j++) sum = joined(x.combine, sum, evaluate(x.value, p))
  p.j = outer
  p.reduced.set(x, rounded(x.dtype, sum))
  return rounded(x.dtype, sum)
}

// ---------------------------------------------------------------- rows

function runRows(kernel: RowsKernel, memory: Memory, trip: number, from = 0, to = kernel.rows): void {
  const sums = kernel.columns.map((column) => partials(kernel, column))
  for (let r = from; r < to; r++) {
    const p: Point = { memory, kernel, trip, r, j: 0, k: 0, reduced: new Map() }
    // All of a row is computed before any of it is stored: a state may be replaced in place.
    const writes: (readonly [Data, number, number])[] = []
    for (p.j = 0; p.j < kernel.cols; p.j++) {
      for (const store of kernel.stores) writes.push([dataOf(memory, store.buffer), place(store.index, p), evaluate(store.value, p)])
      kernel.columns.forEach((column, i) => {
        const sum = sums[i]
        if (sum === undefined || (sum.width === 1 && p.j > 0)) return
        const at = Math.floor(r / kernel.chunk) * sum.width + (sum.width === 1 ? 0 : p.j)
        sum.data[at] = joined(column.combine, sum.data[at] ?? 0, evaluate(column.value, p))
      })
    }
    for (const [data, at, value] of writes) data[at] = value
  }
  kernel.columns.forEach((column, i) => dataOf(memory, column.buffer).set(sums[i]?.data ?? []))
}

function partials(kernel: RowsKernel, column: Column): { readonly data: Float64Array; readonly width: number } {
  const chunks = Math.ceil(kernel.rows / kernel.chunk)
  if (column.buffer.size % chunks !== 0) throw new Error(`interpret: ${column.buffer.name} does not hold ${chunks} sums of ${kernel.name}`)
  return { data: new Float64Array(column.buffer.size).fill(start(column.combine, column.buffer.dtype)), width: column.buffer.size / chunks }
}

// ---------------------------------------------------------------- products and attention

function batchPlace({ offset }: Operand, b: number): number {
  let sum = offset.base
  for (const { times, atom } of offset.terms) {
    const inner = (x: Index): number => x.terms.reduce((total, t) => total + t.times * (t.atom.is === "var" ? b : t.atom.is === "value" ? NaN : t.atom.is === "div" ? Math.floor(inner(t.atom.of) / t.atom.by) : inner(t.atom.of) % t.atom.by), x.base)
    sum += inner({ base: 0, terms: [{ times, atom }] })
  }
  return sum
}

function runContract(kernel: ContractKernel, memory: Memory, trip: number): void {
  if (kernel.prologue !== null) runRows(kernel.prologue, memory, trip)
  const [a, b, out] = [dataOf(memory, kernel.a.buffer), dataOf(memory, kernel.b.buffer), dataOf(memory, kernel.out)]
  const rounded = kernel.factors === "f32" ? (x: number): number => x : narrowTo[kernel.factors]
  for (let batch = 0; batch < kernel.batch; batch++) {
    const [left, right] = [batchPlace(kernel.a, batch), batchPlace(kernel.b, batch)]
    for (let i = 0; i < kernel.m; i++) for (let j = 0; j < kernel.n; j++) {
      let sum = 0
      for (let k = 0; k < kernel.k; k++) sum += (a[left + i * kernel.a.rowStride + k * kernel.a.colStride] ?? NaN) * rounded(b[right + k * kernel.b.rowStride + j * kernel.b.colStride] ?? NaN)
      out[(batch * kernel.m + i) * kernel.n + j] = sum
    }
  }
  if (kernel.epilogue !== null) runRows(kernel.epilogue, memory, trip)
}

const element = (x: Strided, b: number, h: number, t: number, d: number): number => x.base + b * x.strides[0] + h * x.strides[1] + t * x.strides[2] + d * x.strides[3]

function isSeen(kernel: AttendKernel | AttendGradKernel, memory: Memory, b: number, i: number, j: number): boolean {
  const { causal, window } = kernel.args
  const { queries, keys } = kernel.sizes
  const at = i + (kernel.offset !== null ? dataOf(memory, kernel.offset)[b] ?? 0 : causal ? keys - queries : 0)
  if (causal && j > at) return false
  if (window !== null && (at - j >= window || (!causal && j - at >= window))) return false
  if (kernel.segments === null) return true
  const [query, key] = [dataOf(memory, kernel.segments[0])[b * queries + i], dataOf(memory, kernel.segments[1])[b * keys + j] ?? -1]
  return query === key && key >= 0
}

/** The weights of all keys for one query; zeros where none is seen. */
function weightsOf(kernel: AttendKernel | AttendGradKernel, memory: Memory, b: number, h: number, i: number): number[] {
  const { heads, groups, keys, depth } = kernel.sizes
  const group = Math.floor(h / (heads / groups))
  const [q, k] = [dataOf(memory, kernel.q.buffer), dataOf(memory, kernel.k.buffer)]
  const scores = Array.from({ length: keys }, (_, j) => {
    if (!isSeen(kernel, memory, b, i, j)) return -Infinity
    let sum = 0
    for (let d = 0; d < depth; d++) sum += (q[element(kernel.q, b, h, i, d)] ?? NaN) * (k[element(kernel.k, b, group, j, d)] ?? NaN)
    return sum * kernel.args.scale + (kernel.bias === null ? 0 : dataOf(memory, kernel.bias.buffer)[element(kernel.bias, b, h, i, j)] ?? NaN)
  })
  const most = Math.max(...scores)
  if (most === -Infinity) return scores.map(() => 0)
  const e = scores.map((score) => Math.exp(score - most))
  const total = e.reduce((x, y) => x + y, 0)
  return e.map((x) => x / total)
}

/** What is multiplied: rounded, if the factors are. */
function factor({ args: { factors } }: AttendKernel | AttendGradKernel, x: number): number {
  return factors === "f32" ? x : narrowTo[factors](Math.fround(x))
}

/** Results of attention that lie in a narrower format are rounded to it. */
function storedIn({ stored }: Buffer, x: number): number {
  return stored === "bf16" ? narrowTo.bf16(Math.fround(x)) : x
}

function runAttend(kernel: AttendKernel, memory: Memory): void {
  const { batch, heads, groups, queries, keys, values } = kernel.sizes
  const [v, out] = [dataOf(memory, kernel.v.buffer), dataOf(memory, kernel.out.buffer)]
  for (let b = 0; b < batch; b++) for (let h = 0; h < heads; h++) for (let i = 0; i < queries; i++) {
    const weights = weightsOf(kernel, memory, b, h, i)
    for (let e = 0; e < values; e++) {
      let sum = 0
      for (let j = 0; j < keys; j++) sum += factor(kernel, weights[j] ?? 0) * (v[element(kernel.v, b, Math.floor(h / (heads / groups)), j, e)] ?? NaN)
      out[element(kernel.out, b, h, i, e)] = storedIn(kernel.out.buffer, sum)
    }
  }
}

/** A gradient under construction, in double precision. */
function gradientOf(x: Strided | null, memory: Memory): { add(b: number, h: number, t: number, d: number, value: number): void; finish(): void } {
  if (x === null) return { add: () => {}, finish: () => {} }
  const sums = new Float64Array(x.buffer.size)
  return {
    add: (b, h, t, d, value) => { const at = element(x, b, h, t, d); sums[at] = (sums[at] ?? 0) + value },
    finish: () => dataOf(memory, x.buffer).set(sums.map((sum) => storedIn(x.buffer, sum))),
  }
}

function runAttendGrad(kernel: AttendGradKernel, memory: Memory): void {
  const { batch, heads, groups, queries, keys, depth, values } = kernel.sizes
  const [q, k, v, u] = [kernel.q, kernel.k, kernel.v, kernel.upstream].map((x) => ({ at: x, data: dataOf(memory, x.buffer) })) as unknown as readonly { at: Strided; data: Data }[]
  if (!q || !k || !v || !u) return
  const [dq, dk, dv, dbias] = [gradientOf(kernel.dq, memory), gradientOf(kernel.dk, memory), gradientOf(kernel.dv, memory), gradientOf(kernel.dbias, memory)]
  for (let b = 0; b < batch; b++) for (let h = 0; h < heads; h++) for (let i = 0; i < queries; i++) {
    const g = Math.floor(h / (heads / groups))
    const weights = weightsOf(kernel, memory, b, h, i)
    const slopes = weights.map((_, j) => {
      let sum = 0
      for (let e = 0; e < values; e++) sum += (u.data[element(u.at, b, h, i, e)] ?? NaN) * (v.data[element(v.at, b, g, j, e)] ?? NaN)
      return sum
    })
    const mean = weights.reduce((sum, weight, j) => sum + weight * (slopes[j] ?? 0), 0)
    for (let j = 0; j < keys; j++) {
      const weight = weights[j] ?? 0
      const slope = weight * ((slopes[j] ?? 0) - mean)
      dbias.add(b, h, i, j, slope)
      const scaled = factor(kernel, slope * kernel.args.scale)
      for (let d = 0; d < depth; d++) {
        dq.add(b, h, i, d, scaled * (k.data[element(k.at, b, g, j, d)] ?? NaN))
        dk.add(b, g, j, d, scaled * (q.data[element(q.at, b, h, i, d)] ?? NaN))
      }
      for (let e = 0; e < values; e++) dv.add(b, g, j, e, factor(kernel, weight) * (u.data[element(u.at, b, h, i, e)] ?? NaN))
    }
  }
  for (const gradient of [dq, dk, dv, dbias]) gradient.finish()
}

// ---------------------------------------------------------------- scatters and axes

function runScatter({ lead, rows, width, count, ...kernel }: ScatterKernel, memory: Memory): void {
  const [ids, updates, out] = [dataOf(memory, kernel.ids), dataOf(memory, kernel.updates), dataOf(memory, kernel.out)]
  out.fill(0)
  for (let b = 0; b < lead; b++) for (let i = 0; i < count; i++) {
    const id = ids[b * count + i] ?? -1
    if (id < 0 || id >= rows) continue
    for (let j = 0; j < width; j++) {
      const at = (b * rows + id) * width + j
      out[at] = (out[at] ?? 0) + (updates[(b * count + i) * width + j] ?? 0)
    }
  }
}

function runPut({ batch, middle, places, count, inner, format, ...kernel }: PutKernel, memory: Memory): void {
  const kept = format === null ? (x: number): number => x : keptIn[format]
  const [offset, fresh, out] = [dataOf(memory, kernel.offset), dataOf(memory, kernel.fresh.buffer), dataOf(memory, kernel.out)]
  out.set(dataOf(memory, kernel.x))
  for (let b = 0; b < batch; b++) for (let m = 0; m < middle; m++) for (let i = 0; i < count; i++) {
    const place = (offset[b] ?? 0) + i
    if (place < 0 || place >= places) continue
    for (let j = 0; j < inner; j++) out[((b * middle + m) * places + place) * inner + j] = kept(fresh[element(kernel.fresh, b, m, i, j)] ?? NaN)
  }
}

function runAxis({ outer, n, inner, op, ...kernel }: AxisKernel, memory: Memory): void {
  const [x, out] = [dataOf(memory, kernel.x), dataOf(memory, kernel.out)]
  for (let o = 0; o < outer; o++) for (let q = 0; q < inner; q++) {
    const at = (i: number): number => (o * n + i) * inner + q
    const line = Array.from({ length: n }, (_, i) => x[at(i)] ?? NaN)
    if (op.is === "argmax") out[o * inner + q] = line.reduce((best, value, i) => (value > (line[best] ?? NaN) ? i : best), 0)
    else if (op.is === "top_k") line.map((_, i) => i).sort((a, b) => (line[b] ?? 0) - (line[a] ?? 0) || a - b).slice(0, op.k).forEach((i, rank) => { out[o * op.k + rank] = i })
    else {
      let sum = 0
      for (let i = 0; i < n; i++) {
        const turn = op.reverse ? n - 1 - i : i
        sum += line[turn] ?? NaN
        out[at(turn)] = sum
      }
    }
  }
}
