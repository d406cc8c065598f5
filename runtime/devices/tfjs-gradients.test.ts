/**
 * Gradients by compiler/graph/gradient.ts, run on the WebAssembly backend, against `tf.grads` of forwards written
 * independently in TensorFlow.js, run on its plain JavaScript backend. Both are f32: they agree within
 * 2e-5 of the largest element of each gradient (of 1 where that is smaller).
 */
import * as tf from "@tensorflow/tfjs-core"
import "@tensorflow/tfjs-backend-cpu"
import { build } from "esbuild"
import { createRequire } from "node:module"
import { test } from "uvu"
import * as assert from "uvu/assert"
import type { Builder } from "../../compiler/graph/builder.ts"
import { createBuilder } from "../../compiler/graph/builder.ts"
import { gradients } from "../../compiler/graph/gradient.ts"
import type { Node, NodeOf, Output } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { fillUniform, hash32 } from "../../compiler/graph/random.ts"
import type { HostTensor } from "../device.ts"
import { isUsable } from "./open.ts"
import { openTfjs } from "./tfjs.ts"

const tolerance = 2e-5

/** The package has its gradients in modules that Node cannot load as they are; they register with the engine, of which there is one. */
async function registerGradients(): Promise<void> {
  const file = createRequire(import.meta.url).resolve("@tensorflow/tfjs-core/dist/register_all_gradients.js")
  const { outputFiles: [bundle] } = await build({ entryPoints: [file], bundle: true, write: false, format: "esm", platform: "node", logLevel: "silent" })
  if (bundle === undefined) throw new Error("no bundle")
  await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`)
}

test.before(registerGradients)

interface Case {
  /** Shapes of the f32 inputs by which both sides differentiate. */
  readonly shapes: readonly (readonly number[])[]
  readonly ours: (b: Builder, inputs: readonly Node[]) => Node
  readonly theirs: (inputs: readonly tf.Tensor[]) => tf.Tensor
  /** From -range to range; 1 if not given. */
  readonly range?: number
}

function numbers(name: string, row: number, n: number, range: number): Float32Array {
  const data = new Float32Array(n)
  fillUniform({ seed: 5, stream: hash32(name), step: 0, row }, data)
  return data.map((x) => range * (2 * x - 1))
}

/** Value and gradients of sum(weights * result), where weights make every element count differently. */
async function ourSide(item: Case, data: readonly Float32Array[], weights: (n: number) => Float32Array): Promise<readonly Float32Array[]> {
  const b = createBuilder()
  const inputs = item.shapes.map((shape, i) => b.input(`x${i}`, "batch", "f32", shape))
  const result = item.ours(b, inputs)
  const w = b.input("w", "batch", "f32", result.shape)
  const loss = g.sum(b, g.mul(b, result, w))
  const outputs: Output[] = [{ name: "loss", node: loss }, ...gradients(b, loss, inputs as readonly NodeOf<"input">[]).map((node, i) => ({ name: `d${i}`, node }))]
  const device = await openTfjs({ backend: "wasm" })
  if (!isUsable(device)) throw new Error(device.reason)
  const runner = await device.load({ name: "gradients", inputs: [...inputs, w] as NodeOf<"input">[], outputs })
  const batch: Record<string, HostTensor> = { w: { shape: result.shape, dtype: "f32", data: weights(size(result.shape)) } }
  item.shapes.forEach((shape, i) => { batch[`x${i}`] = { shape, dtype: "f32", data: data[i] ?? new Float32Array() } })
  const out = await runner.step(batch)
  runner.dispose()
  return outputs.map(({ name }) => out[name]?.data as Float32Array)
}

async function theirSide(item: Case, data: readonly Float32Array[], weights: (n: number) => Float32Array): Promise<readonly Float32Array[]> {
  await tf.setBackend("cpu")
  const inputs = item.shapes.map((shape, i) => tf.tensor(data[i] ?? [], [...shape]))
  const loss = (...xs: tf.Tensor[]): tf.Scalar => {
    const result = item.theirs(xs)
    return tf.sum(tf.mul(result, tf.tensor(weights(result.size), result.shape)))
  }
  const grads = tf.grads(loss)(inputs)
  const values = [loss(...inputs), ...grads].map((x) => x.dataSync() as Float32Array)
  await tf.setBackend("wasm")
  return values
}

function compare(name: string, item: Case): void {
  test(name, async () => {
    const data = item.shapes.map((shape, i) => numbers(name, i, size(shape), item.range ?? 1))
    const weights = (n: number): Float32Array => numbers(name, 99, n, 1)
    const [ours, theirs] = [await ourSide(item, data, weights), await theirSide(item, data, weights)]
    theirs.forEach((want, i) => {
      const largest = want.reduce((m, x) => Math.max(m, Math.abs(x)), 1)
      assert.ok(i === 0 || want.some((x) => Math.abs(x) > 1e-3), `gradient ${i - 1} of tfjs is all but zero`)
      assert.is(ours[i]?.length, want.length)
      const worst = want.reduce((m, x, j) => Math.max(m, Math.abs(x - (ours[i]?.[j] ?? NaN))), 0)
      assert.ok(worst <= tolerance * largest, `${i === 0 ? "the value" : `gradient ${i - 1}`} differs by ${worst} (largest ${largest})`)
    })
  })
}

function at<T>(list: readonly T[], i: number): T {
  const x = list[i]
  if (x === undefined) throw new Error(`no input ${i}`)
  return x
}

/** Ids that repeat and leave some out. */
const ids = [3, 0, 3, 6, 1, 3]

compare("linear layer and softmax cross-entropy", {
  shapes: [[6, 5], [5, 7], [7]],
  ours: (b, xs) => g.crossEntropy(b, g.add(b, g.matmul(b, at(xs, 0), at(xs, 1)), at(xs, 2)), g.literal(b, ids, [6], "i32")),
  theirs: (xs) => {
    const logits = tf.add(tf.matMul(at(xs, 0), at(xs, 1)), at(xs, 2))
    return tf.neg(tf.sum(tf.mul(tf.oneHot(tf.tensor1d(ids, "int32"), 7), tf.logSoftmax(logits)), 1))
  },
})

compare("labels that do not count have no gradient", {
  shapes: [[6, 7]],
  ours: (b, xs) => g.crossEntropy(b, at(xs, 0), g.literal(b, [3, -1, 3, 6, -100, 3], [6], "i32")),
  theirs: ([x]) => tf.neg(tf.sum(tf.mul(tf.mul(tf.oneHot(tf.tensor1d(ids, "int32"), 7), tf.tensor2d([[1], [0], [1], [1], [0], [1]])), tf.logSoftmax(x as tf.Tensor)), 1)),
})

compare("divergence of a student from a teacher", {
  shapes: [[4, 9], [4, 9]],
  range: 3,
  ours: (b, xs) => {
    const [p, q] = [g.logSoftmax(b, g.mul(b, at(xs, 0), 0.5)), g.logSoftmax(b, g.mul(b, at(xs, 1), 0.5))]
    return g.mul(b, g.sum(b, g.mul(b, g.exp(b, p), g.sub(b, p, q)), [1]), 4)
  },
  theirs: (xs) => {
    const [t, s] = [tf.div(at(xs, 0), 2), tf.div(at(xs, 1), 2)]
    return tf.mul(tf.sum(tf.mul(tf.softmax(t), tf.sub(tf.log(tf.softmax(t)), tf.log(tf.softmax(s)))), 1), 4)
  },
})

compare("rms norm", {
  shapes: [[2, 5, 12], [12]],
  ours: (b, xs) => g.rmsNorm(b, at(xs, 0), at(xs, 1), 1e-5),
  theirs: (xs) => tf.mul(tf.div(at(xs, 0), tf.sqrt(tf.add(tf.mean(tf.square(at(xs, 0)), -1, true), 1e-5))), at(xs, 1)),
})

compare("layer norm", {
  shapes: [[2, 5, 12], [12], [12]],
  ours: (b, xs) => g.layerNorm(b, at(xs, 0), at(xs, 1), at(xs, 2), 1e-5),
  theirs: (xs) => {
    const { mean, variance } = tf.moments(at(xs, 0), -1, true)
    return tf.add(tf.mul(tf.div(tf.sub(at(xs, 0), mean), tf.sqrt(tf.add(variance, 1e-5))), at(xs, 1)), at(xs, 2))
  },
})

/** [b, h, t, d], [b, g, t, d], [b, g, t, e]: keys and values repeated for the heads that share them. */
function plainAttention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, allowed: (i: number, j: number) => boolean): tf.Tensor {
  const [h = 1, t = 1, d = 1] = q.shape.slice(1)
  const groups = k.shape[1] ?? 1
  const repeat = (x: tf.Tensor): tf.Tensor => tf.concat(Array.from({ length: h }, (_, i) => tf.slice(x, [0, Math.floor((i * groups) / h), 0, 0], [-1, 1, -1, -1])), 1)
  const mask = tf.tensor2d(Array.from({ length: t }, (_, i) => Array.from({ length: t }, (_, j) => (allowed(i, j) ? 0 : -1e9))))
  const scores = tf.add(tf.div(tf.matMul(q, repeat(k), false, true), Math.sqrt(d)), mask)
  return tf.matMul(tf.softmax(scores), repeat(v))
}

const grouped = [[2, 4, 6, 8], [2, 2, 6, 8], [2, 2, 6, 5]] as const

compare("causal attention with shared keys and values", {
  shapes: grouped,
  range: 2,
  ours: (b, xs) => g.attend(b, at(xs, 0), at(xs, 1), at(xs, 2), { causal: true }),
  theirs: (xs) => plainAttention(at(xs, 0), at(xs, 1), at(xs, 2), (i, j) => j <= i),
})

compare("attention in a window, within segments", {
  shapes: grouped,
  range: 2,
  ours: (b, xs) => {
    const segments = g.literal(b, [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1], [2, 6], "i32")
    return g.attend(b, at(xs, 0), at(xs, 1), at(xs, 2), { causal: true, window: 2, segments: [segments, segments] })
  },
  theirs: (xs) => plainAttention(at(xs, 0), at(xs, 1), at(xs, 2), (i, j) => j <= i && i - j < 2 && Math.floor(i / 3) === Math.floor(j / 3)),
})

compare("rotary positions", {
  shapes: [[2, 3, 4, 8]],
  ours: (b, xs) => g.rope(b, at(xs, 0), g.literal(b, [0, 1, 2, 3, 5, 6, 7, 40], [2, 4], "i32"), 10000),
  theirs: ([x]) => {
    const rates = tf.tensor([0, 1, 2, 3].map((i) => 10000 ** (-i / 4)), [1, 1, 1, 4])
    const angle = tf.mul(tf.tensor([0, 1, 2, 3, 5, 6, 7, 40], [2, 1, 4, 1]), rates)
    const [p, q] = tf.split(x as tf.Tensor, 2, 3)
    if (p === undefined || q === undefined) throw new Error("no halves")
    return tf.concat([tf.sub(tf.mul(p, tf.cos(angle)), tf.mul(q, tf.sin(angle))), tf.add(tf.mul(q, tf.cos(angle)), tf.mul(p, tf.sin(angle)))], 3)
  },
})

compare("gelu", {
  shapes: [[5, 9]],
  range: 3,
  ours: (b, xs) => g.gelu(b, at(xs, 0)),
  theirs: ([x]) => tf.mul(tf.mul(x as tf.Tensor, 0.5), tf.add(1, tf.erf(tf.div(x as tf.Tensor, Math.SQRT2)))),
})

compare("gelu by tanh", {
  shapes: [[5, 9]],
  range: 3,
  ours: (b, xs) => g.geluTanh(b, at(xs, 0)),
  theirs: ([given]) => {
    const x = given as tf.Tensor
    return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.tanh(tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.pow(x, 3)))))))
  },
})

compare("silu and gating", {
  shapes: [[5, 9], [5, 9]],
  range: 3,
  ours: (b, xs) => g.mul(b, g.silu(b, at(xs, 0)), at(xs, 1)),
  theirs: (xs) => tf.mul(tf.div(at(xs, 0), tf.add(1, tf.exp(tf.neg(at(xs, 0))))), at(xs, 1)),
})

compare("embedding that is also the output layer", {
  shapes: [[7, 5]],
  ours: (b, xs) => g.matmul(b, g.gather(b, at(xs, 0), g.literal(b, ids, [6], "i32")), at(xs, 0), true),
  theirs: ([table]) => tf.matMul(tf.gather(table as tf.Tensor, tf.tensor1d(ids, "int32")), table as tf.Tensor2D, false, true),
})

compare("convolution along time", {
  shapes: [[2, 11, 3], [3, 3, 4]],
  ours: (b, xs) => {
    const windows = b.make("window", { axis: 1, size: 3, stride: 2, dilation: 1 }, [at(xs, 0)])
    return g.matmul(b, g.reshape(b, windows, [2, 5, 9]), g.reshape(b, at(xs, 1), [9, 4]))
  },
  theirs: (xs) => tf.conv1d(at(xs, 0) as tf.Tensor3D, at(xs, 1) as tf.Tensor3D, 2, "valid"),
})

compare("largest of overlapping windows", {
  shapes: [[2, 11, 3]],
  ours: (b, xs) => g.maxOf(b, b.make("window", { axis: 1, size: 3, stride: 2, dilation: 1 }, [at(xs, 0)]), [2]),
  theirs: ([x]) => tf.reshape(tf.maxPool(tf.reshape(x as tf.Tensor, [2, 11, 1, 3]) as tf.Tensor4D, [3, 1], [2, 1], "valid"), [2, 5, 3]),
})

compare("mean and deviation of columns, broadcast back", {
  shapes: [[6, 4], [4]],
  ours: (b, xs) => {
    const centred = g.sub(b, at(xs, 0), g.mean(b, at(xs, 0), [0], true))
    const spread = g.sqrt(b, g.add(b, g.mean(b, g.square(b, centred), [0], true), 1e-3))
    return g.mul(b, g.div(b, centred, spread), at(xs, 1))
  },
  theirs: (xs) => {
    const { mean, variance } = tf.moments(at(xs, 0), 0, true)
    return tf.mul(tf.div(tf.sub(at(xs, 0), mean), tf.sqrt(tf.add(variance, 1e-3))), at(xs, 1))
  },
})

test.run()
