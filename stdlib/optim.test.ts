import { test } from "uvu"
import * as assert from "uvu/assert"
import type { OptimizerValue } from "../compiler/check/value.ts"
import type { Session } from "../compiler/check/session.ts"
import { createLowering } from "../compiler/graph/lower/context.ts"
import { firstStates, learningRate, transformed, updated } from "../compiler/graph/lower/optimizer.ts"
import { value as hostValue } from "../compiler/graph/value.ts"
import { recipe, run } from "./testing.ts"

/** A weight and its gradients at four steps; one weight of two axes, so that decay acts. */
const start = [[0.5, -1.25, 2]]
const gradients = [[1, -0.5, 0.25], [0.3, 0.3, -2], [-1, 0, 0.125], [0.02, 4, -0.6]]
const total = 4
type Vector = readonly number[]

function optimizer(text: string): { readonly value: OptimizerValue; readonly session: Session } {
  const { values, session } = recipe(`let o = ${text}`)
  const value = values.get("o")
  if (value?.kind !== "optimizer") throw new Error("not an optimiser")
  return { value, session }
}

/** The weight after each step, by the text of the library. `axes`: 2 for [1, 3], 1 for [3]. */
function descend(text: string, axes: 1 | 2 = 2): readonly Vector[] {
  const { value, session } = optimizer(text)
  const low = createLowering(session, { training: true, rows: null })
  const shape = axes === 2 ? [1, 3] : [3]
  const input = (name: string) => low.b.input(name, "batch", "f32", shape)
  const at = { source: "test.slm", start: 0, end: 0 }
  let now = { p: input("p"), states: firstStates(value, input("p"), low.machine) } as ReturnType<typeof updated>
  const results = gradients.map((_, i) => {
    const step = low.b.make("fill", { value: i + 1, shape: [], dtype: "i32" }, [])
    const [g] = transformed(value, [input(`g${i}`)], at, low.machine)
    if (g === undefined) throw new Error("no gradient")
    now = updated(value, now.p, g, now.states, step, total, low.machine)
    return now.p
  })
  const feeds = Object.fromEntries([["p", start[0]] as const, ...gradients.map((g, i) => [`g${i}`, g] as const)].map(([name, x]) => [name, hostValue(x ?? [], shape)]))
  return run(results, low, feeds).map((v) => [...v.data])
}

/** The same by hand, in f64. */
function byHand<S>(first: S, update: (p: Vector, g: Vector, state: S, step: number) => { readonly p: Vector; readonly state: S }): readonly Vector[] {
  let [p, state]: [Vector, S] = [start[0] ?? [], first]
  return gradients.map((g, i) => {
    const next = update(p, g, state, i + 1)
    ;[p, state] = [next.p, next.state]
    return p
  })
}

function near(found: readonly Vector[], wanted: readonly Vector[]): void {
  const flat = (vectors: readonly Vector[]): Vector => vectors.flat()
  const worst = Math.max(...flat(found).map((x, i) => Math.abs(x - (flat(wanted)[i] ?? NaN)) / (1 + Math.abs(flat(wanted)[i] ?? NaN))))
  assert.ok(found.length === wanted.length && worst < 2e-6, `off by ${worst}:\n${found.join("\n")}\nnot\n${wanted.join("\n")}`)
}

const zip = (a: Vector, b: Vector, f: (x: number, y: number) => number): Vector => a.map((x, i) => f(x, b[i] ?? NaN))
const zeros: Vector = [0, 0, 0]

function adam(lr: (step: number) => number, beta1: number, beta2: number, eps: number, decay: number): readonly Vector[] {
  return byHand({ m: zeros, v: zeros }, (p, g, { m, v }, step) => {
    const m1 = zip(m, g, (a, b) => beta1 * a + (1 - beta1) * b)
    const v1 = zip(v, g, (a, b) => beta2 * a + (1 - beta2) * b * b)
    const direction = zip(m1, v1, (a, b) => a / (1 - beta1 ** step) / (Math.sqrt(b / (1 - beta2 ** step)) + eps))
    return { p: zip(p, direction, (x, d) => x - lr(step) * (d + decay * x)), state: { m: m1, v: v1 } }
  })
}

test("sgd", () => {
  near(descend("sgd(lr: 0.1)"), byHand(null, (p, g) => ({ p: zip(p, g, (x, d) => x - 0.1 * d), state: null })))
  near(descend("sgd(lr: 0.1, weight_decay: 0.5)"), byHand(null, (p, g) => ({ p: zip(p, g, (x, d) => x - 0.1 * (d + 0.5 * x)), state: null })))
})

test("momentum, plain and Nesterov's", () => {
  const hand = (nesterov: boolean): readonly Vector[] => byHand(zeros, (p, g, m) => {
    const m1 = zip(m, g, (a, b) => 0.8 * a + b)
    return { p: zip(p, nesterov ? zip(g, m1, (a, b) => a + 0.8 * b) : m1, (x, d) => x - 0.05 * d), state: m1 }
  })
  near(descend("momentum(lr: 0.05, beta: 0.8)"), hand(false))
  near(descend("momentum(lr: 0.05, beta: 0.8, nesterov: true)"), hand(true))
})

test("adamw, with decay for weights of two axes alone", () => {
  near(descend("adamw(lr: 0.01)"), adam(() => 0.01, 0.9, 0.95, 1e-8, 0.1))
  near(descend("adamw(lr: 0.01, beta1: 0.8, beta2: 0.9, eps: 0.1, weight_decay: 2.0)"), adam(() => 0.01, 0.8, 0.9, 0.1, 2))
  near(descend("adamw(lr: 0.01)", 1), adam(() => 0.01, 0.9, 0.95, 1e-8, 0))
})

test("lion", () => {
  near(descend("lion(lr: 0.02, weight_decay: 0.5)"), byHand(zeros, (p, g, m) => {
    const direction = zip(m, g, (a, b) => Math.sign(0.9 * a + (1 - 0.9) * b))
    return { p: zip(p, direction, (x, d) => x - 0.02 * (d + 0.5 * x)), state: zip(m, g, (a, b) => 0.99 * a + (1 - 0.99) * b) }
  }))
})

test("gradients are clipped before the update", () => {
  const scaled = (g: Vector): Vector => {
    const norm = Math.sqrt(g.reduce((n, x) => n + x * x, 0))
    return g.map((x) => x * Math.min(1, 0.5 / (norm + 1e-6)))
  }
  near(descend("sgd(lr: 1.0) |> clip_norm(0.5)"), byHand(null, (p, g) => ({ p: zip(p, scaled(g), (x, d) => x - d), state: null })))
  near(descend("sgd(lr: 1.0) |> clip_value(0.3)"), byHand(null, (p, g) => ({ p: zip(p, g, (x, d) => x - Math.min(Math.max(d, -0.3), 0.3)), state: null })))
})

// ---------------------------------------------------------------- schedules

/** The learning rate at steps 1 … n, of the graph. */
function rates(schedule: string, n: number): Vector {
  const { value, session } = optimizer(`sgd(lr: ${schedule})`)
  const low = createLowering(session, { training: true, rows: null })
  const nodes = Array.from({ length: n }, (_, i) => learningRate(value, low.b.make("fill", { value: i + 1, shape: [], dtype: "i32" }, []), n, { source: "test.slm", start: 0, end: 0 }, low.machine))
  return nodes.map((node) => (node === null ? NaN : run([node], low, {})[0]?.data[0] ?? NaN))
}

test("schedules in the graph", () => {
  const close = (found: Vector, wanted: Vector): void => near([found], [wanted])
  close(rates("0.25", 3), [0.25, 0.25, 0.25])
  close(rates("constant(0.25)", 3), [0.25, 0.25, 0.25])
  close(rates("linear(1.0, 0.0)", 4), [0.75, 0.5, 0.25, 0])
  const cosine = (step: number, warmup: number, floor: number): number => (step < warmup ? step / warmup : floor + (1 - floor) * 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / (10 - warmup))))
  close(rates("cosine(peak: 1.0, warmup: 20%, floor: 0.1)", 10), Array.from({ length: 10 }, (_, i) => cosine(i + 1, 2, 0.1)))
  close(rates("cosine(peak: 1.0, warmup: 4 steps)", 10), Array.from({ length: 10 }, (_, i) => cosine(i + 1, 4, 0)))
  close(rates("cosine(peak: 1.0)", 10), Array.from({ length: 10 }, (_, i) => cosine(i + 1, 0, 0)))
  close(rates("warmup_stable_decay(peak: 1.0, warmup: 2 steps, decay: 40%)", 10), [0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
})

test("an optimiser follows its schedule", () => {
  near(descend("adamw(lr: linear(0.04, 0.0))"), adam((step) => 0.04 * (1 - step / total), 0.9, 0.95, 1e-8, 0.1))
})

test.run()
