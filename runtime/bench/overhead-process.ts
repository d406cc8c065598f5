/** One process of the measurement of keys and locks (`overhead.ts`): what it did, each part with milliseconds of CPU time, as a line of JSON. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { check, keysOf } from "../../compiler/check/check.ts"
import { stageKey } from "../../compiler/plan/key.ts"
import { moduleReader } from "../library.ts"
import { readRecipe } from "../recipe.ts"
import type { Part } from "./overhead.ts"

const [path = "", folder = "", mode = ""] = process.argv.slice(2)
const recipe = readRecipe(path)
if ("message" in recipe) throw new Error(recipe.message)
const checked = check(recipe.source, { modules: moduleReader(recipe.folder), params: new Map(), facts: new Map() })
const stages = checked.recipe?.stages ?? []
// A run needs what carries out stages in any case: it is loaded before the clock starts. The YAML package is needed for the lock alone.
const [{ createArtifactKeys }, { openHashes }, { lockOf, classesOf }] = await Promise.all([import("../stages/keys.ts"), import("../file-hashes.ts"), import("../lock-of-run.ts")])
mkdirSync(join(folder, ".slm"), { recursive: true })

const spent: Part[] = []
async function part<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  const before = process.cpuUsage()
  const value = await work()
  const { user, system } = process.cpuUsage(before)
  spent.push({ name, milliseconds: (user + system) / 1000 })
  return value
}

const info = { numericsClass: "cpu/measured/f32/1", bf16Class: "cpu/measured/bf16/1" }
// Keys of meaning are made while a recipe is checked; made once more from its values they take as long.
await part("keys of meaning", () => {
  const again = keysOf(() => checked.session)
  for (const stage of stages) stageKey(stage.kind, stage.args, again)
})
const hashes = await part("hashes of inputs", () => openHashes(join(folder, ".slm", "hashes.json"), mode === "locked"))
const keys = createArtifactKeys({ folder: recipe.folder, allowRead: [] }, info, hashes)
await part("keys of artifacts", () => stages.map((stage) => keys.of(stage)))
const told = new WeakMap()
const locked = () => lockOf({ checked, params: new Map(), numericsClass: classesOf(checked, info), keys, yields: new Map(), told })
const now = await part("what is locked", locked)
// The record says it when a run begins and when it ends, the lock at the end.
await part("what is locked, twice more", () => [locked(), locked()])
const { compareLock, readLock, writeLock } = await part("the YAML package", () => import("../lock.ts"))
const lockFile = join(folder, "recipe.lock")
if (mode === "locked") {
  const { readBoundedText } = await import("../open-file.ts")
  const lock = await part("lock read", () => readLock(readBoundedText(lockFile, 2 ** 28)))
  const differences = await part("lock compared", () => (lock === null ? null : compareLock(lock, now)))
  if (differences === null || differences.length > 0) throw new Error(`the lock does not agree: ${JSON.stringify(differences)}`)
} else {
  const text = await part("lock as text", () => writeLock(now))
  await part("lock and hashes written", () => {
    writeFileSync(lockFile, text)
    hashes.save()
  })
}
console.log(JSON.stringify(spent))
