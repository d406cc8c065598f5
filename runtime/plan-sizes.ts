/** How many tokens data will have, before it is read: known from an earlier run, or bounded by the size of its files. */
import { createMachine } from "../compiler/check/machine.ts"
import type { Session } from "../compiler/check/session.ts"
import type { Stage, StageKind } from "../compiler/plan/stage.ts"
import type { Device } from "./device.ts"
import type { Limits } from "./limits.ts"
import { inputFiles } from "./stages/data.ts"
import type { ArtifactKeys } from "./stages/keys.ts"
import type { Store } from "./store/store.ts"

/** A number of a plan. `about`: a share of what is there; `at most`: what comes out may be less. */
export interface Count {
  readonly value: number
  readonly is: "exact" | "at most" | "about"
}

/** What is done already: results in the store, under the keys they have on a device. */
export interface Finished {
  readonly store: Store
  readonly keys: ArtifactKeys
  /** The device itself, where it is there: what it can tell of memory. */
  readonly device?: Pick<Device, "info" | "memoryOf" | "computesFromStorage">
  /** What a run may take; default: what the machine has. */
  readonly limits?: Limits
}

export interface Place { readonly folder: string; readonly allowRead: readonly string[] }

/** Sizes of data by stage. The members of split data have sizes of their own, the whole is under "". */
export interface Sizes {
  /** Tokens that pass through a model when all packed rows of the data do, padding included; null: not even a bound is known. */
  packed(stage: Stage, member: string | null): Count | null
  /** Rows of data that is not packed; null: only reading it tells. */
  rows(stage: Stage, member: string | null): Count | null
}

type Members = ReadonlyMap<string, Count>
const nothing: Members = new Map()

export function createSizes(session: Session, finished: Finished, place: Place): Sizes {
  const machine = createMachine(session)
  const known = new Map<string, Members>()

  function number(stage: Stage, name: string): number | null {
    const value = stage.args.get(name)
    return value?.kind === "int" ? machine.known(value.poly) : value?.kind === "float" ? value.value : null
  }

  /** Tokens are at most as many as bytes. */
  function tokens(stage: Stage): Members {
    const found = known.get(stage.key) ?? measure(stage)
    known.set(stage.key, found)
    return found
  }

  function measure(stage: Stage): Members {
    if (stage.kind === "pack") {
      const before = packedBefore(stage)
      if (before !== null) return before
    }
    const files = inputFiles(stage, place)
    if (files.ok && files.value.length > 0) return new Map([["", { value: files.value.reduce((sum, file) => sum + file.bytes, 0), is: "at most" }]])
    const data = stage.args.get("data")
    if (data?.kind !== "artifact") return nothing
    const all = tokens(data.stage)
    const own = data.member === null ? all : only(all, data.member)
    if (stage.kind === "take") return firstRows(stage, own)
    return stage.kind === "split" ? shared(own, number(stage, "valid") ?? 0, number(stage, "test") ?? 0) : own
  }

  /** Of packed rows so many as are taken; how long documents are is not known. */
  function firstRows(stage: Stage, own: Members): Members {
    const count = number(stage, "count")
    const length = stage.type.is === "tokens" && stage.type.length?.kind === "int" ? machine.known(stage.type.length.poly) : null
    const most = count === null || length === null ? null : count * length
    return new Map([...own].map(([member, { value, is }]) => [member, most === null ? { value, is: "at most" } : most > value ? { value, is } : { value: most, is: is === "exact" ? is : "at most" }]))
  }

  /** Rows and their length, of an earlier run on the same data. */
  function packedBefore(stage: Stage): Members | null {
    const [rows, length] = [rowsBefore(stage), number(stage, "length")]
    return rows === null || length === null ? null : new Map([...rows].map(([member, { value, is }]) => [member, { value: value * length, is }]))
  }

  function rowsBefore(stage: Stage): Members | null {
    const key = finished.keys.of(stage)
    const facts = key !== null && finished.store.has(key) ? finished.store.get(key)?.about.facts : undefined
    if (facts === undefined) return null
    const rows = Object.entries(facts).flatMap(([field, value]) => (field === "rows" ? [["", value] as const] : field.endsWith(".rows") ? [[field.slice(0, -".rows".length), value] as const] : []))
    return new Map(rows.map(([member, count]) => [member, { value: count, is: "exact" }]))
  }

  /** Of an earlier run, or as the recipe tells it. */
  function rowsOf(stage: Stage): Members {
    const before = rowsBefore(stage)
    const count = number(stage, "count")
    if (before !== null) return before
    if (stage.kind === "made") return count === null ? nothing : new Map([["", { value: count, is: "exact" }]])
    const change = rowChanges.get(stage.kind)
    const data = stage.args.get("data")
    if (change === undefined || data?.kind !== "artifact") return nothing
    const all = rowsOf(data.stage)
    const own = data.member === null ? all : only(all, data.member)
    if (stage.kind === "split") return shared(own, number(stage, "valid") ?? 0, number(stage, "test") ?? 0)
    return new Map([...own].map(([member, { value, is }]) => [member, changed(change, value, is, count)]))
  }

  return { packed: (stage, member) => tokens(stage).get(member ?? "") ?? null, rows: (stage, member) => rowsOf(stage).get(member ?? "") ?? null }
}

/** What stages do with rows: as many come out, fewer may, or for each one `count`. */
type RowChange = "same" | "fewer" | "first" | "each"
const rowChanges: ReadonlyMap<StageKind, RowChange> = new Map([
  ["each_row", "same"], ["instruct", "same"], ["redact", "same"], ["chat", "same"], ["split", "same"], ["clean", "fewer"], ["filter", "fewer"], ["distinct", "fewer"], ["in_language", "fewer"], ["take", "first"], ["write", "each"],
])

function changed(change: RowChange, value: number, is: Count["is"], count: number | null): Count {
  if (change === "same") return { value, is }
  if (change === "each") return { value: value * (count ?? 1), is }
  const bounded = is === "about" ? is : "at most"
  return change === "fewer" || count === null ? { value, is: bounded } : { value: Math.min(value, count), is: count <= value && is === "exact" ? is : bounded }
}

function only(all: Members, member: string): Members {
  const found = all.get(member)
  return found === undefined ? nothing : new Map([["", found]])
}

/** A split by hash comes close to its shares. */
function shared(all: Members, valid: number, test: number): Members {
  const whole = all.get("")
  if (whole === undefined) return nothing
  const part = (share: number): Count => ({ value: Math.ceil(whole.value * share), is: "about" })
  return new Map([["", whole], ["train", part(1 - valid - test)], ["valid", part(valid)], ["test", part(test)]])
}
