import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { NodeOf, Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { renderC } from "../../compiler/render/c.ts"
import { conformanceCases } from "./conformance.ts"
import { findToolchain } from "./cpu-build.ts"
import { merged } from "./cpu-testing.ts"
import { compileCpu } from "./cpu.ts"
import { keptCase } from "./kept.fixture.ts"
import { storageTypes, storedCase } from "./stored.fixture.ts"

/** Large enough for several tiles, slices and shares, with something left over of each. */
function products(): Program {
  const b = createBuilder()
  const outputs = ([[211, 401, 97], [131, 530, 211], [3, 257, 131]] as const).flatMap(([m, k, n]) => [[false, false], [false, true], [true, false]].flatMap(([ta = false, tb = false]) => {
    const [x, y] = [b.input(`x${m}${ta}${tb}`, "batch", "f32", ta ? [k, m] : [m, k]), b.input(`y${m}${ta}${tb}`, "batch", "f32", tb ? [n, k] : [k, n])]
    return [{ name: `z${m}${ta}${tb}`, node: g.softmax(b, g.dot(b, x, y, ta, tb)) }, { name: `rounded z${m}${ta}${tb}`, node: g.softmax(b, g.dot(b, g.mul(b, x, 2), y, ta, tb, "bf16")) }]
  }))
  return { name: "products", inputs: b.nodes.filter((node): node is NodeOf<"input"> & (typeof b.nodes)[number] => node.op === "input"), outputs }
}

const main = `
int main(void) {
  for (long threads = 1; threads <= 2; threads++) {
    program *p = slm_open(threads);
    if (!p) return 2;
    for (int i = 0; i < 2; i++) slm_step(p);
    slm_close(p);
  }
  return 0;
}
`

test("generated programs are clean under the address and undefined behaviour sanitizers", async () => {
  const toolchain = await findToolchain(process.env)
  if ("reason" in toolchain) return console.log(`  skipped: ${toolchain.reason}`)
  const folder = mkdtempSync(join(tmpdir(), "slm-sanitize-"))
  const flags = [...toolchain.flags.filter((flag) => flag !== "-shared" && flag !== "-O2"), "-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
  const compile = (source: string): void => {
    writeFileSync(join(folder, "step.c"), source)
    execFileSync(toolchain.command, [...flags, "-o", join(folder, "step"), join(folder, "step.c")], { stdio: "pipe" })
  }
  try {
    try {
      compile("int main(void) { return 0; }\n")
      execFileSync(join(folder, "step"), { stdio: "pipe" })
    } catch {
      return console.log("  skipped: the compiler has no sanitizers here")
    }
    const small = conformanceCases().filter((item) => item.batches.length === 1 && Object.keys(item.state).length === 0 && !item.name.startsWith("gradient"))
    const training = conformanceCases("training with adamw").map((item) => item.program)
    for (const program of [products(), merged([...small, ...storageTypes.map(storedCase)]).program, keptCase("f16").program, ...training]) {
      compile(`${renderC(compileCpu(program, toolchain.target))}${main}`)
      const out = execFileSync(join(folder, "step"), { stdio: "pipe", env: { ...process.env, ASAN_OPTIONS: "detect_leaks=1" } }).toString()
      assert.is(out, "", program.name)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test.run()
