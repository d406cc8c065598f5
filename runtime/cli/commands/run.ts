import { existsSync } from "node:fs"
import { join } from "node:path"
import type { Checked } from "../../../compiler/check/check.ts"
import { chatFrameOf } from "../../stages/chat-frame.ts"
import { runInFolder, type RecordedRun } from "../../run-folder.ts"
import type { Event } from "../../stages/events.ts"
import { shownPath } from "../../system-error.ts"
import { chooseDevice } from "../choose-device.ts"
import type { Arguments } from "../args.ts"
import type { Command } from "../commands.ts"
import type { MeasuredKernel } from "../../device.ts"
import { interruptible } from "../interrupt.ts"
import { showRun } from "../progress.ts"
import { warnOn } from "../planned.ts"
import { showProblem, usage } from "../problem.ts"
import { openRecipe, showDiagnostics } from "../recipe.ts"
import { duration } from "../../numbers.ts"
import type { Terminal } from "../terminal.ts"

export const run: Command = async (args, terminal) => {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params, access, checked } = opened
  const seconds = args.value("checkpoint") === null ? undefined : Number(args.value("checkpoint"))
  if (seconds !== undefined && !(seconds >= 0)) return usage(terminal, { message: `--checkpoint takes a number of seconds, not ${args.value("checkpoint") ?? ""}`, help: null })
  if (args.flag("locked") && args.value("plan") !== null) return usage(terminal, { message: "--locked and --plan both say what the run is held to", help: "give one of them" })
  const device = await chooseDevice(args, terminal)
  if (typeof device === "number") return device
  if (args.flag("profile") && device.measure === undefined) return usage(terminal, { message: `the device ${device.info.name} does not measure kernels`, help: "webgpu does, where the adapter has timestamp-query (`slm doctor`)" })
  const measured = args.flag("profile") ? device.measure?.() ?? null : null
  const show = args.flag("json") ? (event: Event) => terminal.line(JSON.stringify(event)) : showRun(terminal, chats(checked))
  const stop = interruptible("stopping after this step; press Ctrl-C again to stop at once", terminal)
  const result = await runInFolder(recipe, {
    params, device, out: args.value("out"), fresh: args.flag("fresh"), locked: args.flag("locked"), plan: args.value("plan"), ...(seconds === undefined ? {} : { checkpointSeconds: seconds }), ...access, signal: stop.signal, warn: warnOn(terminal),
    emit(event) {
      if (event.event !== "diagnostic") show(event)
    },
  })
  stop.release()
  if ("code" in result) return showProblem(result, args, terminal)
  showDiagnostics(result.diagnostics.slice(checked.diagnostics.length), result.sources, args, terminal)
  if (!args.flag("json")) showEnd(result, terminal)
  if (measured !== null) showProfile(measured(), args, terminal)
  return result.status === "done" ? 0 : result.status === "interrupted" ? 130 : 1
}

/** The kernels that took longest, for each program that ran. */
function showProfile(kernels: readonly MeasuredKernel[], args: Arguments, terminal: Terminal): void {
  if (args.flag("json")) return kernels.forEach((kernel) => terminal.line(JSON.stringify({ event: "kernel", ...kernel })))
  for (const program of new Set(kernels.map((kernel) => kernel.program))) {
    const own = kernels.filter((kernel) => kernel.program === program)
    const [steps, total] = [own[0]?.steps ?? 1, own.reduce((sum, kernel) => sum + kernel.seconds, 0)]
    terminal.line()
    terminal.line(`${program}: ${((1e3 * total) / steps).toFixed(2)} ms on the GPU a step, over ${steps} steps`)
    for (const { kernel, note, dispatches, seconds } of own.slice(0, 12)) {
      terminal.line(`  ${((100 * seconds) / Math.max(total, 1e-12)).toFixed(1).padStart(5)}%  ${((1e6 * seconds) / dispatches).toFixed(1).padStart(8)} µs  ${kernel.padEnd(18)} ${note}`)
    }
  }
}

function chats({ recipe }: Checked): ReadonlySet<string> {
  return new Set((recipe?.stages ?? []).filter((stage) => chatFrameOf(stage) !== null).map(({ key }) => key))
}

function showEnd(result: RecordedRun, terminal: Terminal): void {
  const folder = shownPath(result.out)
  terminal.line()
  if (result.status === "interrupted") {
    terminal.line(`stopped after ${duration(result.seconds)}; finished stages are kept, run again to go on`)
    return
  }
  if (!result.recorded) {
    terminal.line(`${terminal.style("red", "refused")}: nothing was run${existsSync(result.out) ? `, and ${folder} is as it was` : ""}`)
    return
  }
  const held = result.expects.filter((e) => e.holds).length
  const expects = result.expects.length === 0 ? "" : `, ${held} of ${result.expects.length} expectations hold`
  terminal.line(`${result.status === "done" ? terminal.style("green", "done") : terminal.style("red", "failed")} in ${duration(result.seconds)}${expects}`)
  const report = join(folder, "report.html")
  if (existsSync(report)) terminal.line(`${report} shows the run; ${join(folder, "run.yaml")} records it`)
}
