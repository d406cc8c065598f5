import { test } from "uvu"
import * as assert from "uvu/assert"
import { checkDevice, conformanceCases } from "./conformance.ts"
import { detectFamily } from "./cpu-build.ts"
import { checkMerged } from "./cpu-testing.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"
import { createReference } from "./reference.ts"
import { existsSync, readFileSync } from "node:fs"

const present = detectFamily(existsSync("/proc/cpuinfo") ? readFileSync("/proc/cpuinfo", "utf8") : null, process.arch)
/** Each op once and its gradient: the rendering of expressions is shared, what differs is vectors and tiles. */
const prefixes = ["dot", "gradient of dot", "attend", "softmax", "layer_norm", "exp", "log 0", "tanh", "erf", "sin", "pow", "mod", "round", "floor", "cast", "narrow", "select", "sum", "random", "scatter_add", "top_k", "cumsum"]

for (const family of ["avx2", "portable"] as const) {
  test(`the ${family} program agrees with the reference`, async () => {
    if (family === "avx2" && present === "portable") return console.log("  skipped: this processor has no AVX2")
    const device = await openCpu({ family })
    if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
    assert.is(device.info.numericsClass.split("/")[1], family)
    const cases = prefixes.flatMap((prefix) => conformanceCases(prefix)).filter((item) => item.batches.length === 1)
    assert.equal(await checkMerged(device, createReference(), [...new Set(cases)]), [])
    assert.equal(await checkDevice(device, conformanceCases("training with adamw")), [])
  })
}

test.run()
