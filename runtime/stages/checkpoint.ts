/** The state of a training as files and back, and when to keep it. */
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { HostTensor } from "../device.ts"
import type { FileTensor } from "../export/safetensors.ts"
import { parseSafetensors, writeSafetensors } from "../export/safetensors.ts"
import type { Checkpoints } from "../store/checkpoints.ts"
import type { Files } from "../store/entry.ts"
import { compilerHash } from "../version.ts"
import { systemFailure } from "../system-error.ts"
import type { StageEnv } from "./environment.ts"
import { refOf } from "./environment.ts"
import type { Event } from "./events.ts"
import type { States } from "./stepper.ts"
import type { Best, Saver, Tally, TrainingState } from "./training.ts"

/** A training on its way, and what it has said: whoever goes on from it says that again, so that no curve begins in the middle. */
export interface Unfinished {
  readonly state: TrainingState
  readonly events: readonly Event[]
  /** The compiler that made it, by the hash of its sources. */
  readonly compiler: string
}

interface About {
  readonly version: 2
  readonly compiler: string
  readonly step: number
  readonly best: Omit<Best, "weights"> | null
  readonly tally: Tally
}

const version = 2
const dtypes = { f32: "F32", i32: "I32", bool: "U8" } as const

export function toCheckpoint({ state, events, compiler }: Unfinished): Files {
  const { step, best, tally } = state
  const about: About = { version, compiler, step, best: best === null ? null : { step: best.step, valid: best.valid, score: best.score, measured: best.measured }, tally }
  const utf8 = new TextEncoder()
  return new Map([
    ["training.json", utf8.encode(JSON.stringify(about, keepNumbers))],
    ["events.json", utf8.encode(JSON.stringify(events))],
    ["states.safetensors", tensorsOf(state.states)],
    ...(best === null ? [] : [["best.safetensors", tensorsOf(best.weights)] as const]),
  ])
}

/** null: of another version of slm, or of a training with other states. */
export function fromCheckpoint(files: Files, lowered: LoweredTraining): Unfinished | null {
  const about = jsonOf(files, "training.json", revive)
  const events = jsonOf(files, "events.json")
  const states = statesOf(files, "states.safetensors")
  if (!isAbout(about) || !Array.isArray(events) || !events.every(isSaid) || states === null) return null
  const best = about.best === null ? null : statesOf(files, "best.safetensors")
  if (about.best !== null && best === null) return null
  const changing = [...lowered.weights.filter((slot) => slot.trained), ...lowered.optimizer]
  if (states.size !== changing.length || changing.some((slot) => !isOf(slot, states.get(slot.name)))) return null
  if (best !== null && [...best].some(([name, tensor]) => !isOf(changing.find((slot) => slot.name === name), tensor))) return null
  return { state: { step: about.step, states, best: about.best === null || best === null ? null : { ...about.best, weights: best }, tally: about.tally }, events: events.map(withRates), compiler: about.compiler }
}

function isOf(slot: { readonly shape: readonly number[] } | undefined, tensor: HostTensor | undefined): boolean {
  return slot !== undefined && tensor?.dtype === "f32" && size(tensor.shape) === size(slot.shape)
}

function isAbout(x: unknown): x is About {
  return isRecord(x) && x["version"] === version && typeof x["compiler"] === "string" && isStep(x["step"]) && (x["best"] === null || isBest(x["best"])) && isTally(x["tally"])
}

function isBest(x: unknown): boolean {
  return isRecord(x) && isStep(x["step"]) && typeof x["valid"] === "number" && typeof x["score"] === "number" && isMeasured(x["measured"])
}

function isMeasured(x: unknown): boolean {
  return isRecord(x) && isNamed(x["losses"]) && isNamed(x["metrics"])
}

function isNamed(x: unknown): boolean {
  return isRecord(x) && Object.values(x).every((value) => typeof value === "number")
}

function isTally(x: unknown): x is Tally {
  if (!isRecord(x) || !Array.isArray(x["recent"]) || !Array.isArray(x["history"])) return false
  const validation = (one: unknown): boolean => isRecord(one) && isStep(one["step"]) && typeof one["valid"] === "number" && typeof one["train"] === "number"
  return ["sum", "count"].every((name) => typeof x[name] === "number") && x["recent"].every((loss) => typeof loss === "number") && (x["valid"] === null || typeof x["valid"] === "number") && isMeasured(x["measured"]) &&
    x["history"].every(validation) && typeof x["warned"] === "boolean" && typeof x["trace"] === "string" && typeof x["steps"] === "string"
}

const rates = ["tokensPerSecond", "secondsLeft"]

/** JSON has no word for the rate of a step that took no time; nobody compares rates. */
function withRates(event: Event): Event {
  return event.event === "progress" ? { ...event, tokensPerSecond: event.tokensPerSecond ?? 0, secondsLeft: event.secondsLeft ?? 0 } : event
}

/** What a training said: an event with its stage. */
function isSaid(x: unknown): x is Event {
  return isRecord(x) && typeof x["event"] === "string" && isRecord(x["stage"]) && ["key", "name", "kind"].every((name) => isRecord(x["stage"]) && typeof x["stage"][name] === "string") && Object.hasOwn(told, x["event"]) && told[x["event"]]?.(x) === true
}

const told: Readonly<Record<string, (x: Readonly<Record<string, unknown>>) => boolean>> = {
  progress: (x) => ["losses", "metrics"].every((name) => x[name] === undefined || (isRecord(x[name]) && Object.values(x[name]).every((value) => value === null || typeof value === "number"))) && isStep(x["step"]) && isStep(x["total"]) && typeof x["loss"] === "number" && ["valid", "gradNorm", "lr"].every((name) => x[name] === null || typeof x[name] === "number") && rates.every((name) => x[name] === null || typeof x[name] === "number"),
  trace: (x) => isStep(x["step"]) && typeof x["steps"] === "string" && isRecord(x["states"]) && Object.values(x["states"]).every((hash) => typeof hash === "string"),
  sample: (x) => (x["at"] === null || typeof x["at"] === "number") && typeof x["prompt"] === "string" && typeof x["text"] === "string",
  warning: (x) => typeof x["message"] === "string" && (x["help"] === null || typeof x["help"] === "string"),
}

function isStep(x: unknown): x is number {
  return typeof x === "number" && Number.isSafeInteger(x) && x >= 0
}

function isRecord(x: unknown): x is Readonly<Record<string, unknown>> {
  return typeof x === "object" && x !== null && !Array.isArray(x)
}

function tensorsOf(states: States): Uint8Array {
  return writeSafetensors([...states].map(([name, { dtype, shape, data }]): FileTensor => ({ name, dtype: dtypes[dtype], shape, data })))
}

function statesOf(files: Files, name: string): Map<string, HostTensor> | null {
  const bytes = files.get(name)
  const file = bytes === undefined ? null : parseSafetensors(bytes)
  if (file?.ok !== true) return null
  return new Map(file.value.tensors.flatMap(({ name: tensor, shape, data }) => {
    const dtype = data instanceof Float32Array ? "f32" : data instanceof Int32Array ? "i32" : "bool"
    return data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array ? [[tensor, { shape, dtype, data }] as const] : []
  }))
}

/** JSON has no word for what a validation may yield; there are no texts beside it but hexadecimal ones. */
function keepNumbers(_: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value
}

function revive(_: string, value: unknown): unknown {
  return value === "NaN" || value === "Infinity" || value === "-Infinity" ? Number(value) : value
}

function jsonOf(files: Files, name: string, reviver?: (key: string, value: unknown) => unknown): unknown {
  const bytes = files.get(name)
  try {
    return bytes === undefined ? null : JSON.parse(new TextDecoder().decode(bytes), reviver)
  } catch {
    return null
  }
}

// ---------------------------------------------------------------- when

/** Of the time of a training, saving takes at most one part in this many. */
const share = 60
/** What a disk writes in a second at least, for the first time. */
const bytesPerSecond = 100e6

/** Saves every `seconds`, less often where that would take more than 2% of the time; 0: after every step, whatever it takes. A disk that refuses stops nothing. */
export function createSaver(stage: Stage, lowered: LoweredTraining, env: StageEnv, said: () => readonly Event[]): Saver | null {
  const { checkpoints, checkpointSeconds, clock } = env
  if (checkpoints === null) return null
  const numbers = [...lowered.weights.filter((slot) => slot.trained), ...lowered.optimizer].reduce((sum, slot) => sum + size(slot.shape), 0)
  let [savedAt, wait, told] = [clock(), checkpointSeconds === 0 ? 0 : Math.max(checkpointSeconds, (share * 4 * numbers) / bytesPerSecond), false]
  return {
    due: () => clock() - savedAt >= wait,
    async save(state) {
      const start = clock()
      try {
        const now = await state()
        checkpoints.save({ step: now.step, files: toCheckpoint({ state: now, events: said(), compiler: compilerHash() }) })
      } catch (error) {
        const refused = systemFailure(error)
        if (refused === null) throw error
        if (!told) env.emit({ event: "warning", stage: refOf(stage), message: `the training goes on without a checkpoint: ${refused.message}`, help: refused.help })
        told = true
      }
      savedAt = clock()
      wait = checkpointSeconds === 0 ? 0 : Math.max(checkpointSeconds, share * (savedAt - start))
    },
  }
}

/** Where an earlier run stopped; null: nothing is left of one. */
export function unfinished(checkpoints: Checkpoints | null, lowered: LoweredTraining): Unfinished | null {
  const found = checkpoints?.latest() ?? null
  return found === null ? null : fromCheckpoint(found.files, lowered)
}
