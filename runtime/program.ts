/** A run that a program steps through: what `slm compile --emit ts` writes calls its stages one by one. */
import { dirname } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { check, type Recipe } from "../compiler/check/check.ts"
import type { ArtifactKind } from "../compiler/render/ts-names.ts"
import { artifactKindOf } from "../compiler/render/ts-names.ts"
import { renderDiagnostics } from "../grammar/render.ts"
import type { Device } from "./device.ts"
import type { Failure } from "./data/result.ts"
import { moduleReader } from "./library.ts"
import type { RecipeFile } from "./recipe.ts"
import type { StageResult } from "./run-state.ts"
import { runInFolder, type RecordedRun, type RunFolderOptions } from "./run-folder.ts"

/** What a stage made. Its content stays where it is; what is known of it is here. */
export interface Artifact<K extends ArtifactKind = ArtifactKind> {
  readonly kind: K
  /** As the recipe calls it. */
  readonly name: string
  /** Of its meaning; equal on every machine. */
  readonly key: string
  /** Numbers that making it taught. */
  readonly facts: Readonly<Record<string, number>>
  /** A hash over its files; null where none are kept. */
  readonly content: string | null
  /** It was taken from an earlier run. */
  readonly cached: boolean
}

/** A stage of the plan that a program embeds. */
export interface PlannedStage {
  readonly name: string
  readonly kind: string
  readonly key: string
  /** Keys of what it is made from. */
  readonly inputs: readonly string[]
  /** Weights of its model, and floating-point operations, where they were known. */
  readonly parameters?: number
  readonly flops?: number
}

export interface ProgramText {
  readonly name: string
  /** A recipe with everything it uses. */
  readonly recipe: string
  readonly plan: readonly PlannedStage[]
  /** Values of its params. */
  readonly set: Readonly<Record<string, string>>
  /** Where its paths begin. */
  readonly folder: string
}

export interface Program {
  /** Makes a stage from its inputs, or finds what an earlier run made. Rejects with what is wrong. */
  stage<K extends ArtifactKind>(kind: K, key: string, inputs: Readonly<Record<string, Artifact>>): Promise<Artifact<K>>
  /** Decides the expectations and closes the record of the run. */
  finish(): Promise<RecordedRun>
}

interface Request { readonly key: string; done(result: StageResult): void; failed(reason: Error): void }

/** Begins a run; `options` as for `runInFolder`. Rejects where this version of slm understands the text otherwise than the one that wrote it. */
export function startProgram(text: ProgramText, device: Device, options: Omit<RunFolderOptions, "params" | "device" | "next">): Program {
  const file: RecipeFile = { source: { id: `${text.name}.slm`, text: text.recipe }, folder: text.folder, name: text.name }
  const params = new Map(Object.entries(text.set))
  const recipe = understood(file, params, text.plan)
  const requests: Request[] = []
  let [current, wake, closing]: [Request | null, () => void, boolean] = [null, () => {}, false]

  const next = async (last: StageResult | null): Promise<string | null> => {
    if (last !== null) current?.done(last)
    while (requests.length === 0 && !closing) await new Promise<void>((resolve) => { wake = resolve })
    current = requests.shift() ?? null
    return current?.key ?? null
  }
  const ended = runInFolder(file, { ...options, params, device, next }).then(result)
  ended.catch(() => {}) // told to whoever asks for a stage, or finishes
  const stop = (reason: Error): void => {
    for (const request of [...(current === null ? [] : [current]), ...requests.splice(0)]) request.failed(reason)
  }
  ended.then((run) => stop(new Error(messageOf(run))), (reason: unknown) => stop(reason instanceof Error ? reason : new Error(String(reason))))

  return {
    async stage(kind, key, inputs) {
      const stage = recipe.stages.find((each) => each.key === key)
      if (stage === undefined || artifactKindOf(stage) !== kind) throw new Error(`the plan has no stage ${key} that makes ${kind}`)
      const given = new Set(Object.values(inputs).map((input) => input.key))
      const lacking = stage.inputs.filter((input) => !given.delete(input.key))
      if (lacking.length > 0 || given.size > 0) throw new Error(`\`${stage.name}\` is made from ${stage.inputs.map(({ name }) => name).join(", ") || "nothing"}, and was given something else`)
      const made = await new Promise<StageResult>((done, failed) => {
        requests.push({ key, done, failed })
        wake()
      })
      return { kind, name: stage.name, key, facts: made.facts, content: made.content, cached: made.cached }
    },
    async finish() {
      closing = true
      wake()
      return ended
    },
  }
}

/** Where a module of a program lies: the paths of its recipe begin there. */
export function folderOf(module: string): string {
  return dirname(fileURLToPath(module))
}

/** Runs `main` where the module is the one that Node was started with, and says how it ended. */
export async function whenStarted(module: string, main: () => Promise<Pick<RecordedRun, "status" | "out">>): Promise<void> {
  const [, entry] = process.argv
  if (entry === undefined || pathToFileURL(entry).href !== module) return
  try {
    const { status, out } = await main()
    console.log(`${status}: ${out}`)
    if (status !== "done") process.exitCode = 1
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}

function result(run: RecordedRun | Failure): RecordedRun {
  if ("code" in run) throw new Error(`${run.message}${run.help === null ? "" : `: ${run.help}`}`)
  return run
}

function messageOf({ status, diagnostics, sources }: RecordedRun): string {
  return diagnostics.length === 0 ? `the run is ${status}` : renderDiagnostics(diagnostics, sources, { color: false })
}

function understood({ source, folder }: RecipeFile, params: ReadonlyMap<string, string>, plan: readonly PlannedStage[]): Recipe {
  const { recipe, diagnostics, sources } = check(source, { modules: moduleReader(folder), params, facts: new Map() })
  if (recipe === null) throw new Error(`this version of slm does not understand the recipe\n${renderDiagnostics(diagnostics, sources, { color: false })}`)
  const other = plan.findIndex(({ key }, i) => recipe.stages[i]?.key !== key)
  if (other >= 0 || plan.length !== recipe.stages.length) throw new Error(`this version of slm gives \`${plan[other]?.name ?? recipe.stages[plan.length]?.name ?? ""}\` another key: write the program anew with \`slm compile --emit ts\``)
  return recipe
}
