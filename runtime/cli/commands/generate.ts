import { text } from "node:stream/consumers"
import { nearest } from "../../../grammar/nearest.ts"
import { openPastRun, writeText, type Model, type PastRun } from "../../past-run.ts"
import { chatFrameOf } from "../../stages/chat-frame.ts"
import type { WriteOptions } from "../../stages/writer.ts"
import { shownPath } from "../../system-error.ts"
import type { Arguments } from "../args.ts"
import { chooseDevice } from "../choose-device.ts"
import type { Command } from "../commands.ts"
import { interruptible } from "../interrupt.ts"
import { showInOrder, type LivePage } from "../live-texts.ts"
import { usage } from "../problem.ts"
import { showDiagnostics } from "../recipe.ts"
import type { Terminal } from "../terminal.ts"
import { visible } from "../text.ts"

export const generate: Command = async (args, terminal) => {
  const [folder = "", name] = args.positionals
  const run = openPastRun(folder)
  if ("message" in run) return usage(terminal, run)
  const model = chooseModel(run, name)
  if ("message" in model) return usage(terminal, model)
  const options = readOptions(args)
  if ("message" in options) return usage(terminal, options)
  const device = await chooseDevice(args, terminal)
  if (typeof device === "number") return device
  const prompts = args.values("prompt").length > 0 ? args.values("prompt") : [await promptFromInput(terminal)]
  // A person reads along; a program gets whole texts.
  const live = terminal.live && !args.flag("json") ? showInOrder(prompts.length, pageOf(prompts, model, terminal)) : null
  const stop = interruptible(live === null ? "stopping; what was written so far follows" : "", terminal)
  const written = await writeText(run, model, device, prompts, { ...options, signal: stop.signal, ...(live === null ? {} : { onText: live.add }) })
  stop.release()
  if ("message" in written) {
    if (!("code" in written)) return usage(terminal, written)
    showDiagnostics([written], run.session.sources, args, terminal)
    return 1
  }
  live?.end()
  for (const sample of live === null ? written : []) {
    if (args.flag("json")) terminal.line(JSON.stringify({ event: "sample", model: model.name, ...sample }))
    else terminal.raw(`${heading(sample.prompt, model, terminal)}${sample.text}`)
  }
  if (written.some(({ end }) => end === "context")) terminal.error(`${terminal.style("yellow", "warning")}: a text ended because it reached the model's \`context\``)
  return stop.signal.aborted ? 130 : 0
}

/** A prompt before the text that continues it, or above the answer to it. */
function heading(prompt: string, model: Model, terminal: Terminal): string {
  return `${terminal.style("bold", prompt)}${chatFrameOf(model.stage) === null ? "" : "\n"}`
}

function pageOf(prompts: readonly string[], model: Model, terminal: Terminal): LivePage {
  return {
    begin: (index) => terminal.write(heading(visible(prompts[index] ?? ""), model, terminal)),
    write: (piece) => terminal.write(visible(piece)),
    finish: () => terminal.line(),
  }
}

async function promptFromInput(terminal: Terminal): Promise<string> {
  if (process.stdin.isTTY) terminal.error(terminal.style("dim", "type what is to be continued, then Ctrl-D"))
  return (await text(process.stdin)).replace(/\r?\n$/, "")
}

/** The model of that name, or the last one of the run. */
function chooseModel(run: PastRun, name: string | undefined): Model | { readonly message: string; readonly help: string } {
  const names = run.models.map((model) => model.name)
  const found = name === undefined ? run.models.at(-1) : run.models.find((model) => model.name === name)
  if (found !== undefined) return found
  if (name === undefined) return { message: `${shownPath(run.folder)} holds no model`, help: "`slm generate` needs a run that trained one" }
  const close = nearest(name, names)
  return { message: `${shownPath(run.folder)} holds no model ${JSON.stringify(name)}`, help: close === null ? `models: ${names.join(", ")}` : `did you mean ${close}?` }
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
    stop: args.values("stop"), signal: null,
  }
  return wrong[0] === undefined ? options : { message: wrong[0], help: null }
}
