import { resolve } from "node:path"
import { nearest } from "../../../grammar/nearest.ts"
import { isBelow } from "../../files.ts"
import { openPastRun, type PastRun } from "../../past-run.ts"
import { isRunOf } from "../../past-runs.ts"
import { pasted, shownPath } from "../../system-error.ts"
import { verify as verifyRun, type Verdict, type Verified } from "../../verify.ts"
import type { UsageError } from "../args.ts"
import { chooseDevice } from "../choose-device.ts"
import type { Command } from "../commands.ts"
import { interruptible } from "../interrupt.ts"
import { usage } from "../problem.ts"
import { showDiagnostics } from "../recipe.ts"
import type { Terminal } from "../terminal.ts"

export const verify: Command = async (args, terminal) => {
  const past = openPastRun(args.positionals[0] ?? "")
  if ("message" in past) return usage(terminal, past)
  const stage = stageNamed(past, args.value("stage"))
  if (stage !== null && "message" in stage) return usage(terminal, stage)
  const steps = args.value("steps") === null ? null : Number(args.value("steps"))
  if (steps !== null && !(Number.isInteger(steps) && steps >= 1)) return usage(terminal, { message: `--steps takes a whole number of at least 1, not ${args.value("steps") ?? ""}`, help: null })
  if (steps !== null && stage !== null && stage.kind !== "train") return usage(terminal, { message: `\`${stage.name}\` is no training: it has no steps`, help: "leave out --steps" })
  const granted = args.values("allow-read").map((place) => resolve(place))
  const closed = notGranted(past, granted)
  if (closed !== null) return usage(terminal, closed)
  const device = await chooseDevice(args, terminal)
  if (typeof device === "number") return device
  const stop = interruptible("stopping after this step; nothing was changed", terminal)
  const json = args.flag("json")
  const verified = await verifyRun(past, {
    device, stage, steps, allowRead: granted, signal: stop.signal,
    emit(event) {
      if (json) return
      if (event.event === "stage-started") terminal.status(`  ${event.stage.name} …`)
      if (event.event === "progress") terminal.status(`  ${event.stage.name}  step ${event.step}/${event.total}`)
    },
  })
  stop.release()
  if (json) for (const verdict of verified.verdicts) terminal.line(JSON.stringify({ event: "verdict", ...verdict }))
  else for (const verdict of verified.verdicts) terminal.line(lineOf(verdict, terminal))
  showDiagnostics(verified.diagnostics, past.session.sources, args, terminal)
  if (json) terminal.line(JSON.stringify({ event: "verified", run: shownPath(past.folder), status: verified.status, exact: verified.exact, device: device.info.numericsClass, recorded: past.snapshot.lock.numerics_class }))
  else terminal.line(conclusion(past, verified, device.info.numericsClass))
  return verified.status === "equal" ? 0 : verified.status === "interrupted" ? 130 : 1
}

/** What the run read and nobody allows now. Its record comes from wherever its folder does, and grants nothing itself. */
function notGranted({ folder, home, snapshot }: PastRun, granted: readonly string[]): UsageError | null {
  const places = [...(isRunOf(home, folder) ? [] : [home]), ...snapshot.allow_read].filter((place) => !isBelow(resolve(place), granted))
  if (places.length === 0) return null
  const [first = ""] = places
  return { message: `${shownPath(folder)} says that its run read ${shownPath(first)}, and nobody allows that now`, help: `if you know it to be so, add ${places.map((place) => `--allow-read ${pasted(shownPath(place))}`).join(" ")}` }
}

function stageNamed({ checked, done }: PastRun, name: string | null) {
  if (name === null) return null
  const stages = (checked.recipe?.stages ?? []).filter(({ key }) => done.has(key))
  const found = stages.find((stage) => stage.name === name)
  const close = nearest(name, stages.map((stage) => stage.name))
  return found ?? { message: `the run has no result of a stage ${JSON.stringify(name)}`, help: close === null ? `it has: ${stages.map((stage) => stage.name).join(", ")}` : `did you mean ${close}?` }
}

function lineOf({ stage, kind, equal, steps, message }: Verdict, terminal: Terminal): string {
  const mark = equal ? terminal.style("green", "=") : terminal.style("red", "≠")
  const more = steps === null || steps === 0 ? "" : `  ${steps} steps`
  return `${mark} ${stage}  ${terminal.style("dim", kind)}${more}${equal || message === null ? "" : `  ${message.replace(/^`[^`]*`: /, "")}`}`
}

function conclusion({ folder, snapshot }: PastRun, { status, exact, verdicts }: Verified, device: string): string {
  const how = exact ? `bit by bit (${device})` : `within tolerance: this is ${device}, the run was ${snapshot.lock.numerics_class}`
  const count = verdicts.filter(({ equal }) => equal).length
  if (status === "interrupted") return "interrupted"
  if (status === "refused") return `${shownPath(folder)} cannot be executed again as it was`
  return `${count} of ${verdicts.length} results of ${shownPath(folder)} agree, compared ${how}`
}
