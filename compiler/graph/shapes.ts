import type { Args, AttendArgs, Body, DType, Op, Shape } from "./node.ts"
import { size } from "./node.ts"
import { any, at, binary, checkAxes, checkShape, count, dim, dtypeIn, expectType, need, numeric, reduced, replaced, sameShape, show, unary } from "./shape-checks.ts"
import type { Type } from "./shape-checks.ts"
import { holds } from "./stored.ts"

/** Shape and dtype of the result from arguments and input types. Throws on a graph that means nothing: a bug of the caller. */
export type ShapeRule<O extends Op> = (args: Args[O], inputs: readonly Type[]) => Type
export type ShapeRules = { readonly [O in Op]: ShapeRule<O> }

/** How many windows of `size` fit into an axis of `n` elements. */
export function windowCount(n: number, size: number, stride: number, dilation: number): number {
  return Math.floor((n - (size - 1) * dilation - 1) / stride) + 1
}

function slice(args: Args["slice"], inputs: readonly Type[]): Type {
  count(inputs, 1)
  const x = at(inputs, 0)
  const rank = x.shape.length
  need(args.start.length === rank && args.stop.length === rank && args.step.length === rank, "start, stop and step need one number per axis")
  const shape = x.shape.map((n, i) => {
    const [start, stop, step] = [dim(args.start, i), dim(args.stop, i), dim(args.step, i)]
    need(start >= 0 && start < stop && stop <= n && step >= 1, `${start}:${stop}:${step} of an axis of size ${n}`)
    return Math.ceil((stop - start) / step)
  })
  return { shape, dtype: x.dtype }
}

function pad(args: Args["pad"], inputs: readonly Type[]): Type {
  count(inputs, 1)
  const x = at(inputs, 0)
  need(args.low.length === x.shape.length && args.high.length === x.shape.length, "low and high need one number per axis")
  const shape = x.shape.map((n, i) => {
    const [low, high] = [dim(args.low, i), dim(args.high, i)]
    need(low >= 0 && high >= 0, `negative padding ${low}, ${high}`)
    return n + low + high
  })
  return { shape, dtype: x.dtype }
}

function concat(args: Args["concat"], inputs: readonly Type[]): Type {
  need(inputs.length >= 1, "nothing to concatenate")
  const first = at(inputs, 0)
  let n = 0
  for (const x of inputs) {
    expectType(x, first.dtype, replaced(first.shape, args.axis, dim(x.shape, args.axis)), "an input")
    n += dim(x.shape, args.axis)
  }
  return { shape: replaced(first.shape, args.axis, n), dtype: first.dtype }
}

function window(args: Args["window"], inputs: readonly Type[]): Type {
  count(inputs, 1)
  const x = at(inputs, 0)
  need(args.size >= 1 && args.stride >= 1 && args.dilation >= 1, "size, stride and dilation are at least 1")
  const n = windowCount(dim(x.shape, args.axis), args.size, args.stride, args.dilation)
  return { shape: checkShape(replaced(x.shape, args.axis, n, args.size)), dtype: x.dtype }
}

function unwindow(args: Args["unwindow"], inputs: readonly Type[]): Type {
  count(inputs, 1)
  const x = at(inputs, 0)
  dtypeIn(x, numeric)
  const [windows, width] = [dim(x.shape, args.axis), dim(x.shape, args.axis + 1)]
  need(windows === windowCount(args.length, width, args.stride, args.dilation), `${windows} windows of ${width} do not come from an axis of ${args.length}`)
  const shape = [...x.shape.slice(0, args.axis), args.length, ...x.shape.slice(args.axis + 2)]
  return { shape, dtype: x.dtype }
}

function dot(args: Args["dot"], inputs: readonly Type[]): Type {
  count(inputs, 2)
  const [a, b] = [at(inputs, 0), at(inputs, 1)]
  dtypeIn(a, ["f32"])
  dtypeIn(b, ["f32"])
  const rank = a.shape.length
  need(rank >= 2 && b.shape.length === rank, `${show(a)} and ${show(b)} need the same rank, at least 2`)
  const lead = a.shape.slice(0, -2)
  need(sameShape(lead, b.shape.slice(0, -2)), `leading axes of ${show(a)} and ${show(b)} differ`)
  const m = dim(a.shape, args.ta ? rank - 1 : rank - 2)
  const k = dim(a.shape, args.ta ? rank - 2 : rank - 1)
  const kb = dim(b.shape, args.tb ? rank - 1 : rank - 2)
  const n = dim(b.shape, args.tb ? rank - 2 : rank - 1)
  need(k === kb, `inner sizes ${k} and ${kb} of ${show(a)} and ${show(b)} differ`)
  return { shape: [...lead, m, n], dtype: "f32" }
}

function gather(_: {}, inputs: readonly Type[]): Type {
  count(inputs, 2)
  const [table, ids] = [at(inputs, 0), at(inputs, 1)]
  dtypeIn(ids, ["i32"], "ids")
  need(table.shape.length >= 1, "the table has no rows")
  return { shape: [...ids.shape, ...table.shape.slice(1)], dtype: table.dtype }
}

function scatterAdd(args: Args["scatter_add"], inputs: readonly Type[]): Type {
  count(inputs, 2)
  const [ids, updates] = [at(inputs, 0), at(inputs, 1)]
  dtypeIn(ids, ["i32"], "ids")
  dtypeIn(updates, numeric, "updates")
  const lead = updates.shape.slice(0, ids.shape.length)
  need(sameShape(lead, ids.shape), `updates ${show(updates)} do not begin with the axes of ids ${show(ids)}`)
  return { shape: checkShape([args.rows, ...updates.shape.slice(ids.shape.length)]), dtype: updates.dtype }
}

function take(_: {}, inputs: readonly Type[]): Type {
  count(inputs, 2)
  const [x, ids] = [at(inputs, 0), at(inputs, 1)]
  dtypeIn(ids, ["i32"], "ids")
  need(x.shape.length >= 1 && sameShape(x.shape.slice(0, -1), ids.shape.slice(0, -1)) && ids.shape.length === x.shape.length, `leading axes of ${show(x)} and ids ${show(ids)} differ`)
  return { shape: ids.shape, dtype: x.dtype }
}

function putAdd(args: Args["put_add"], inputs: readonly Type[]): Type {
  count(inputs, 2)
  const [ids, updates] = [at(inputs, 0), at(inputs, 1)]
  dtypeIn(updates, numeric, "updates")
  need(ids.shape.length >= 1, "ids have no last axis")
  expectType(ids, "i32", updates.shape, "ids")
  return { shape: checkShape([...ids.shape.slice(0, -1), args.n]), dtype: updates.dtype }
}

function random(args: Args["random"], inputs: readonly Type[]): Type {
  count(inputs, 3)
  expectType(at(inputs, 0), "i32", [], "the seed")
  expectType(at(inputs, 1), "i32", [], "the step")
  expectType(at(inputs, 2), "i32", [dim(args.shape, 0)], "the row indices")
  return { shape: checkShape(args.shape), dtype: "f32" }
}

function checkBody(body: Body, carries: number, inputs: readonly Type[], trips: number): void {
  need(body.inputs.length === inputs.length, `the body takes ${body.inputs.length} inputs instead of ${inputs.length}`)
  need(carries <= inputs.length && carries <= body.outputs.length, `${carries} carries`)
  inputs.forEach((x, i) => {
    const name = i < carries ? `carry${i}` : `x${i - carries}`
    const inner = body.inputs[i]
    need(inner?.op === "input" && inner.args.name === name, `input ${i} of the body is not called ${name}`)
    if (i >= carries) need(x.shape[0] === trips, `${name} is ${show(x)}, not ${trips} trips long`)
    expectType(inner, x.dtype, i < carries ? x.shape : x.shape.slice(1), `${name} in the body`)
    if (i < carries) expectType(at(body.outputs, i), x.dtype, x.shape, `the next ${name}`)
  })
}

function scan(args: Args["scan"], inputs: readonly Type[]): Type {
  need(Number.isInteger(args.trips) && args.trips >= 1, `${args.trips} trips`)
  checkBody(args.body, args.carries, inputs, args.trips)
  const out = at(args.body.outputs, args.output)
  return { shape: args.output < args.carries ? out.shape : [args.trips, ...out.shape], dtype: out.dtype }
}

function norm(parameters: number): (args: {}, inputs: readonly Type[]) => Type {
  return (_, inputs) => {
    count(inputs, 1 + parameters)
    const x = at(inputs, 0)
    dtypeIn(x, ["f32"])
    const d = dim(x.shape, x.shape.length - 1)
    for (let i = 1; i <= parameters; i++) expectType(at(inputs, i), "f32", [d], `parameter ${i}`)
    return { shape: x.shape, dtype: "f32" }
  }
}

function normGrad(args: { readonly wrt: number }, inputs: readonly Type[]): Type {
  count(inputs, 3)
  const x = at(inputs, 0)
  norm(1)({}, inputs.slice(0, 2))
  expectType(at(inputs, 2), "f32", x.shape, "the upstream gradient")
  return { shape: args.wrt === 0 ? x.shape : x.shape.slice(-1), dtype: "f32" }
}

function lastAxis(_: {}, inputs: readonly Type[]): Type {
  count(inputs, 1)
  const x = at(inputs, 0)
  dtypeIn(x, ["f32"])
  need(x.shape.length >= 1, "no last axis")
  return { shape: x.shape, dtype: "f32" }
}

function crossEntropy(upstream: boolean): (args: {}, inputs: readonly Type[]) => Type {
  return (_, inputs) => {
    count(inputs, upstream ? 3 : 2)
    const logits = at(inputs, 0)
    need(logits.dtype === "f32" && logits.shape.length === 2, `logits are ${show(logits)}, not f32[n, v]`)
    const n = [dim(logits.shape, 0)]
    expectType(at(inputs, 1), "i32", n, "labels")
    if (upstream) expectType(at(inputs, 2), "f32", n, "the upstream gradient")
    return { shape: upstream ? logits.shape : n, dtype: "f32" }
  }
}

function rope(_: Args["rope"], inputs: readonly Type[]): Type {
  count(inputs, 2)
  const x = at(inputs, 0)
  need(x.dtype === "f32" && x.shape.length === 4 && dim(x.shape, 3) % 2 === 0, `${show(x)} is not f32[b, h, t, even]`)
  expectType(at(inputs, 1), "i32", [dim(x.shape, 0), dim(x.shape, 2)], "positions")
  return { shape: x.shape, dtype: "f32" }
}

function put({ axis, format }: Args["put"], inputs: readonly Type[]): Type {
  count(inputs, 3)
  const [x, fresh] = [at(inputs, 0), at(inputs, 1)]
  need(format === undefined || x.dtype === "f32", `${show(x)} is not rounded to ${format}`)
  need(axis >= 1, "places are taken along an axis after the first")
  expectType(fresh, x.dtype, replaced(x.shape, axis, dim(fresh.shape, axis)), "what is put")
  expectType(at(inputs, 2), "i32", [dim(x.shape, 0)], "the offset")
  return x
}

/** Where the optional inputs of `attend` stand; -1 for those that are absent. */
export interface AttendInputs {
  readonly queryIds: number
  readonly keyIds: number
  readonly offset: number
  readonly bias: number
  readonly count: number
}

export function attendInputs(args: AttendArgs): AttendInputs {
  let next = 3
  const queryIds = args.segmented ? next++ : -1
  const keyIds = args.segmented ? next++ : -1
  const offset = args.offset ? next++ : -1
  const bias = args.biased ? next++ : -1
  return { queryIds, keyIds, offset, bias, count: next }
}

function attend(args: AttendArgs, inputs: readonly Type[]): Type {
  const places = attendInputs(args)
  count(inputs, places.count)
  const [q, k, v] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)]
  for (const x of [q, k, v]) need(x.dtype === "f32" && x.shape.length === 4, `${show(x)} is not f32 of rank 4`)
  const [b, h, t, d] = [dim(q.shape, 0), dim(q.shape, 1), dim(q.shape, 2), dim(q.shape, 3)]
  const [g, s, e] = [dim(k.shape, 1), dim(k.shape, 2), dim(v.shape, 3)]
  need(h % g === 0, `${h} heads cannot share ${g} key/value heads`)
  need(args.window === null || args.window >= 1, `a window of ${args.window}`)
  expectType(k, "f32", [b, g, s, d], "the keys")
  expectType(v, "f32", [b, g, s, e], "the values")
  if (args.segmented) {
    expectType(at(inputs, places.queryIds), "i32", [b, t], "query segments")
    expectType(at(inputs, places.keyIds), "i32", [b, s], "key segments")
  }
  if (args.offset) expectType(at(inputs, places.offset), "i32", [b], "the offset")
  if (args.biased) {
    const bias = at(inputs, places.bias)
    expectType(bias, "f32", [bias.shape[0] === 1 ? 1 : b, h, t, s], "the bias")
  }
  return { shape: [b, h, t, e], dtype: "f32" }
}

function attendGrad(args: Args["attend_grad"], inputs: readonly Type[]): Type {
  const out = attend(args, inputs.slice(0, -1))
  expectType(at(inputs, inputs.length - 1), "f32", out.shape, "the upstream gradient")
  need(args.wrt !== 3 || args.biased, "the gradient by a bias that is not there")
  return { shape: at(inputs, args.wrt === 3 ? attendInputs(args).bias : args.wrt).shape, dtype: "f32" }
}

function leaf(inputs: readonly Type[], shape: Shape, dtype: DType): Type {
  count(inputs, 0)
  return { shape: checkShape(shape), dtype }
}

const f32 = unary(["f32"])
const truth = unary(["bool"])

export const shapeRules: ShapeRules = {
  input: (a, inputs) => {
    need(a.stored === undefined || holds(a.stored, a.dtype), `${a.dtype} is not stored as ${a.stored}`)
    return leaf(inputs, a.shape, a.dtype)
  },
  fill: (a, inputs) => leaf(inputs, a.shape, a.dtype),
  literal: (a, inputs) => {
    need(a.values.length === size(a.shape), `${a.values.length} values for [${a.shape.join(", ")}]`)
    return leaf(inputs, a.shape, a.dtype)
  },
  iota: (a, inputs) => {
    dim(a.shape, a.axis)
    return leaf(inputs, a.shape, "i32")
  },
  random,
  neg: unary(numeric), abs: unary(numeric), sign: unary(numeric),
  exp: f32, log: f32, sqrt: f32, rsqrt: f32, sin: f32, cos: f32, tanh: f32, erf: f32, sigmoid: f32, floor: f32, round: f32,
  not: truth,
  cast: (a, inputs) => ({ shape: unary(any)({}, inputs).shape, dtype: a.dtype }),
  narrow: f32,
  stop_gradient: unary(any),
  add: binary(numeric), sub: binary(numeric), mul: binary(numeric), div: binary(numeric), mod: binary(numeric),
  max: binary(numeric), min: binary(numeric), pow: binary(["f32"]),
  lt: binary(numeric, "bool"), le: binary(numeric, "bool"), eq: binary(any, "bool"),
  and: binary(["bool"]), or: binary(["bool"]),
  select: (_, inputs) => {
    count(inputs, 3)
    const [condition, yes, no] = [at(inputs, 0), at(inputs, 1), at(inputs, 2)]
    expectType(condition, "bool", yes.shape, "the condition")
    expectType(no, yes.dtype, yes.shape, "the second choice")
    return { shape: yes.shape, dtype: yes.dtype }
  },
  reshape: (a, inputs) => {
    const x = unary(any)({}, inputs)
    need(size(a.shape) === size(x.shape), `${show(x)} does not fill [${a.shape.join(", ")}]`)
    return { shape: checkShape(a.shape), dtype: x.dtype }
  },
  permute: (a, inputs) => {
    const x = unary(any)({}, inputs)
    need(a.axes.length === x.shape.length, `${a.axes.length} axes for ${show(x)}`)
    checkAxes(x.shape, a.axes)
    return { shape: a.axes.map((axis) => dim(x.shape, axis)), dtype: x.dtype }
  },
  broadcast: (a, inputs) => {
    const x = unary(any)({}, inputs)
    need(a.shape.length === x.shape.length && x.shape.every((n, i) => n === 1 || n === a.shape[i]), `${show(x)} does not broadcast to [${a.shape.join(", ")}]`)
    return { shape: checkShape(a.shape), dtype: x.dtype }
  },
  slice, pad, concat,
  reverse: (a, inputs) => {
    const x = unary(any)({}, inputs)
    checkAxes(x.shape, a.axes)
    return x
  },
  window, unwindow,
  sum: (a, inputs) => {
    const x = unary(numeric)({}, inputs)
    return { shape: reduced(x, a.axes), dtype: x.dtype }
  },
  max_of: (a, inputs) => {
    const x = unary(numeric)({}, inputs)
    return { shape: reduced(x, a.axes), dtype: x.dtype }
  },
  argmax: (a, inputs) => ({ shape: reduced(unary(numeric)({}, inputs), [a.axis]), dtype: "i32" }),
  cumsum: (a, inputs) => {
    const x = unary(numeric)({}, inputs)
    dim(x.shape, a.axis)
    return x
  },
  dot, gather, scatter_add: scatterAdd, take, put_add: putAdd,
  top_k: (a, inputs) => {
    const x = unary(numeric)({}, inputs)
    const last = x.shape.length - 1
    need(a.k >= 1 && a.k <= dim(x.shape, last), `the ${a.k} largest of ${show(x)}`)
    return { shape: replaced(x.shape, last, a.k), dtype: "i32" }
  },
  scan,
  softmax: lastAxis, log_softmax: lastAxis,
  cross_entropy: crossEntropy(false), cross_entropy_grad: crossEntropy(true),
  rms_norm: norm(1), rms_norm_grad: normGrad,
  layer_norm: norm(2), layer_norm_grad: normGrad,
  rope, put, attend, attend_grad: attendGrad,
}
