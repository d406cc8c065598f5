import { join, relative } from "node:path"
import type { Unusable } from "../../device.ts"
import { deviceNames, openDevice } from "../../devices/open.ts"
import { writeAtomic } from "../../files.ts"
import { moduleReader } from "../../library.ts"
import { openRecord } from "../../record.ts"
import { reportPage } from "../../report.ts"
import { run as runRecipe, type RunResult } from "../../run.ts"
import type { Event } from "../../stages/events.ts"
import type { Arguments } from "../args.ts"
import type { Command, ExitCode } from "../commands.ts"
import { nearest } from "../nearest.ts"
import { showRun } from "../progress.ts"
import { storeOf } from "../planned.ts"
import { openRecipe, showDiagnostics, usage, type RecipeFile } from "../recipe.ts"
import { duration } from "../show.ts"
import type { Terminal } from "../terminal.ts"
import { version } from "../version.ts"

export const run: Command = async (args, terminal) => {
  const opened = openRecipe(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, params } = opened
  const device = await chooseDevice(args, terminal)
  if (typeof device === "number") return device
  const out = args.value("out") ?? join(recipe.folder, "runs", recipe.name)
  const record = openRecord(out)
  const events: Event[] = []
  const show = args.flag("json") ? (event: Event) => terminal.line(JSON.stringify(event)) : showRun(terminal)
  const stop = interruptible(terminal)
  const result = await runRecipe({
    recipe: recipe.source, folder: recipe.folder, modules: moduleReader(recipe.folder), params, device, out, fresh: args.flag("fresh"), signal: stop.signal,
    store: storeOf(recipe, terminal),
    emit(event) {
      record.emit(event)
      if (event.event !== "diagnostic") show(event)
      events.push(event)
    },
  })
  stop.release()
  await record.close(summary(recipe, params, device.info.numericsClass, result))
  const page = join(out, "report.html")
  await writeAtomic(page, new TextEncoder().encode(reportPage(recipe.name, events)))
  showDiagnostics(result.diagnostics, result.sources, args, terminal)
  if (!args.flag("json")) showEnd(result, out, terminal)
  return result.status === "done" ? 0 : result.status === "interrupted" ? 130 : 1
}

/** The device asked for, or the best usable one; where there is none, why. */
export async function chooseDevice(args: Arguments, terminal: Terminal) {
  const name = args.value("device")
  if (name !== null && !deviceNames.includes(name)) {
    const close = nearest(name, deviceNames)
    return usage(terminal, { message: `there is no device ${JSON.stringify(name)}`, help: close === null ? `devices: ${deviceNames.join(", ")}` : `did you mean ${close}?` })
  }
  const device = await openDevice(name)
  if ("load" in device) return device
  for (const { name, reason, help } of device as readonly Unusable[]) terminal.error(`${name} cannot be used: ${reason}\n${terminal.style("cyan", "help")}: ${help}`)
  return 1 satisfies ExitCode
}

/** The first Ctrl-C asks the run to stop after its step, the second ends the process. */
function interruptible(terminal: Terminal): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  const ask = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
    terminal.error("stopping after this step; press Ctrl-C again to stop at once")
  }
  process.on("SIGINT", ask)
  process.on("SIGTERM", ask)
  return {
    signal: controller.signal,
    release() {
      process.off("SIGINT", ask)
      process.off("SIGTERM", ask)
    },
  }
}

function summary(recipe: RecipeFile, params: ReadonlyMap<string, string>, numericsClass: string, result: RunResult) {
  return {
    recipe: `${recipe.name}.slm`, slm: version, numerics_class: numericsClass, status: result.status, seconds: Math.round(result.seconds * 10) / 10, set: Object.fromEntries(params),
    stages: result.stages.map(({ stage, cached, seconds, facts, folder, artifactKey }) => ({
      name: stage.name, kind: stage.kind, key: stage.key, artifact: artifactKey, cached, seconds: Math.round(seconds * 100) / 100, ...(folder === null ? {} : { folder }),
      ...(Object.keys(facts).length === 0 ? {} : { facts }),
    })),
    expects: result.expects,
  }
}

function showEnd(result: RunResult, out: string, terminal: Terminal): void {
  const folder = relative(process.cwd(), out) || out
  terminal.line()
  if (result.status === "interrupted") {
    terminal.line(`stopped after ${duration(result.seconds)}; finished stages are kept, run again to go on`)
    return
  }
  const held = result.expects.filter((e) => e.holds).length
  const expects = result.expects.length === 0 ? "" : `, ${held} of ${result.expects.length} expectations hold`
  terminal.line(`${result.status === "done" ? terminal.style("green", "done") : terminal.style("red", "failed")} in ${duration(result.seconds)}${expects}`)
  terminal.line(`${join(folder, "report.html")} shows the run; ${join(folder, "run.yaml")} records it`)
}
