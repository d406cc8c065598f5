/** `slm compile --emit c|web`. */
import { cpuTargets, type CpuTarget } from "../../../compiler/schedule/cpu.ts"
import { nearest } from "../../../grammar/nearest.ts"
import { localFamily } from "../../devices/cpu-build.ts"
import { emitNative, isNative } from "../../native/emit.ts"
import { bytes } from "../../numbers.ts"
import { shownPath } from "../../system-error.ts"
import type { UsageError } from "../args.ts"
import { chooseDevice } from "../choose-device.ts"
import type { Command } from "../commands.ts"
import { interruptible } from "../interrupt.ts"
import { warnOn } from "../planned.ts"
import { usage } from "../problem.ts"
import { hasErrors, openRecipe, showDiagnostics } from "../recipe.ts"

export const emit: Command = async (args, terminal) => {
  const wrong = wrongOptions(args.value("emit"), args.value("after"), args.value("target"))
  if (wrong !== null) return usage(terminal, wrong)
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params, checked } = opened
  const form = args.value("emit") === "web" ? "web" : "c"
  const able = (checked.recipe?.stages ?? []).filter((stage) => (form === "web" ? stage.kind === "generate" : isNative(stage)))
  const wanted = args.value("stage")
  const stage = wanted === null ? (able.length === 1 ? able[0] : undefined) : able.find(({ name }) => name === wanted)
  if (stage === undefined) return usage(terminal, { message: whichStage(form, wanted, checked.recipe?.stages.some(({ name }) => name === wanted) ?? false), help: `${form === "web" ? "" : "trainings and "}generations of this recipe: ${able.map(({ name }) => name).join(", ") || "none"}` })
  const device = await chooseDevice(args, terminal)
  if (typeof device === "number") return device
  const out = args.value("out") ?? `${stage.name}-${form}`
  const stop = interruptible("stopping; press Ctrl-C again to stop at once", terminal)
  const emitted = await emitNative({
    recipe, params, stage, device, out, form, target: cpuTargets[familyOf(args.value("target"))], allowRead: args.values("allow-read"), signal: stop.signal, warn: warnOn(terminal),
    emit(event) {
      if (event.event === "stage-started") terminal.status(`  ${event.stage.kind} ${event.stage.name} …`)
    },
  })
  stop.release()
  showDiagnostics(emitted.diagnostics, emitted.sources, args, terminal)
  if (hasErrors(emitted.diagnostics) || emitted.files.size === 0) return 1
  const files = [...emitted.files].map(([name, data]) => ({ name, bytes: data.length }))
  if (args.flag("json")) terminal.line(JSON.stringify({ event: "emitted", stage: stage.name, folder: out, files }))
  else {
    for (const file of files) terminal.line(`→ ${shownPath(out)}/${file.name}  ${bytes(file.bytes)}`)
    if (form === "web") terminal.line(`any web server will do: \`npx http-server ${shownPath(out)}\``)
    else terminal.line(`\`make -C ${shownPath(out)}\` builds it`)
  }
  return 0
}

function whichStage(form: "c" | "web", wanted: string | null, exists: boolean): string {
  if (wanted === null) return `--emit ${form} writes one stage: name it with --stage`
  return exists ? `the stage ${JSON.stringify(wanted)} ${form === "web" ? "does not generate" : "neither trains nor generates"}` : `there is no stage ${JSON.stringify(wanted)}`
}

function wrongOptions(emit: string | null, after: string | null, target: string | null): UsageError | null {
  if (emit !== "c" && emit !== "web") return { message: `--emit cannot write ${JSON.stringify(emit)}`, help: "it writes c, web or ts" }
  if (emit === "web" && target !== null) return { message: "--target belongs to --emit c", help: null }
  if (after !== null) return { message: "--emit writes a folder and --after prints: give one of them", help: null }
  if (target === null || target in cpuTargets) return null
  const close = nearest(target, Object.keys(cpuTargets))
  return { message: `there is no instruction family ${JSON.stringify(target)}`, help: close === null ? `families: ${Object.keys(cpuTargets).join(", ")}` : `did you mean ${close}?` }
}

function familyOf(given: string | null): CpuTarget["family"] {
  return given !== null && given in cpuTargets ? given as CpuTarget["family"] : localFamily()
}
