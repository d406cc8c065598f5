/** The lock of a run: what its checked recipe, its inputs and its results amount to. */
import type { Checked } from "../compiler/check/check.ts"
import { display } from "../compiler/check/describe.ts"
import { resolveSpec } from "../compiler/check/instance.ts"
import type { Machine } from "../compiler/check/machine.ts"
import { createMachine } from "../compiler/check/machine.ts"
import type { Value } from "../compiler/check/value.ts"
import type { Stage } from "../compiler/plan/stage.ts"
import type { Source } from "../grammar/diagnostic.ts"
import { sha256 } from "./files.ts"
import type { Lock, LockedStage } from "./lock.ts"
import { kinds } from "./stages/execute.ts"
import type { ArtifactKeys } from "./stages/keys.ts"
import type { Files } from "./store/entry.ts"
import { version } from "./version.ts"

/** What a stage yielded. */
export interface Yield {
  /** A hash over its files, where it is kept. */
  readonly result: string | null
  readonly facts: Readonly<Record<string, number>>
}

export interface LockParts {
  readonly checked: Checked
  readonly params: ReadonlyMap<string, string>
  readonly numericsClass: string
  readonly keys: ArtifactKeys
  /** By the key of the stage. */
  readonly yields: ReadonlyMap<string, Yield>
}

export function lockOf({ checked, params, numericsClass, keys, yields }: LockParts): Lock {
  const stages = checked.recipe?.stages ?? []
  const inputs = stages.flatMap((stage) => keys.inputs(stage) ?? [])
  return {
    version: 1, slm: version, library: libraryHash(checked.sources), set: Object.fromEntries([...params].sort(byName)), numerics_class: numericsClass,
    inputs: Object.fromEntries(inputs.map(({ name, bytes, sha256: hash, package: from }) => [name, { bytes, sha256: hash, ...(from === null ? {} : { package: from }) }] as const).sort(byName)),
    stages: stages.map((stage) => lockedStage(stage, checked, yields.get(stage.key))),
  }
}

/** A hash over the files of a result. */
export function hashOfFiles(files: Files): string {
  return sha256(JSON.stringify([...files].map(([name, data]) => [name, sha256(data)] as const).sort(byName)))
}

function byName(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1
}

function libraryHash(sources: ReadonlyMap<string, Source>): string {
  return sha256(JSON.stringify([...sources].filter(([id]) => id.startsWith("std.")).map(([id, { text }]) => [id, text] as const).sort(byName)))
}

function lockedStage(stage: Stage, checked: Checked, yielded: Yield | undefined): LockedStage {
  // Sizes by the stage that decides them (`words.size`), not by what it decided: that is a fact of its own.
  const machine = createMachine({ ...checked.session, environment: { ...checked.session.environment, facts: new Map() } })
  const args = [...stage.args].flatMap(([name, value]) => shown(name, value, checked, machine)).sort(byName)
  const { name, kind, key } = stage
  return {
    name, kind, key, with: Object.fromEntries(args), ...(yielded?.result === undefined || yielded.result === null ? {} : { result: yielded.result }),
    // What is made from numeric results is as numeric: of a quantised model, too.
    numeric: numeric(stage), facts: yielded?.facts ?? {},
  }
}

type Shown = readonly (readonly [name: string, text: string])[]

/**
 * An argument as texts that two values share only where they mean the same: `model: Llama`, `model.dim: 8`. Of artifacts the name:
 * what they mean is a stage of its own. What is not given is not there.
 */
function shown(name: string, value: Value, checked: Checked, machine: Machine): Shown {
  const text = display(value, machine)
  switch (value.kind) {
    case "none": return []
    case "list": return value.items.flatMap((item, i) => shown(`${name}[${i}]`, item, checked, machine))
    case "record": return [...value.fields].flatMap(([field, item]) => shown(`${name}.${field}`, item, checked, machine))
    case "spec":
      if (value.ats.length > 0) break
      return [[name, value.template.code.name.name], ...[...(resolveSpec(value, machine)?.args ?? value.args)].flatMap(([field, item]) => shown(`${name}.${field}`, item, checked, machine))]
    case "int": case "float": case "bool": case "string": case "symbol": case "quantity": case "artifact":
      if (text !== null) return [[name, text]]
      break
    default: break
  }
  return [[name, `${text ?? value.kind} #${sha256(checked.session.keys.of(value)).slice(0, 12)}`]]
}

function numeric(stage: Stage): boolean {
  return kinds[stage.kind].numeric || stage.inputs.some(numeric)
}
