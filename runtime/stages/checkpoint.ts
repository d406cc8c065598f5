/** The state of a training as files and back, and when to keep it. */
import type { LoweredTraining } from "../../compiler/graph/lower/programs.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { HostTensor } from "../device.ts"
import type { FileTensor } from "../export/safetensors.ts"
import { parseSafetensors, writeSafetensors } from "../export/safetensors.ts"
import type { Checkpoints } from "../store/checkpoints.ts"
import type { Files } from "../store/entry.ts"
import { systemFailure } from "../system-error.ts"
import type { StageEnv } from "./environment.ts"
import { refOf } from "./environment.ts"
import type { Event } from "./events.ts"
import type { States } from "./stepper.ts"
import type { Saver, Tally, TrainingState } from "./training.ts"

/** A training on its way, and what it has said: whoever goes on from it says that again, so that no curve begins in the middle. */
export interface Unfinished {
  readonly state: TrainingState
  readonly events: readonly Event[]
}

interface About {
  readonly version: 1
  readonly step: number
  readonly best: { readonly step: number; readonly valid: number } | null
  readonly tally: Tally
}

const version = 1
const dtypes = { f32: "F32", i32: "I32", bool: "U8" } as const

export function toCheckpoint({ state, events }: Unfinished): Files {
  const { step, best, tally } = state
  const about: About = { version, step, best: best === null ? null : { step: best.step, valid: best.valid }, tally }
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
  const about = jsonOf(files, "training.json", revive) as About | null
  const events = jsonOf(files, "events.json")
  const states = statesOf(files, "states.safetensors")
  if (about?.version !== version || !Array.isArray(events) || states === null) return null
  const best = about.best === null ? null : statesOf(files, "best.safetensors")
  if (about.best !== null && best === null) return null
  const changing = [...lowered.weights.filter((slot) => slot.trained), ...lowered.optimizer]
  if (states.size !== changing.length || changing.some(({ name, shape }) => size(states.get(name)?.shape ?? [-1]) !== size(shape))) return null
  return { state: { step: about.step, states, best: about.best === null || best === null ? null : { ...about.best, weights: best }, tally: about.tally }, events: events as readonly Event[] }
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
        checkpoints.save({ step: now.step, files: toCheckpoint({ state: now, events: said() }) })
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
