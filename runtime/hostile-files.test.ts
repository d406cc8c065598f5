/**
 * Files that slm wrote and somebody else changed: locks, records, entries of a store, checkpoints, copies of results, folders of weights. Whatever
 * is in them they are read as what they are or not at all; nothing throws, hangs, or allocates what a number in a file says.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import fc from "fast-check"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { checkText } from "../compiler/check/check-text.fixture.ts"
import { lowerTraining } from "../compiler/graph/lower/train.ts"
import { inFolder, tiny, writeTiny } from "./cli/process.fixture.ts"
import { readCurves } from "./curves.ts"
import { createReference } from "./devices/reference.ts"
import { diff } from "./diff.ts"
import { checkFolder, loadWeights, readHeaders } from "./export/load.ts"
import { writeSafetensors } from "./export/safetensors.ts"
import { openHashes } from "./file-hashes.ts"
import { sha256 } from "./files.ts"
import { derivedFrom } from "./forget.ts"
import { compareLock, compareResults, readLock, writeLock, type Lock } from "./lock.ts"
import { openPastRun, writeText } from "./past-run.ts"
import { keysOfRuns, listRuns } from "./past-runs.ts"
import { trainingShape } from "./plan-stages.ts"
import { readRecipe } from "./recipe.ts"
import { openRecord } from "./record.ts"
import { runInFolder } from "./run-folder.ts"
import { fromCheckpoint, toCheckpoint } from "./stages/checkpoint.ts"
import { openStore } from "./store/store.ts"
import { listStore, untidy } from "./store/tidy.ts"
import { divergence, readTrace, writeTrace } from "./trace.ts"
import { plain, readWeights, writeWeights } from "./weights.ts"

// ---------------------------------------------------------------- changes

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

const odd: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, -1, 0, 0.5, 1e300, 2 ** 53, "", "..", "/etc/passwd", "NaN", "\u0000", "__proto__", [], {}, [[]], "x".repeat(1000)), fc.string(), fc.double({ noNaN: true }), fc.integer(),
)

/** The places of a value, by the names on the way. */
function placesOf(value: Json, at: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [at]
  return [at, ...Object.entries(value).flatMap(([name, child]) => placesOf(child as Json, [...at, name]))]
}

/** The value with something else, or nothing, at one place. */
function changedAt(value: Json, [name, ...rest]: readonly string[], by: Json | undefined): Json {
  if (name === undefined) return by ?? null
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).flatMap(([key, child]): [string, Json][] => {
    if (key !== name) return [[key, child as Json]]
    return rest.length === 0 && by === undefined ? [] : [[key, changedAt(child as Json, rest, by)]]
  })
  return Array.isArray(value) ? entries.map(([, child]) => child) : Object.fromEntries(entries)
}

/** One to three places of a value changed. */
function changesOf(value: Json): fc.Arbitrary<Json> {
  const places = placesOf(value)
  const change = fc.tuple(fc.constantFrom(...places), fc.option(odd, { nil: undefined }))
  return fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => changes.reduce((done, [at, by]) => changedAt(done, at, by), value))
}

/** A text cut, repeated, or with something put into it. */
function textsOf(text: string): fc.Arbitrary<string> {
  const at = fc.nat({ max: text.length })
  return fc.oneof(
    at.map((n) => text.slice(0, n)), fc.tuple(at, fc.string({ maxLength: 8 })).map(([n, more]) => text.slice(0, n) + more + text.slice(n)), fc.tuple(at, fc.nat({ max: 40 })).map(([n, length]) => text.slice(0, n) + text.slice(n + length)),
    fc.constantFrom("", "[".repeat(100_000), "{".repeat(100_000), "a: &a [*a, *a]", `a: &a ${"[*a,".repeat(50)}`, `${"a: &a [x]\nb: *a\n"}`, "? ".repeat(10_000), "- ".repeat(10_000), "!!binary x", "\ufeff", "%YAML 9.9\n---\n", "---\na: 1\n---\nb: 2\n", "\u0000".repeat(100)),
    fc.string(),
  )
}

function bytesOf(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.nat({ max: bytes.length })
  const put = (n: number, values: readonly number[]): Uint8Array => {
    const copy = bytes.slice()
    copy.set(values.slice(0, Math.max(0, copy.length - n)), Math.min(n, copy.length))
    return copy
  }
  return fc.oneof(at.map((n) => bytes.slice(0, n)), fc.tuple(at, fc.array(fc.nat({ max: 255 }), { minLength: 1, maxLength: 8 })).map(([n, values]) => put(n, values)), fc.tuple(fc.nat({ max: 16 }), fc.constantFrom(0, 255)).map(([n, value]) => put(n, Array.from({ length: 8 }, () => value))))
}

const jsonIn = (file: string): Json => JSON.parse(fs.readFileSync(file, "utf8")) as Json
const runs = { numRuns: Number(process.env["SLM_RUNS"] ?? 60) } as const

test("a recipe without end is not read to its end", () => {
  const read = readRecipe("/dev/zero")
  assert.match("message" in read ? `${read.code} ${read.message}` : "it was read", /^SLM3104 .*more than \d+ bytes$/)
})

// ---------------------------------------------------------------- a run that was made

interface Made { readonly folder: string; readonly out: string; readonly store: string; readonly lock: Lock }

async function madeIn(folder: string): Promise<Made> {
  writeTiny(folder, "tiny.slm", tiny)
  const recipe = readRecipe(path.join(folder, "tiny.slm"))
  if ("message" in recipe) throw new Error(recipe.message)
  const ran = await runInFolder(recipe, { params: new Map(), device: createReference() })
  if ("message" in ran || ran.lock === null) throw new Error("the run failed")
  return { folder, out: ran.out, store: path.join(folder, ".slm", "store"), lock: ran.lock }
}

const withRun = (use: (made: Made) => void | Promise<void>) => () => inFolder(async (folder) => use(await madeIn(folder)))

test("a lock or plan that was changed is refused, or compared", withRun(({ lock }) => {
  const text = writeLock(lock)
  const accepted = { whole: 0, other: 0 }
  const compare = (changed: string): void => {
    const read = readLock(changed)
    if (read === null) return
    if (compareLock(lock, read).length + compareResults(lock, read).length === 0) accepted.whole++
    else accepted.other++
    const side = (of: Lock) => ({ name: "x", lock: of, expects: [], curves: new Map() })
    diff(side(lock), side(read))
    diff(side(read), side(lock))
  }
  fc.assert(fc.property(textsOf(text), compare), runs)
  fc.assert(fc.property(changesOf(lock as unknown as Json), (changed) => compare(JSON.stringify(changed))), { numRuns: 4 * runs.numRuns })
  assert.ok(accepted.other > 0, JSON.stringify(accepted))
}))

test("what is written as YAML is read back, whatever its texts are", () => {
  const sound = (text: string): string => Buffer.from(text, "utf8").toString("utf8") // half a character has no place in a file
  fc.assert(fc.property(fc.dictionary(fc.string({ unit: "binary" }).filter((name) => name !== "__proto__"), fc.string({ unit: "binary" })), (set) => {
    const texts = Object.fromEntries(Object.entries(set).map(([name, value]) => [sound(name), sound(value)]))
    const lock: Lock = { version: 2, slm: "0", compiler: "", library: "", set: texts, numerics_class: "c", inputs: {}, stages: [{ name: "s", kind: "text", key: "k", with: texts, numeric: false, facts: { loss: Infinity, n: -0.5, big: 1e21 } }] }
    assert.equal(readLock(writeLock(lock)), lock)
  }), { numRuns: 200, examples: [[{ a: " \n" }]] })
})

test("a record that was changed lists, compares and opens, or is none", withRun(async ({ folder, out }) => {
  const [record, summary, log] = ["recipe.json", "run.yaml", "events.jsonl"].map((name) => path.join(out, name)) as [string, string, string]
  const kept = new Map([record, summary, log].map((file) => [file, fs.readFileSync(file, "utf8")]))
  const look = (): void => {
    listRuns(folder)
    keysOfRuns(folder)
    readCurves(out)
    derivedFrom(folder, "lines.txt")
    openPastRun(out)
  }
  const put = (file: string, text: string): void => {
    fs.writeFileSync(file, text)
    look()
    fs.writeFileSync(file, kept.get(file) ?? "")
  }
  fc.assert(fc.property(changesOf(jsonIn(record)), (changed) => put(record, JSON.stringify(changed))), runs)
  for (const [file, text] of kept) fc.assert(fc.property(textsOf(text), (changed) => put(file, changed)), { numRuns: 20 })
  // What a log says again of trainings that are reused goes into the next log and its page.
  const lines = (kept.get(log) ?? "").split("\n").filter((line) => /"event":"(progress|sample|trace)"/.test(line))
  fc.assert(fc.property(fc.constantFrom(...lines).chain((line) => changesOf(JSON.parse(line) as Json)), (line) => {
    fs.writeFileSync(log, `${JSON.stringify(line)}\n`)
    const opened = openRecord(out)
    if ("code" in opened) return
    opened.emit({ event: "stage-cached", stage: { key: String((line as { stage?: { key?: string } } | null)?.stage?.key), name: "small", kind: "train" }, index: 0, count: 1, facts: {} })
    assert.equal(opened.close({ recipe: "tiny", models: [], writers: new Map() }, {}), [])
    fs.rmSync(path.join(out, "earlier"), { recursive: true, force: true })
  }), { numRuns: 40 })
}))

test("copies of results that were changed write text, or are none", withRun(async ({ out }) => {
  const [prompt, words] = [["th"], { tokens: 2, temperature: 0, topK: null, topP: null, seed: 0, stop: [], signal: null }]
  const write = async (): Promise<void> => {
    const past = openPastRun(out)
    if ("message" in past) throw new Error(past.message)
    for (const model of past.models) await writeText(past, model, createReference(), prompt, words)
  }
  await write()
  for (const file of ["artifacts/small/weights.safetensors", "artifacts/pocket/weights.safetensors", "artifacts/letters/tokenizer.json"].map((name) => path.join(out, name))) {
    const bytes = new Uint8Array(fs.readFileSync(file))
    const json = file.endsWith(".json") ? [changesOf(jsonIn(file)).map((value) => Buffer.from(JSON.stringify(value)))] : []
    await fc.assert(fc.asyncProperty(fc.oneof(bytesOf(bytes), ...json), async (changed) => {
      fs.writeFileSync(file, changed)
      await write()
    }), { numRuns: 25 })
    fs.writeFileSync(file, bytes)
  }
  // Whole files, of other weights.
  const file = path.join(out, "artifacts/small/weights.safetensors")
  const read = readWeights(new Uint8Array(fs.readFileSync(file)))
  if (!read.ok) throw new Error("the weights are not read")
  for (const [name] of read.value.tensors) {
    const without = new Map([...read.value.tensors].filter(([other]) => other !== name))
    for (const tensors of [without, new Map([...without, [name, plain([3], new Float32Array(3))]])]) {
      fs.writeFileSync(file, writeWeights({ tensors }))
      await write()
    }
  }
}))

// ---------------------------------------------------------------- the store

/** An entry with this manifest, and a checksum that says that it is right. */
function signed(content: Json): string {
  const { sum: _, ...rest } = (typeof content === "object" && content !== null && !Array.isArray(content) ? content : {}) as { readonly [name: string]: Json }
  return JSON.stringify({ ...rest, sum: sha256(JSON.stringify(rest)) })
}

test("manifests of a store that were changed, with or without a checksum that fits, are entries or damaged ones", withRun(({ folder, store }) => {
  const opened = openStore(store, () => {}, 1e9)
  const names = fs.readdirSync(store)
  fc.assert(fc.property(fc.constantFrom(...names).chain((name) => fc.tuple(fc.constant(name), changesOf(jsonIn(path.join(store, name, "entry.json"))), fc.boolean())), ([name, changed, fits]) => {
    const file = path.join(store, name, "entry.json")
    const before = fs.readFileSync(file, "utf8")
    const key = String((JSON.parse(before) as { key: string }).key)
    fs.writeFileSync(file, fits ? signed(changed) : JSON.stringify(changed))
    listStore(store)
    untidy(store, { wanted: new Set(), partials: true })
    derivedFrom(folder, "lines.txt")
    opened.has(key)
    const files = fs.readdirSync(path.join(store, name)).map((each) => [each, fs.readFileSync(path.join(store, name, each))] as const)
    opened.get(key)
    fs.mkdirSync(path.join(store, name), { recursive: true }) // what is damaged was removed
    for (const [each, data] of files) fs.writeFileSync(path.join(store, name, each), each === "entry.json" ? before : data)
  }), { numRuns: 2 * runs.numRuns })
}))

test("an entry that claims more bytes than allowed is not read", withRun(({ store }) => {
  const [name = ""] = fs.readdirSync(store).filter((each) => fs.existsSync(path.join(store, each, "weights.safetensors")))
  const manifest = jsonIn(path.join(store, name, "entry.json")) as { readonly key: string; readonly files: { readonly [name: string]: Json } }
  fs.truncateSync(path.join(store, name, "weights.safetensors"), 2 ** 40)
  fs.writeFileSync(path.join(store, name, "entry.json"), signed({ ...manifest, files: { ...manifest.files, "weights.safetensors": { sha256: "0", bytes: 2 ** 40 } } }))
  const warned: string[] = []
  assert.is(openStore(store, (message) => warned.push(message), 1e9).get(manifest.key), null)
  assert.match(warned.join(), "is damaged")
}))

test("what stands where files of a store, a run or a recipe should be is no file of theirs", withRun(async ({ folder, out, store }) => {
  const [entry = ""] = fs.readdirSync(store)
  for (const place of [path.join(out, "run.yaml"), path.join(out, "recipe.json"), path.join(folder, "tiny.lock"), path.join(store, entry, "entry.json"), path.join(folder, ".slm", "hashes.json"), path.join(folder, ".slm", "runs.txt"), path.join(store, `${entry}.lock`)]) {
    for (const make of [() => execFileSync("mkfifo", [place]), () => fs.mkdirSync(place), () => fs.symlinkSync("/dev/zero", place), () => fs.symlinkSync(place, place), () => { fs.writeFileSync(place, ""); fs.truncateSync(place, 2 ** 40) }]) {
      fs.rmSync(place, { recursive: true, force: true })
      make()
      listRuns(folder)
      keysOfRuns(folder)
      derivedFrom(folder, "lines.txt")
      untidy(store, { wanted: new Set(), partials: true })
      openHashes(path.join(folder, ".slm", "hashes.json"), false)
      openPastRun(out)
      openStore(store, () => {}).has(entry)
    }
  }
}))

// ---------------------------------------------------------------- checkpoints, traces, hashes

test("checkpoints and traces that were changed are those of this training, or none", () => {
  const checked = checkText(tiny.replace("char(lines.train)", "byte()"))
  const stage = checked.recipe?.stages.find(({ kind }) => kind === "train")
  const size = checked.recipe?.stages.find(({ kind }) => kind === "byte")?.key ?? ""
  const known = checkText(tiny.replace("char(lines.train)", "byte()"), { facts: new Map([[`${size}.size`, 257]]) })
  const again = known.recipe?.stages.find(({ kind }) => kind === "train")
  const shape = again === undefined ? null : trainingShape(again, known, null)
  if (stage === undefined || again === undefined || shape === null) throw new Error("no training")
  const lowered = lowerTraining(known.session, again, shape.shape)
  const states = new Map([...lowered.weights.filter(({ trained }) => trained), ...lowered.optimizer].map(({ name, shape: of }) => [name, { shape: of, dtype: "f32" as const, data: new Float32Array(of.reduce((n, d) => n * d, 1)) }]))
  const tally = { sum: 1, count: 1, recent: [1], valid: 2, measured: { losses: { prose: 2 }, metrics: {} }, history: [{ step: 1, valid: 2, train: 1 }], warned: false, trace: "ab", steps: "cd" }
  const events = [{ event: "progress", stage: { key: again.key, name: "small", kind: "train" }, step: 1, total: 3, loss: 1, valid: null, gradNorm: 1, lr: 1, tokensPerSecond: 1, secondsLeft: 1 }] as const
  const files = toCheckpoint({ state: { step: 1, states, best: { step: 1, valid: 2, score: 2, measured: tally.measured, weights: states }, tally }, events, compiler: "0" })
  assert.is.not(fromCheckpoint(files, lowered), null)
  for (const name of ["training.json", "events.json"]) {
    const value = JSON.parse(new TextDecoder().decode(files.get(name))) as Json
    fc.assert(fc.property(changesOf(value), (changed) => {
      const read = fromCheckpoint(new Map([...files, [name, new TextEncoder().encode(JSON.stringify(changed))]]), lowered)
      if (read === null) return
      const { step, best, tally: counted } = read.state
      assert.ok(Number.isSafeInteger(step) && step >= 0 && (best === null || Number.isSafeInteger(best.step)), JSON.stringify(changed))
      assert.ok(typeof counted.trace === "string" && Array.isArray(counted.recent) && counted.recent.every((n) => typeof n === "number") && counted.history.every(({ valid }) => typeof valid === "number"))
      assert.ok(read.events.every(({ event }) => typeof event === "string"))
    }), { numRuns: 3 * runs.numRuns })
  }
  for (const event of ["__proto__", "toString"]) assert.is(fromCheckpoint(new Map([...files, ["events.json", new TextEncoder().encode(JSON.stringify([{ ...events[0], event }]))]]), lowered), null)
  for (const name of ["states.safetensors", "best.safetensors"]) {
    fc.assert(fc.property(bytesOf(files.get(name) ?? new Uint8Array()), (changed) => {
      const read = fromCheckpoint(new Map([...files, [name, changed]]), lowered)
      const found = name.startsWith("best") ? read?.state.best?.weights : read?.state.states
      for (const [of, tensor] of found ?? []) assert.is(tensor.data.length, states.get(of)?.data.length ?? -1, of)
    }), runs)
  }
  const moments = [{ step: 1, steps: "0".repeat(8), states: { a: "x" } }, { step: 2, steps: "1".repeat(8), states: { a: "y" } }]
  fc.assert(fc.property(changesOf(moments as unknown as Json), (changed) => {
    const read = readTrace(new TextEncoder().encode(JSON.stringify(changed)))
    if (read !== null) divergence(moments, read)
  }), runs)
  assert.equal(readTrace(writeTrace(moments)), moments)
})

test("hashes of inputs that were changed are hashes, or forgotten", () => inFolder(async (folder) => {
  const [place, file] = [path.join(folder, "hashes.json"), path.join(folder, "a.txt")]
  fs.writeFileSync(file, "words")
  const hashes = openHashes(place, false)
  hashes.of(file)
  hashes.save()
  fc.assert(fc.property(changesOf(jsonIn(place)), (changed) => {
    fs.writeFileSync(place, JSON.stringify(changed))
    assert.match(openHashes(place, false).of(file), /^[0-9a-f]{64}$/)
  }), runs)
}))

// ---------------------------------------------------------------- folders of weights

test("a folder of weights of which anything was changed is loaded, or refused with a reason", () => inFolder(async (folder) => {
  const config: Json = { architectures: ["Words"], vocab_size: 8, rope: { theta: 1e4 } }
  const weights = writeSafetensors([{ name: "a", dtype: "F32", shape: [2, 4], data: new Float32Array(8) }, { name: "b", dtype: "BF16", shape: [4], data: new Uint16Array(4) }])
  const index: Json = { metadata: { total_size: 40 }, weight_map: { a: "model-1.safetensors", b: "model-1.safetensors" } }
  const format = { name: "plain", blocks: new Map(), maps: [] }
  const look = (): void => {
    const headers = readHeaders(folder)
    if (!headers.ok) return assert.ok(headers.problems.length > 0)
    if (checkFolder(headers.value, format, new Map()).length === 0) loadWeights(headers.value, format, new Map())
  }
  const put = (name: string, data: string | Uint8Array): void => fs.writeFileSync(path.join(folder, name), data)
  put("config.json", JSON.stringify(config))
  put("model-1.safetensors", weights)
  put("model.safetensors.index.json", JSON.stringify(index))
  look()
  for (const [name, value] of [["config.json", config], ["model.safetensors.index.json", index]] as const) {
    fc.assert(fc.property(fc.oneof(changesOf(value).map((changed) => JSON.stringify(changed)), textsOf(JSON.stringify(value))), (text) => {
      put(name, text)
      look()
    }), runs)
    put(name, JSON.stringify(value))
  }
  fc.assert(fc.property(bytesOf(weights), (bytes) => {
    put("model-1.safetensors", bytes)
    look()
  }), runs)
  fs.rmSync(path.join(folder, "model-1.safetensors"))
  execFileSync("mkfifo", [path.join(folder, "model-1.safetensors")])
  look()
}))

test.run()
