/** `slm compile --emit c`: a stage as a folder that trains or writes text without Node. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { check } from "../../compiler/check/check.ts"
import { factorsOf, LoweringMistake } from "../../compiler/graph/lower/context.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { libraryHeader, librarySource } from "../../compiler/render/native/library.ts"
import { makefile, programFile } from "../../compiler/render/native/program.ts"
import type { Origin } from "../../compiler/render/native/program.ts"
import type { CpuTarget } from "../../compiler/schedule/cpu.ts"
import type { Diagnostic, Source } from "../../grammar/diagnostic.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Failure } from "../data/result.ts"
import type { Device } from "../device.ts"
import { writeAtomic } from "../files.ts"
import { moduleReader } from "../library.ts"
import type { RecipeFile } from "../recipe.ts"
import { run } from "../run.ts"
import type { RunResult } from "../run-state.ts"
import { machineLimits } from "../limits.ts"
import { storeOf } from "../run-folder.ts"
import type { StageEnv } from "../stages/environment.ts"
import type { Emit } from "../stages/events.ts"
import { kinds } from "../stages/execute.ts"
import { createArtifactKeys } from "../stages/keys.ts"
import { bytesOf, originOf } from "./folder.ts"
import type { Files } from "./folder.ts"
import { webFiles } from "../web/emit.ts"
import { nativeGeneration } from "./generate.ts"
import { nativeTraining } from "./train.ts"
import type { NativeSources } from "./train.ts"

export interface EmitOptions {
  readonly recipe: RecipeFile
  readonly params: ReadonlyMap<string, string>
  /** One of `isNative`. */
  readonly stage: Stage
  readonly target: CpuTarget
  /** `web`: a page instead of C. */
  readonly form: "c" | "web"
  /** Makes what comes before the stage, where that takes no training. */
  readonly device: Device
  readonly out: string
  readonly allowRead: readonly string[]
  readonly signal: AbortSignal | null
  readonly emit: Emit
  readonly warn: (message: string) => void
}

export interface Emitted {
  readonly files: Files
  readonly diagnostics: readonly Diagnostic[]
  readonly sources: ReadonlyMap<string, Source>
}

/** Whether a stage can be written as C; a page shows generations alone. */
export function isNative({ kind }: Stage): boolean {
  return kind === "train" || kind === "generate"
}

/** Writes the folder. Nothing is written where there are diagnostics. */
export async function emitNative(options: EmitOptions): Promise<Emitted> {
  const { recipe, stage } = options
  const needed = before(stage)
  const missing = notMade(needed, options)
  if (missing !== null) return refused([diagnostic("SLM3503", stage.span, `\`${stage.name}\` needs \`${missing.name}\`, which no run on ${options.device.info.name} has made yet`, { help: `first: slm run ${recipe.source.id}` })], new Map([[recipe.source.id, recipe.source]]))
  const made = await prepared(options, needed)
  if (made.status !== "done") return refused(made.diagnostics, made.sources)
  const checked = check(recipe.source, { modules: moduleReader(recipe.folder), params: options.params, facts: made.facts })
  const known = checked.recipe?.stages.find(({ key }) => key === stage.key)
  if (known === undefined) return refused(checked.diagnostics, checked.sources)
  const origin = originOf(known, checked.sources)
  if (options.form === "web") {
    const files = await webFiles(known, environmentOf(options, made, checked.session))
    return "size" in files ? written(files, known, options.out, checked.sources) : refused(files, checked.sources)
  }
  if (factorsOf(known.args) === "f16") return refused([diagnostic("SLM3502", known.span, `\`${known.name}\` has \`precision: f16\`, and the C that slm writes has no products of f16`, { help: "write `precision: bf16`, or leave it out" })], checked.sources)
  const sources = await sourcesOf(known, environmentOf(options, made, checked.session), options.target, origin)
  if (!("binary" in sources)) return refused(sources, checked.sources)
  const files = wholeFolder(known, sources, options.target, origin)
  return written(files, known, options.out, checked.sources)
}

function written(files: Files, stage: Stage, out: string, sources: Emitted["sources"]): Emitted {
  const failures = write(files, out)
  return { files, diagnostics: failures.map(({ code, message, help }) => diagnostic(code, stage.span, message, help === null ? {} : { help })), sources }
}

/** What comes before the stage: from the store, or made again. Its record is nobody's. */
async function prepared({ recipe, params, device, warn, allowRead, signal, emit }: EmitOptions, needed: ReadonlyMap<string, Stage>): Promise<RunResult> {
  const out = mkdtempSync(join(tmpdir(), "slm-compile-"))
  try {
    return await run({
      recipe: recipe.source, folder: recipe.folder, modules: moduleReader(recipe.folder), params, device, out, store: storeOf(recipe.folder, warn), allowRead,
      only: ({ key }) => needed.has(key), signal, emit,
    })
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
}

const refused = (diagnostics: readonly Diagnostic[], sources: ReadonlyMap<string, Source>): Emitted => ({ files: new Map(), diagnostics, sources })

/** The stages that a stage is made from, by key. */
function before(stage: Stage): ReadonlyMap<string, Stage> {
  const found = new Map<string, Stage>()
  const pending = [...stage.inputs]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (found.has(next.key)) continue
    found.set(next.key, next)
    pending.push(...next.inputs)
  }
  return found
}

/** A stage of some work whose result no run has left: compiling does not train. */
function notMade(needed: ReadonlyMap<string, Stage>, options: EmitOptions): Stage | null {
  const { recipe, device, allowRead, warn } = options
  const numeric = [...needed.values()].filter(({ kind }) => kinds[kind].numeric)
  if (numeric.length === 0) return null
  const keys = createArtifactKeys({ folder: recipe.folder, allowRead }, device.info)
  const store = storeOf(recipe.folder, warn)
  return numeric.find((stage) => { const key = keys.of(stage); return key === null || !store.has(key) }) ?? null
}

function environmentOf(options: EmitOptions, made: RunResult, session: StageEnv["session"]): StageEnv {
  return {
    device: options.device, session, folder: options.recipe.folder, out: options.out, allowRead: options.allowRead, signal: options.signal, emit: options.emit,
    checkpoints: null, checkpointSeconds: Infinity, stopAfter: null, private: false, limits: machineLimits(), clock: () => 0,
    async input(stage) {
      const data = made.result(stage)
      if (data === null) throw new Error(`native: ${stage.name} is needed before it was made`)
      return data
    },
  }
}

async function sourcesOf(stage: Stage, env: StageEnv, target: CpuTarget, origin: Origin): Promise<NativeSources | readonly Diagnostic[]> {
  try {
    return await (stage.kind === "train" ? nativeTraining(stage, env, target, origin) : nativeGeneration(stage, env, target, origin))
  } catch (error) {
    if (error instanceof LoweringMistake) return [error.diagnostic]
    throw error
  }
}

function wholeFolder(stage: Stage, { files, programs, binary, extra, about }: NativeSources, target: CpuTarget, origin: Origin): Files {
  const texts = new Map([
    ["slm.h", libraryHeader], ["slm.c", librarySource],
    ...programs.map((program) => [`${program.name}.c`, programFile(program, origin)] as const),
    ["Makefile", makefile(binary, ["main.c", "slm.c", ...extra, ...programs.map(({ name }) => `${name}.c`)], target)],
    ["README.md", readme(stage, binary, about, origin, target)],
  ])
  return new Map([...files, ...[...texts].map(([name, text]) => [name, bytesOf(text)] as const)])
}

function readme(stage: Stage, binary: string, about: readonly string[], { recipe, firstLine }: Origin, { family }: CpuTarget): string {
  return [
    `# ${stage.name}`, "",
    `Written by \`slm compile ${recipe} --emit c --stage ${stage.name}\` from line ${firstLine} of the recipe. It needs a C compiler, make, libc and POSIX threads, and nothing else${family === "portable" ? "" : `; its vectors are those of ${family}`}.`, "",
    "```sh", "make", `./${binary}`, "```", "", ...about.flatMap((paragraph) => [paragraph, ""]),
  ].join("\n")
}

function write(files: Files, out: string): readonly Failure[] {
  for (const [name, bytes] of files) {
    const written = writeAtomic(join(out, name), bytes)
    if (!written.ok) return written.failures
  }
  return []
}
