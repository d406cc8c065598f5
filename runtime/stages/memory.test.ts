/** `recompute` and `max_memory`: what a plan says is what a run takes, and results are the same. */
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../../compiler/check/check.ts"
import type { Device, ProgramMemory } from "../device.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import { createReference } from "../devices/reference.ts"
import { moduleReader } from "../library.ts"
import { planRecipe } from "../plan.ts"
import type { Measures } from "../plan-counting.ts"
import { openStore } from "../store/store.ts"
import { createArtifactKeys } from "./keys.ts"
import type { Workplace } from "./testing.ts"
import { bookTokens, factsOf, problemsOf, recipeOf, sentences, withFolder } from "./testing.ts"

const opened = await openCpu({ threads: 2 })
const cpu = isUsable(opened) ? opened : null
if (cpu === null) console.log("  skipped: there is no C compiler")

const training = (more: string): string => recipeOf(`${bookTokens()}
model Tiny = Llama(vocab: words.size, dim: 16, depth: 4, heads: 2, context: 32)
result = train Tiny { data: tokens.train, valid: tokens.valid, objective: next_token, batch: 16 sequences, optim: adamw(lr: 1e-2), steps: 3${more} }`)

/** The device, and what every program took that was loaded on it. */
function counting(device: Device): { readonly device: Device; readonly loaded: ProgramMemory[] } {
  const loaded: ProgramMemory[] = []
  return {
    loaded,
    device: {
      ...device,
      async load(program, most) {
        const runner = await device.load(program, most)
        if (runner.memory !== undefined) loaded.push(runner.memory)
        return runner
      },
    },
  }
}

function planned(place: Workplace, recipe: string, device: Device): Measures {
  const source = { id: "recipe.slm", text: recipe }
  const environment = { modules: moduleReader(place.folder), params: new Map(), facts: new Map() }
  const where = { folder: place.folder, allowRead: [] }
  const store = openStore(path.join(place.folder, ".slm", "store"), () => {})
  const plan = planRecipe(source, environment, check(source, environment), { store, keys: createArtifactKeys(where, device.info), device }, where)
  const stage = plan?.stages.find(({ stage: { name } }) => name === "result")
  if (stage === undefined) throw new Error("no plan")
  return stage
}

test("a run takes the bytes of its plan; with `max_memory` fewer, for the same weights", () => withFolder(async (place) => {
  if (cpu === null) return
  place.write("book.txt", sentences(40))
  const took: number[] = []
  const weights: Uint8Array[] = []
  const arenas: number[] = []
  for (const wish of [() => "", () => `, max_memory: ${Math.floor(0.8 * (arenas[0] ?? 0))} bytes`, () => ", recompute: all"]) {
    const recipe = training(wish())
    const { device, loaded } = counting(cpu)
    const ran = await place.run(recipe, { device, fresh: true })
    assert.equal(problemsOf(ran), [])
    const total = loaded.reduce((sum, { arena, threads }) => sum + arena + threads, 0)
    const plan = planned(place, recipe, cpu)
    assert.is(plan.memory, total)
    assert.is(plan.device?.again, factsOf(ran, "result")["recomputed"] ?? 0)
    took.push(total)
    arenas.push(Math.max(...loaded.map(({ arena }) => arena)))
    weights.push(new Uint8Array(fs.readFileSync(path.join(ran.out, "artifacts", "result", "weights.safetensors"))))
  }
  assert.ok((took[1] ?? 0) < (took[0] ?? 0) && (took[2] ?? 0) < (took[0] ?? 0), took.join())
  assert.ok((arenas[1] ?? 0) <= 0.8 * (arenas[0] ?? 0), arenas.join())
  assert.equal(weights[1], weights[0])
  assert.equal(weights[2], weights[0])
}))

test("what does not fit, and what a device cannot do, is said", () => withFolder(async (place) => {
  place.write("book.txt", sentences(20))
  const small = training(", max_memory: 100 KB")
  const ran = await place.run(small, { device: createReference() })
  assert.equal(problemsOf(ran), [])
  assert.equal(ran.events.flatMap((e) => (e.event === "warning" ? [e.message] : [])), ["the device reference keeps all values: `max_memory` has no effect on it"])
  if (cpu === null) return
  const refused = await place.run(small, { device: cpu, fresh: true })
  assert.is(refused.status, "failed")
  assert.match(refused.diagnostics.map(({ code, message }) => `${code} ${message}`).join(), /^SLM3504 `result` does not fit into `max_memory`: one step takes \d/)
}))

test.run()
