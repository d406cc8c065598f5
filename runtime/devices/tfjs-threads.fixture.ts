/** Prints the device with the given number of threads and a hash of what it computes. Run by tfjs.test.ts in a process of its own. */
import { createHash } from "node:crypto"
import type { HostTensor } from "../device.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { openBackend } from "./tfjs-backend.ts"
import { threadsOf } from "./tfjs-threads.ts"
import { createDevice } from "./tfjs.ts"

const threads = Number(process.argv[2])
const opened = await openBackend("wasm", threads)
if ("reason" in opened) throw new Error(opened.reason)
const device = createDevice(opened)
const { heap } = opened.kernels
if (heap === null) throw new Error("not the WebAssembly backend")
const hash = createHash("sha256")

function add(name: string, { data }: HostTensor): void {
  hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
}

// Large enough that each kernel has work for several threads.
const sizes = { vocab: 65, dim: 96, hidden: 200, depth: 2, heads: 4, kvHeads: 2, batch: 6, time: 50 }
const training = trainingProgram(sizes, "adamw", true)
const runner = await device.load(training.program)
const states = trainingState(training)
for (const [name, value] of Object.entries(states)) await runner.write(name, value)
for (let i = 0; i < 6; i++) {
  // As on a machine that becomes busy and quiet again.
  if (threads > 1 && i === 2) threadsOf(heap.module, threads).set(1)
  if (threads > 1 && i === 4) threadsOf(heap.module, threads).set(threads)
  for (const [name, value] of Object.entries(await runner.step(trainingBatch(sizes, i)))) add(name, value)
}
for (const name of Object.keys(states)) add(name, await runner.read(name))
runner.dispose()
console.log(device.info.detail)
console.log(hash.digest("hex"))
