/** For tests: the threads that a process gives the device, and a hash over the results of a few training steps. */
import { createHash } from "node:crypto"
import { conformanceCases, runCase } from "./conformance.ts"
import { coresAvailable } from "./cpu-build.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"

const device = await openCpu()
if (!isUsable(device)) throw new Error(device.reason)
const bits = createHash("sha256")
for (const item of conformanceCases("training")) for (const [name, { data }] of await runCase(device, item)) bits.update(name).update(data)
console.log(JSON.stringify({ cores: coresAvailable(), detail: device.info.detail, bits: bits.digest("hex") }))
