/**
 * Small graphs for every op, with inputs. The same table serves the devices (against the reference) and the gradient rules
 * (against finite differences), so its type demands an entry for each op.
 */
import type { CaseInputs } from "./case-inputs.ts"
import type { AttendArgs, DType, Factors, Node, Op, Shape } from "./node.ts"
import * as g from "./ops.ts"

/** The outputs of a case. */
export type CaseGraph = (c: CaseInputs) => readonly Node[]

export interface OpCases {
  /** Differentiable at these inputs, where the op has a gradient at all. */
  readonly smooth: readonly CaseGraph[]
  /** Ties, kinks, ends of ranges: values only. */
  readonly edge?: readonly CaseGraph[]
  /** Rounded on the way, so that gradients are no derivatives and a last bit may become one of bf16: values and gradients, loosely. */
  readonly rounded?: readonly CaseGraph[]
  /** Values must be equal to the bit. */
  readonly exact?: boolean
}

const shapes: readonly Shape[] = [[], [1], [13], [3, 5], [2, 1, 7], [2, 3, 4, 5]]

type Unary = "neg" | "abs" | "sign" | "exp" | "log" | "sqrt" | "rsqrt" | "sin" | "cos" | "tanh" | "erf" | "sigmoid" | "floor" | "round"
type Binary = "add" | "sub" | "mul" | "div" | "pow" | "mod" | "max" | "min" | "lt" | "le" | "eq"

const make = (c: CaseInputs, op: Unary | Binary | "not" | "and" | "or", ...inputs: readonly Node[]): Node => c.b.make<typeof op>(op, {}, inputs) as Node

function unary(op: Unary, low: number, high: number): CaseGraph {
  return (c) => shapes.map((shape) => make(c, op, c.f32(shape, low, high)))
}

function unaryAt(op: Unary, ...values: readonly number[]): CaseGraph {
  return (c) => [make(c, op, c.given(values))]
}

function binary(op: Binary, low: number, high: number, low2 = low, high2 = high): CaseGraph {
  return (c) => shapes.map((shape) => make(c, op, c.f32(shape, low, high), c.f32(shape, low2, high2)))
}

/** Pairs of values, as f32 and, where they are whole, as i32. */
function binaryAt(op: Binary, dtype: DType, ...pairs: readonly (readonly [number, number])[]): CaseGraph {
  return (c) => [make(c, op, c.given(pairs.map(([x]) => x), [pairs.length], dtype), c.given(pairs.map(([, y]) => y), [pairs.length], dtype))]
}

const wholePairs = [[7, 3], [-7, 3], [7, -3], [-7, -3], [6, 3], [-6, 3], [0, 5], [1, 1], [2, 9], [-2, 9]] as const
const tiedPairs = [[1, 1], [0, 0], [-2, -2], [1, 2], [2, 1]] as const

function attendCase(sizes: { b: number; h: number; g: number; t: number; s: number; d: number; e: number }, options: Partial<AttendArgs>, sharedBias = false): { inputs: (c: CaseInputs) => Node[]; args: AttendArgs } {
  const { b, h, t, s, d, e } = sizes
  const args: AttendArgs = { scale: 0.4, causal: false, window: null, segmented: false, offset: false, biased: false, factors: "f32", ...options }
  const inputs = (c: CaseInputs): Node[] => [
    c.f32([b, h, t, d], -2, 2), c.f32([b, sizes.g, s, d], -2, 2), c.f32([b, sizes.g, s, e], -2, 2),
    ...(args.segmented ? [segments(c, b, t, t), segments(c, b, s, t)] : []),
    ...(args.offset ? [c.given(Array.from({ length: b }, (_, i) => (s - t > i ? i : 0)), [b], "i32")] : []),
    ...(args.biased ? [c.f32([sharedBias ? 1 : b, h, t, s])] : []),
  ]
  return { inputs, args }
}

/** Segments 0, 0, 1, 1, 1, … and padding (-1) at the end of every second row. */
function segments(c: CaseInputs, rows: number, n: number, queries: number): Node {
  const cut = Math.max(1, Math.floor(queries / 3))
  const values = Array.from({ length: rows * n }, (_, i) => (Math.floor(i / n) % 2 === 1 && i % n >= n - 1 && n > 1 ? -1 : i % n < cut ? 0 : 1))
  return c.given(values, [rows, n], "i32")
}

const attendCases = [
  attendCase({ b: 1, h: 1, g: 1, t: 1, s: 1, d: 1, e: 1 }, {}),
  attendCase({ b: 2, h: 3, g: 3, t: 5, s: 5, d: 4, e: 4 }, { causal: true }),
  attendCase({ b: 2, h: 4, g: 2, t: 3, s: 7, d: 2, e: 3 }, { causal: true, window: 2 }),
  attendCase({ b: 1, h: 6, g: 2, t: 7, s: 7, d: 3, e: 5 }, { window: 3 }),
  attendCase({ b: 3, h: 2, g: 1, t: 7, s: 7, d: 2, e: 2 }, { causal: true, segmented: true }),
  attendCase({ b: 3, h: 2, g: 2, t: 1, s: 9, d: 4, e: 4 }, { causal: true, offset: true }),
  attendCase({ b: 2, h: 2, g: 1, t: 4, s: 6, d: 2, e: 3 }, { causal: true, window: 3, segmented: true, offset: true, biased: true }),
  attendCase({ b: 2, h: 2, g: 2, t: 5, s: 3, d: 2, e: 2 }, { biased: true }, true),
  // More queries than keys: the first queries see nothing.
  attendCase({ b: 1, h: 2, g: 1, t: 5, s: 3, d: 2, e: 2 }, { causal: true }),
]

/** Sizes that fill no tile, one tile and several, in every combination of what is masked. */
const roundedAttendCases = [
  ...attendCases.map(({ inputs, args }) => ({ inputs, args: { ...args, factors: "bf16" as const } })),
  attendCase({ b: 1, h: 2, g: 2, t: 32, s: 32, d: 32, e: 32 }, { causal: true, factors: "bf16" }),
  attendCase({ b: 2, h: 2, g: 1, t: 37, s: 37, d: 19, e: 35 }, { causal: true, segmented: true, factors: "bf16" }),
  attendCase({ b: 1, h: 3, g: 1, t: 65, s: 97, d: 64, e: 16 }, { causal: true, window: 40, factors: "bf16" }),
  attendCase({ b: 2, h: 1, g: 1, t: 17, s: 131, d: 8, e: 67 }, { window: 50, biased: true, offset: true, factors: "bf16" }, true),
]

const attended = ({ inputs, args }: (typeof attendCases)[number]): CaseGraph => (c) => [c.b.make("attend", args, inputs(c))]

function attendGrads(c: CaseInputs, { inputs, args }: (typeof attendCases)[number]): Node[] {
  const given = inputs(c)
  const [q, , v] = given
  const upstream = c.f32([...(q?.shape.slice(0, 3) ?? []), v?.shape[3] ?? 1])
  const wrt = args.biased ? ([0, 1, 2, 3] as const) : ([0, 1, 2] as const)
  return wrt.map((i) => c.b.make("attend_grad", { ...args, wrt: i }, [...given, upstream]))
}

function scanCase(c: CaseInputs, trips: number): Node[] {
  const weight = c.f32([3, 3])
  const last = g.scan(c.b, trips, [c.f32([2, 3]), weight, c.given([0], [], "i32")], [c.f32([trips, 2, 3])], (b, carries, xs) => {
    const [state, w, count] = carries
    const [x] = xs
    if (!state || !w || !count || !x) throw new Error("conformance: scan")
    const next = g.tanh(b, g.add(b, g.dot(b, state, w), g.mul(b, x, g.cast(b, count, "f32"))))
    return { carries: [next, w, g.add(b, count, 1)], results: [g.mul(b, next, x)] }
  })
  return [...last.carries.slice(0, 1), ...last.results]
}

const norms: readonly Shape[] = [[1], [7], [3, 5], [2, 3, 8]]
const lasts: readonly Shape[] = [[1], [7], [3, 5], [2, 3, 17]]

function labels(c: CaseInputs, n: number, v: number): Node {
  return c.given(Array.from({ length: n }, (_, i) => (i % 3 === 2 ? -1 : (i * 5) % v)), [n], "i32")
}

/** A dot of every kind of storage; `lead` axes are batches. */
function dots(lead: Shape, m: number, k: number, n: number, factors: Factors = "f32"): CaseGraph {
  return (c) => [false, true].flatMap((ta) => [false, true].map((tb) =>
    c.b.make("dot", { ta, tb, factors }, [c.f32([...lead, ...(ta ? [k, m] : [m, k])]), c.f32([...lead, ...(tb ? [n, k] : [k, n])])])))
}

/** Sizes around those of tiles: ones, primes, multiples and one more. */
const roundedDots: readonly CaseGraph[] = [
  [[], 1, 1, 1], [[], 3, 5, 2], [[2, 3], 5, 4, 3], [[], 16, 32, 16], [[], 17, 33, 19], [[3], 32, 64, 32], [[], 64, 67, 130], [[], 97, 31, 7], [[5], 33, 16, 40], [[], 101, 257, 53], [[], 5, 1, 61],
].map(([lead, m, k, n]) => dots(lead as Shape, Number(m), Number(k), Number(n), "bf16"))

export const opCases: { readonly [O in Op]: OpCases } = {
  input: { exact: true, smooth: [(c) => [c.f32([3]), c.i32([2, 2], -5, 5), c.bool([4])]] },
  fill: { exact: true, smooth: [({ b }) => [g.fill(b, 1.5, [3, 2]), g.fill(b, -7, [], "i32"), g.fill(b, 1, [5], "bool")]] },
  literal: { exact: true, smooth: [({ b }) => [g.literal(b, [1, -2.5, 3e-20, 4, 5, 6], [3, 2]), g.literal(b, [3, -4], [2], "i32"), g.literal(b, [1, 0, 1], [3], "bool")]] },
  iota: { exact: true, smooth: [({ b }) => [g.iota(b, [7]), g.iota(b, [2, 3, 5], 1), g.iota(b, [2, 3, 5], 2), g.iota(b, [3, 1], 0)]] },
  random: {
    exact: true,
    smooth: [[1], [3], [5, 7], [2, 3, 4]].map((shape): CaseGraph => (c) => [
      c.b.make("random", { shape, stream: 0x9e3779b9 }, [c.given([42], [], "i32"), c.given([-3], [], "i32"), c.i32([shape[0] ?? 1], 0, 100000)]),
    ]),
  },
  neg: { exact: true, smooth: [unary("neg", -3, 3)], edge: [(c) => [make(c, "neg", c.i32([5], -9, 9))]] },
  abs: { exact: true, smooth: [unary("abs", -3, 3)], edge: [unaryAt("abs", 0, -1), (c) => [make(c, "abs", c.i32([5], -9, 9))]] },
  sign: { exact: true, smooth: [unary("sign", -3, 3)], edge: [unaryAt("sign", 0, -1, 1e-30), (c) => [make(c, "sign", c.given([-3, 0, 4], [3], "i32"))]] },
  exp: { smooth: [unary("exp", -6, 4)], edge: [unaryAt("exp", 0, -80, 80, -1e30)] },
  log: { smooth: [unary("log", 0.1, 9)], edge: [unaryAt("log", 1, 1e-30, 1e30)] },
  sqrt: { smooth: [unary("sqrt", 0.1, 9)], edge: [unaryAt("sqrt", 0, 1, 4, 1e-20, 1e20)] },
  rsqrt: { smooth: [unary("rsqrt", 0.1, 9)], edge: [unaryAt("rsqrt", 1, 4, 1e-20, 1e20)] },
  sin: { smooth: [unary("sin", -7, 7)], edge: [unaryAt("sin", 0, 100, 1000)] },
  cos: { smooth: [unary("cos", -7, 7)], edge: [unaryAt("cos", 0, 100, 1000)] },
  tanh: { smooth: [unary("tanh", -4, 4)], edge: [unaryAt("tanh", 0, 30, -30, 1e-6)] },
  erf: { smooth: [unary("erf", -3, 3)], edge: [unaryAt("erf", 0, 5, -5, 0.01, 30)] },
  sigmoid: { smooth: [unary("sigmoid", -8, 8)], edge: [unaryAt("sigmoid", 0, 60, -60)] },
  floor: { exact: true, smooth: [unary("floor", -5, 5)], edge: [unaryAt("floor", 0, 2, -2, -0.5, 8388609)] },
  round: { exact: true, smooth: [unary("round", -5, 5)], edge: [unaryAt("round", 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 3, 8388609)] },
  not: { exact: true, smooth: [(c) => [make(c, "not", c.bool([9])), make(c, "not", c.bool([]))]] },
  cast: {
    exact: true,
    smooth: [(c) => shapes.map((shape) => c.b.make("cast", { dtype: "f32" }, [c.f32(shape)]))],
    edge: [
      (c) => (["i32", "bool", "f32"] as const).map((dtype) => c.b.make("cast", { dtype }, [c.given([0, 1.9, -1.9, 2.5, -0.2, 100000])])),
      (c) => (["f32", "bool", "i32"] as const).map((dtype) => c.b.make("cast", { dtype }, [c.given([0, 1, -7], [3], "i32")])),
      (c) => (["f32", "i32"] as const).map((dtype) => c.b.make("cast", { dtype }, [c.bool([6])])),
    ],
  },
  narrow: {
    exact: true,
    smooth: [],
    edge: [(c) => {
      const x = c.given([0, 1, -1, 1 / 3, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 65504, 65519, 1e5, 2 ** -14, 2 ** -24, 3 * 2 ** -26, 2 ** -26, -2.7182817, 3e38])
      return [c.b.make("narrow", { format: "f16" }, [x]), c.b.make("narrow", { format: "bf16" }, [x]), c.b.make("narrow", { format: "bf16" }, [c.f32([4, 7], -9, 9)])]
    }],
  },
  stop_gradient: { exact: true, smooth: [(c) => [c.b.make("stop_gradient", {}, [c.f32([3, 2])])]] },
  add: { exact: true, smooth: [binary("add", -3, 3)], edge: [binaryAt("add", "i32", ...wholePairs)] },
  sub: { exact: true, smooth: [binary("sub", -3, 3)], edge: [binaryAt("sub", "i32", ...wholePairs)] },
  mul: { exact: true, smooth: [binary("mul", -3, 3)], edge: [binaryAt("mul", "i32", ...wholePairs)] },
  div: { smooth: [binary("div", -3, 3, 0.3, 4), binary("div", -3, 3, -4, -0.3)], edge: [binaryAt("div", "i32", ...wholePairs)] },
  pow: {
    smooth: [binary("pow", 0.2, 3, -2, 3), (c) => [2, 3, 0.5, -1.5].map((n) => g.pow(c.b, c.f32([5], 0.3, 2), n))],
    edge: [binaryAt("pow", "f32", [2, 0], [0, 2], [4, 0.5], [9, -0.5], [1, 7])],
  },
  max: { exact: true, smooth: [binary("max", -3, 3)], edge: [binaryAt("max", "f32", ...tiedPairs), binaryAt("max", "i32", ...wholePairs)] },
  min: { exact: true, smooth: [binary("min", -3, 3)], edge: [binaryAt("min", "f32", ...tiedPairs), binaryAt("min", "i32", ...wholePairs)] },
  mod: { smooth: [binary("mod", -3, 3, 0.7, 2), binary("mod", -3, 3, -2, -0.7)], edge: [binaryAt("mod", "i32", ...wholePairs), binaryAt("mod", "f32", ...wholePairs)] },
  lt: { exact: true, smooth: [binary("lt", -3, 3)], edge: [binaryAt("lt", "f32", ...tiedPairs), binaryAt("lt", "i32", ...wholePairs)] },
  le: { exact: true, smooth: [binary("le", -3, 3)], edge: [binaryAt("le", "f32", ...tiedPairs), binaryAt("le", "i32", ...wholePairs)] },
  eq: { exact: true, smooth: [binary("eq", -3, 3)], edge: [binaryAt("eq", "f32", ...tiedPairs), binaryAt("eq", "i32", ...wholePairs), (c) => [c.b.make("eq", {}, [c.bool([9]), c.bool([9])])]] },
  and: { exact: true, smooth: [(c) => [make(c, "and", c.bool([9]), c.bool([9])), make(c, "and", c.bool([]), c.bool([]))]] },
  or: { exact: true, smooth: [(c) => [make(c, "or", c.bool([9]), c.bool([9])), make(c, "or", c.bool([]), c.bool([]))]] },
  select: {
    exact: true,
    smooth: [(c) => shapes.map((shape) => c.b.make("select", {}, [c.bool(shape), c.f32(shape), c.f32(shape)]))],
    edge: [(c) => [c.b.make("select", {}, [c.bool([7]), c.i32([7], -9, 9), c.i32([7], -9, 9)]), c.b.make("select", {}, [c.bool([7]), c.bool([7]), c.bool([7])])]],
  },
  reshape: {
    exact: true,
    smooth: [(c) => [c.b.make("reshape", { shape: [15] }, [c.f32([3, 5])]), c.b.make("reshape", { shape: [1, 1] }, [c.f32([])]), c.b.make("reshape", { shape: [3, 2, 4] }, [c.f32([4, 6])])]],
    edge: [(c) => [c.b.make("reshape", { shape: [2, 3] }, [c.i32([6], -9, 9)]), c.b.make("reshape", { shape: [6] }, [c.bool([2, 3])])]],
  },
  permute: {
    exact: true,
    smooth: [(c) => [[1, 0], [2, 0, 1], [0, 2, 1, 3], [3, 2, 1, 0]].map((axes) => c.b.make("permute", { axes }, [c.f32([3, 5, 2, 7].slice(0, axes.length))]))],
    edge: [(c) => [c.b.make("permute", { axes: [1, 0] }, [c.i32([3, 4], -9, 9)]), c.b.make("permute", { axes: [1, 0] }, [c.bool([3, 4])])]],
  },
  broadcast: {
    exact: true,
    smooth: [(c) => [
      c.b.make("broadcast", { shape: [7] }, [c.f32([1])]), c.b.make("broadcast", { shape: [3, 5] }, [c.f32([3, 1])]),
      c.b.make("broadcast", { shape: [3, 5] }, [c.f32([1, 5])]), c.b.make("broadcast", { shape: [2, 3, 4, 5] }, [c.f32([1, 3, 1, 5])]),
    ]],
    edge: [(c) => [c.b.make("broadcast", { shape: [3, 2] }, [c.i32([1, 2], -9, 9)]), c.b.make("broadcast", { shape: [3, 2] }, [c.bool([3, 1])])]],
  },
  slice: {
    exact: true,
    smooth: [(c) => [
      c.b.make("slice", { start: [2], stop: [6], step: [1] }, [c.f32([7])]), c.b.make("slice", { start: [1, 0], stop: [3, 5], step: [1, 2] }, [c.f32([3, 5])]),
      c.b.make("slice", { start: [0, 1, 0], stop: [2, 7, 3], step: [1, 3, 2] }, [c.f32([2, 8, 3])]), c.b.make("slice", { start: [1], stop: [2], step: [5] }, [c.f32([9])]),
    ]],
    edge: [(c) => [c.b.make("slice", { start: [1], stop: [5], step: [2] }, [c.i32([7], -9, 9)])]],
  },
  pad: {
    exact: true,
    smooth: [(c) => [
      c.b.make("pad", { low: [2], high: [1], value: 0 }, [c.f32([3])]), c.b.make("pad", { low: [0, 1], high: [2, 0], value: -1.5 }, [c.f32([3, 5])]),
      c.b.make("pad", { low: [1, 0, 1], high: [0, 0, 2], value: 3 }, [c.f32([2, 3, 1])]),
    ]],
    edge: [(c) => [c.b.make("pad", { low: [1], high: [1], value: 9 }, [c.i32([3], -9, 9)]), c.b.make("pad", { low: [1], high: [1], value: 1 }, [c.bool([3])])]],
  },
  concat: {
    exact: true,
    smooth: [(c) => [
      c.b.make("concat", { axis: 0 }, [c.f32([3]), c.f32([1]), c.f32([5])]), c.b.make("concat", { axis: 1 }, [c.f32([2, 3]), c.f32([2, 1])]),
      c.b.make("concat", { axis: 1 }, [c.f32([2, 3, 2]), c.f32([2, 5, 2])]), c.b.make("concat", { axis: 0 }, [c.f32([4])]),
    ]],
    edge: [(c) => [c.b.make("concat", { axis: 0 }, [c.i32([2, 2], -9, 9), c.i32([1, 2], -9, 9)])]],
  },
  reverse: {
    exact: true,
    smooth: [(c) => [c.b.make("reverse", { axes: [0] }, [c.f32([7])]), c.b.make("reverse", { axes: [1] }, [c.f32([3, 5])]), c.b.make("reverse", { axes: [0, 2] }, [c.f32([2, 3, 4])])]],
    edge: [(c) => [c.b.make("reverse", { axes: [0] }, [c.i32([5], -9, 9)])]],
  },
  window: {
    exact: true,
    smooth: [(c) => [
      c.b.make("window", { axis: 0, size: 3, stride: 1, dilation: 1 }, [c.f32([7])]), c.b.make("window", { axis: 1, size: 2, stride: 2, dilation: 1 }, [c.f32([2, 7, 3])]),
      c.b.make("window", { axis: 1, size: 3, stride: 2, dilation: 2 }, [c.f32([1, 11])]), c.b.make("window", { axis: 0, size: 5, stride: 1, dilation: 1 }, [c.f32([5, 2])]),
    ]],
  },
  unwindow: {
    smooth: [(c) => [
      c.b.make("unwindow", { axis: 0, length: 7, stride: 1, dilation: 1 }, [c.f32([5, 3])]), c.b.make("unwindow", { axis: 1, length: 7, stride: 2, dilation: 1 }, [c.f32([2, 3, 2, 3])]),
      c.b.make("unwindow", { axis: 1, length: 11, stride: 2, dilation: 2 }, [c.f32([1, 4, 3])]), c.b.make("unwindow", { axis: 0, length: 6, stride: 3, dilation: 1 }, [c.f32([2, 2])]),
    ]],
  },
  sum: {
    smooth: [(c) => [
      c.b.make("sum", { axes: [0] }, [c.f32([13])]), c.b.make("sum", { axes: [0] }, [c.f32([3, 5])]), c.b.make("sum", { axes: [1] }, [c.f32([3, 5])]),
      c.b.make("sum", { axes: [0, 2] }, [c.f32([2, 3, 4])]), c.b.make("sum", { axes: [1, 2, 3] }, [c.f32([2, 3, 1, 7])]), c.b.make("sum", { axes: [0] }, [c.f32([1])]),
    ]],
    edge: [(c) => [c.b.make("sum", { axes: [1] }, [c.i32([3, 5], -9, 9)]), c.b.make("sum", { axes: [0, 1] }, [c.f32([61, 67])])]],
  },
  max_of: {
    exact: true,
    smooth: [(c) => [
      c.b.make("max_of", { axes: [0] }, [c.f32([13])]), c.b.make("max_of", { axes: [0] }, [c.f32([3, 5])]), c.b.make("max_of", { axes: [1] }, [c.f32([3, 5], -9, -1)]),
      c.b.make("max_of", { axes: [0, 2] }, [c.f32([2, 3, 4])]),
    ]],
    edge: [(c) => [c.b.make("max_of", { axes: [1] }, [c.i32([3, 5], -9, 9)])]],
  },
  argmax: {
    exact: true,
    smooth: [(c) => [c.b.make("argmax", { axis: 0 }, [c.f32([13])]), c.b.make("argmax", { axis: 0 }, [c.f32([3, 5])]), c.b.make("argmax", { axis: 1 }, [c.f32([2, 7, 3])])]],
    edge: [(c) => [c.b.make("argmax", { axis: 1 }, [c.given([1, 2, 2, 0, 0, 0], [2, 3])]), c.b.make("argmax", { axis: 0 }, [c.i32([9], -3, 3)])]],
  },
  cumsum: {
    smooth: [(c) => [false, true].flatMap((reverse) => [
      c.b.make("cumsum", { axis: 0, reverse }, [c.f32([13])]), c.b.make("cumsum", { axis: 0, reverse }, [c.f32([3, 5])]), c.b.make("cumsum", { axis: 1, reverse }, [c.f32([2, 7, 3])]),
    ])],
    edge: [(c) => [c.b.make("cumsum", { axis: 0, reverse: false }, [c.i32([5], -9, 9)])]],
  },
  dot: { smooth: [dots([], 1, 1, 1), dots([], 3, 5, 2), dots([3], 7, 2, 5), dots([2, 3], 1, 4, 3)], edge: [dots([], 17, 33, 19), dots([], 64, 67, 130), dots([5], 33, 16, 40)], rounded: roundedDots },
  gather: {
    exact: true,
    smooth: [(c) => [
      g.gather(c.b, c.f32([5, 3]), c.given([0, 4, 2, 4], [4], "i32")), g.gather(c.b, c.f32([7]), c.given([6, 0, 3, 3, 1, 0], [2, 3], "i32")),
      g.gather(c.b, c.f32([3, 2, 2]), c.given([1], [], "i32")), g.gather(c.b, c.f32([5, 3]), c.given([-1, 5, 2, 100], [2, 2], "i32")),
    ]],
    edge: [(c) => [g.gather(c.b, c.i32([5, 2], -9, 9), c.given([3, -1], [2], "i32"))]],
  },
  scatter_add: {
    smooth: [(c) => [
      c.b.make("scatter_add", { rows: 5 }, [c.given([0, 4, 2, 4], [4], "i32"), c.f32([4, 3])]), c.b.make("scatter_add", { rows: 7 }, [c.given([6, 0, 3, 3, 1, 0], [2, 3], "i32"), c.f32([2, 3])]),
      c.b.make("scatter_add", { rows: 3 }, [c.given([1], [], "i32"), c.f32([2, 2])]), c.b.make("scatter_add", { rows: 5 }, [c.given([-1, 5, 2, 100], [2, 2], "i32"), c.f32([2, 2, 3])]),
    ]],
  },
  take: {
    exact: true,
    smooth: [(c) => [
      c.b.make("take", {}, [c.f32([7]), c.given([6, 0, 0], [3], "i32")]), c.b.make("take", {}, [c.f32([3, 5]), c.given([0, 4, 2, 2, -1, 5], [3, 2], "i32")]),
      c.b.make("take", {}, [c.f32([2, 2, 3]), c.i32([2, 2, 1], 0, 3)]),
    ]],
    edge: [(c) => [c.b.make("take", {}, [c.i32([2, 5], -9, 9), c.i32([2, 3], 0, 5)])]],
  },
  put_add: {
    smooth: [(c) => [
      c.b.make("put_add", { n: 7 }, [c.given([6, 0, 0], [3], "i32"), c.f32([3])]), c.b.make("put_add", { n: 5 }, [c.given([0, 4, 2, 2, -1, 5], [3, 2], "i32"), c.f32([3, 2])]),
      c.b.make("put_add", { n: 3 }, [c.i32([2, 2, 1], 0, 3), c.f32([2, 2, 1])]),
    ]],
  },
  top_k: {
    exact: true,
    smooth: [(c) => [c.b.make("top_k", { k: 3 }, [c.f32([13])]), c.b.make("top_k", { k: 1 }, [c.f32([3, 5])]), c.b.make("top_k", { k: 5 }, [c.f32([2, 3, 5])]), c.b.make("top_k", { k: 41 }, [c.f32([3, 97])])]],
    edge: [
      (c) => [c.b.make("top_k", { k: 4 }, [c.given([1, 3, 3, 1, 3, 2, 2, 2, 2, 2], [2, 5])])],
      // Many equal numbers, which keep their order.
      (c) => [1, 2, 30, 97].map((k) => c.b.make("top_k", { k }, [g.cast(c.b, c.i32([2, 97], 0, 5), "f32")])),
      (c) => [c.b.make("top_k", { k: 30 }, [c.i32([2, 97], -9, 9)])],
    ],
  },
  scan: { smooth: [(c) => scanCase(c, 1), (c) => scanCase(c, 5)] },
  softmax: { smooth: [(c) => lasts.map((shape) => g.softmax(c.b, c.f32(shape, -4, 4)))], edge: [(c) => [g.softmax(c.b, c.given([1000, 999, -1000, 500, 500, 500], [2, 3]))]] },
  log_softmax: { smooth: [(c) => lasts.map((shape) => g.logSoftmax(c.b, c.f32(shape, -4, 4)))], edge: [(c) => [g.logSoftmax(c.b, c.given([1000, 999, -1000, 500, 500, 500], [2, 3]))]] },
  cross_entropy: {
    smooth: [(c) => [[1, 1], [4, 7], [7, 33]].map(([n = 1, v = 1]) => g.crossEntropy(c.b, c.f32([n, v], -4, 4), labels(c, n, v)))],
    edge: [(c) => [g.crossEntropy(c.b, c.given([1000, 0, -1000, 3, 3, 3], [2, 3]), c.given([1, 2], [2], "i32"))]],
  },
  cross_entropy_grad: { smooth: [(c) => [[1, 1], [4, 7], [7, 33]].map(([n = 1, v = 1]) => c.b.make("cross_entropy_grad", {}, [c.f32([n, v], -4, 4), labels(c, n, v), c.f32([n])]))] },
  rms_norm: { smooth: [(c) => norms.map((shape) => g.rmsNorm(c.b, c.f32(shape, -2, 2), c.f32(shape.slice(-1), 0.5, 2), 1e-3))], edge: [(c) => [g.rmsNorm(c.b, c.given([0, 0, 0, 100, 200, -300], [2, 3]), c.f32([3]), 1e-6)]] },
  rms_norm_grad: { smooth: [(c) => norms.flatMap((shape) => ([0, 1] as const).map((wrt) => c.b.make("rms_norm_grad", { eps: 1e-3, wrt }, [c.f32(shape, -2, 2), c.f32(shape.slice(-1), 0.5, 2), c.f32(shape)])))] },
  layer_norm: { smooth: [(c) => norms.map((shape) => g.layerNorm(c.b, c.f32(shape, -2, 2), c.f32(shape.slice(-1), 0.5, 2), c.f32(shape.slice(-1)), 1e-3))] },
  layer_norm_grad: { smooth: [(c) => norms.flatMap((shape) => ([0, 1, 2] as const).map((wrt) => c.b.make("layer_norm_grad", { eps: 1e-3, wrt }, [c.f32(shape, -2, 2), c.f32(shape.slice(-1), 0.5, 2), c.f32(shape)])))] },
  rope: {
    smooth: [(c) => [false, true].flatMap((inverse) => [[1, 1, 1, 2], [2, 3, 5, 4], [1, 2, 3, 10]].map(([b = 1, h = 1, t = 1, d = 2]) =>
      c.b.make("rope", { base: 10000, inverse }, [c.f32([b, h, t, d]), c.i32([b, t], 0, 50)])))],
  },
  put: {
    smooth: [(c) => [[2, 3, 5, 4, 2, 2], [3, 4, 7, 3, 1, 2], [1, 2, 6, 1, 6, 2]].map(([b = 1, h = 1, t = 1, d = 1, n = 1, axis = 2]) => c.b.make("put", { axis }, [c.f32([b, h, t, d]), c.f32([b, h, n, d]), c.i32([b], -1, t)])),
      (c) => [c.b.make("put", { axis: 1 }, [c.f32([3, 5]), g.permute(c.b, c.f32([2, 3]), [1, 0]), c.i32([3], -2, 6)])]],
    edge: [(c) => [c.b.make("put", { axis: 1 }, [c.i32([2, 9], 0, 5), c.i32([2, 1], 0, 5), c.given([8, 9], [2], "i32")])],
      (c) => (["f16", "bf16"] as const).map((format) => c.b.make("put", { axis: 1, format }, [c.f32([1, 3, 9]), c.given([1e5, -1e5, 65519, 65520, -3e38, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 3 * 2 ** -26, 1 / 3], [1, 1, 9]), c.given([1], [1], "i32")]))],
    exact: true,
  },
  attend: { smooth: attendCases.map(attended), rounded: roundedAttendCases.map(attended) },
  attend_grad: { smooth: attendCases.map((kind): CaseGraph => (c) => attendGrads(c, kind)), rounded: roundedAttendCases.map((kind): CaseGraph => (c) => attendGrads(c, kind)) },
}
