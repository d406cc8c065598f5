/** Prints the device with the given number of threads and a hash of what it computes. Run by tfjs.test.ts in a process of its own. */
import { createHash } from "node:crypto"
import type { HostTensor } from "../device.ts"
import { trainingBatch, trainingProgram, trainingState } from "./conformance-training.ts"
import { isUsable } from "./open.ts"
import { openTfjs } from "./tfjs.ts"

const device = await openTfjs({ backend: "wasm", threads: Number(process.argv[2]) })
if (!isUsable(device)) throw new Error(device.reason)
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
for (let i = 0; i < 5; i++) for (const [name, value] of Object.entries(await runner.step(trainingBatch(sizes, i)))) add(name, value)
for (const name of Object.keys(states)) add(name, await runner.read(name))
runner.dispose()
console.log(device.info.detail)
console.log(hash.digest("hex"))
