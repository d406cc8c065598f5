// The same training step in jax-js on WebAssembly: nanoGPT's model, AdamW, random tokens, all of it under one `jit`. Prints one line of JSON.
// peer.mjs DEPTH HEADS DIM LENGTH ROWS VOCAB THREADS SECONDS; no threads: as the package runs on Node by itself.
import { resolveObjectURL } from "node:buffer"
import { Worker as NodeWorker } from "node:worker_threads"

const [depth, heads, dim, length, rows, vocab, threads, seconds] = process.argv.slice(2).map(Number)

// Its threads are Web Workers, which Node has not; these few lines are what it uses of them.
class WebWorker {
  constructor(url) {
    this.started = resolveObjectURL(url).text().then((source) => {
      const worker = new NodeWorker(`const { parentPort } = require("node:worker_threads")
globalThis.self = globalThis
globalThis.postMessage = (message) => parentPort.postMessage(message)
parentPort.on("message", (data) => self.onmessage({ data }))
${source}`, { eval: true })
      worker.on("message", (data) => this.onmessage?.({ data }))
      worker.on("error", (error) => this.onerror?.(error))
      worker.unref()
      return worker
    })
  }
  postMessage(message) {
    void this.started.then((worker) => worker.postMessage(message))
  }
}
if (threads > 0) {
  globalThis.Worker = WebWorker
  // Workers that are waited for do not keep Node from ending, as those of a page do.
  setInterval(() => {}, 1000)
  Object.defineProperty(globalThis, "navigator", { value: { hardwareConcurrency: threads }, configurable: true })
}

// It also counts on methods of iterators that Node has from version 22 on.
const iterators = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()))
iterators.map ??= function* (f) { for (const x of this) yield f(x) }
iterators.filter ??= function* (f) { for (const x of this) if (f(x)) yield x }
iterators.toArray ??= function () { return [...this] }

const { blockUntilReady, init, jit, nn, numpy: np, tree, valueAndGrad } = await import("@jax-js/jax")
await init("wasm")

let state = 1
const random = () => { state = (state * 1103515245 + 12345) & 0x7fffffff; return state / 0x7fffffff }
const normal = (shape) => {
  const n = shape.reduce((x, y) => x * y, 1)
  return np.array(Float32Array.from({ length: n }, () => 0.02 * Math.sqrt(-2 * Math.log(random() + 1e-9)) * Math.cos(6.2831853 * random()))).reshape(shape)
}
const ids = () => np.array(Int32Array.from({ length: rows * length }, () => Math.floor(random() * vocab) % vocab), { dtype: np.int32 }).reshape([rows, length])

const parameters = {
  embed: normal([vocab, dim]), places: normal([length, dim]), norm: np.ones([dim]),
  blocks: Array.from({ length: depth }, () => ({ norm1: np.ones([dim]), norm2: np.ones([dim]), qkv: normal([dim, 3 * dim]), out: normal([dim, dim]), up: normal([dim, 4 * dim]), down: normal([4 * dim, dim]) })),
}

// Every array that is used twice is passed with `.ref`: functions own what they are given.
const normed = (x, scale) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(scale)
function block(x, { norm1, norm2, qkv, out, up, down }) {
  const all = np.matmul(normed(x.ref, norm1), qkv).reshape([rows, length, 3, heads, dim / heads])
  const part = (i, a) => a.slice([], [], i)
  const attended = nn.dotProductAttention(part(0, all.ref), part(1, all.ref), part(2, all), { isCausal: true })
  const y = x.add(np.matmul(attended.reshape([rows, length, dim]), out))
  return y.ref.add(np.matmul(nn.gelu(np.matmul(normed(y, norm2), up), { approximate: false }), down))
}
function loss(p, tokens, labels) {
  let x = np.take(p.embed.ref, tokens, 0).add(p.places)
  for (const one of p.blocks) x = block(x, one)
  const logits = np.matmul(normed(x, p.norm), p.embed.transpose())
  return nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, vocab)).sum().mul(-1 / (rows * length))
}

const [rate, beta1, beta2, decay] = [1e-3, 0.9, 0.99, 0.1]
const step = jit((p, m, v, tokens, labels, c1, c2) => {
  const [value, gradients] = valueAndGrad(loss)(tree.ref(p), tokens, labels)
  const [ps, form] = tree.flatten(p)
  const [ms, vs, gs] = [tree.leaves(m), tree.leaves(v), tree.leaves(gradients)]
  const next = ps.map((x, i) => {
    const g = gs[i]
    const m1 = ms[i].mul(beta1).add(g.ref.mul(1 - beta1))
    const v1 = vs[i].mul(beta2).add(g.ref.mul(g).mul(1 - beta2))
    const change = m1.ref.mul(c1.ref).div(np.sqrt(v1.ref.mul(c2.ref)).add(1e-8))
    return [x.ref.sub(change.mul(rate)).sub(x.mul(rate * decay)), m1, v1]
  })
  c1.dispose()
  c2.dispose()
  const made = (k) => tree.unflatten(form, next.map((of) => of[k]))
  return [made(0), made(1), made(2), value]
})

let [p, m, v] = [parameters, tree.map((x) => np.zeros(x.shape), tree.ref(parameters)), tree.map((x) => np.zeros(x.shape), tree.ref(parameters))]
const [tokens, labels] = [ids(), ids()]
let [count, last] = [0, NaN]
async function run() {
  count++
  const [p1, m1, v1, value] = step(p, m, v, tokens.ref, labels.ref, np.array(1 / (1 - beta1 ** count)), np.array(1 / (1 - beta2 ** count)))
  ;[p, m, v] = [p1, m1, v1]
  await blockUntilReady(tree.ref([p, m, v]))
  last = (await value.data())[0]
}
await run()
const first = last
const times = []
const end = performance.now() + 1000 * seconds
while (performance.now() < end || times.length < 2) {
  const start = performance.now()
  await run()
  times.push(performance.now() - start)
}
console.log(JSON.stringify({ times, first, loss: last }))
process.exit(0)
