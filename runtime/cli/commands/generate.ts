import { text } from "node:stream/consumers"
import { weightsOfSpec } from "../../../compiler/graph/lower/forward.ts"
import { openPastRun, readArtifact, tokenizerOfModel, type Model, type PastRun } from "../../past-run.ts"
import { chatFrameOf } from "../../stages/chat-frame.ts"
import { statesOf } from "../../stages/weights-io.ts"
import { createWriter, type WriteOptions } from "../../stages/writer.ts"
import type { Arguments } from "../args.ts"
import type { Command } from "../commands.ts"
import { nearest } from "../nearest.ts"
import { showDiagnostics, usage } from "../recipe.ts"
import { chooseDevice } from "./run.ts"

export const generate: Command = async (args, terminal) => {
  const [folder = "", name] = args.positionals
  const run = openPastRun(folder)
  if ("message" in run) return usage(terminal, run)
  const model = chooseModel(run, name)
  if ("message" in model) return usage(terminal, model)
  const options = readOptions(args)
  if ("message" in options) return usage(terminal, options)
  const tokenizer = tokenizerOfModel(run, model)
  const weights = readArtifact(run, model.stage)
  if (tokenizer === null || weights?.is !== "weights") return usage(terminal, { message: `the model ${model.stage.name} cannot be read from ${folder}`, help: "run the recipe again: finished stages are reused" })
  const writer = createWriter(run.session, { spec: model.type.spec, tokenizer, frame: chatFrameOf(model.stage) }, model.stage.span)
  if ("code" in writer) {
    showDiagnostics([writer], run.session.sources, args, terminal)
    return 1
  }
  const device = await chooseDevice(args, terminal)
  if (typeof device === "number") return device
  const prompts = args.values("prompt").length > 0 ? args.values("prompt") : [(await text(process.stdin)).replace(/\n$/, "")]
  const members = [...weights.members.values()]
  const states = statesOf(members[0] ?? { tensors: new Map() }, weightsOfSpec(run.session, model.type.spec))
  for (const sample of await writer.write(device, states, prompts, options)) {
    if (args.flag("json")) terminal.line(JSON.stringify({ event: "sample", model: model.stage.name, ...sample }))
    else terminal.line(`${terminal.style("bold", sample.prompt)}${sample.text}`)
  }
  return 0
}

/** The model of that name, or the last one of the run. */
function chooseModel(run: PastRun, name: string | undefined): Model | { readonly message: string; readonly help: string } {
  const names = run.models.map(({ stage }) => stage.name)
  const found = name === undefined ? run.models.at(-1) : run.models.find(({ stage }) => stage.name === name)
  if (found !== undefined) return found
  if (name === undefined) return { message: `${run.folder} holds no model`, help: "`slm generate` needs a run that trained one" }
  const close = nearest(name, names)
  return { message: `${run.folder} holds no model ${JSON.stringify(name)}`, help: close === null ? `models: ${names.join(", ")}` : `did you mean ${close}?` }
}

function readOptions(args: Arguments): WriteOptions | { readonly message: string; readonly help: string | null } {
  const wrong: string[] = []
  const number = <D>(name: string, fallback: D, fits: (n: number) => boolean, wanted: string): number | D => {
    const given = args.value(name)
    if (given === null) return fallback
    const n = Number(given)
    if (!Number.isFinite(n) || !fits(n)) wrong.push(`--${name} takes ${wanted}, not ${given}`)
    return n
  }
  const whole = (least: number) => (n: number): boolean => Number.isInteger(n) && n >= least
  const options: WriteOptions = {
    tokens: number("tokens", 200, whole(1), "a whole number of at least 1"),
    temperature: number("temperature", 0.8, (n) => n >= 0, "a number of at least 0"),
    topK: number("top-k", null, whole(1), "a whole number of at least 1"),
    topP: number("top-p", null, (n) => n > 0 && n <= 1, "a number between 0 and 1"),
    seed: number("seed", 0, whole(0), "a whole number"),
    stop: [], signal: null,
  }
  return wrong[0] === undefined ? options : { message: wrong[0], help: null }
}
