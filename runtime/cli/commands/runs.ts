import { listRuns, type RunSummary } from "../../past-runs.ts"
import { bytes, duration, number } from "../../numbers.ts"
import { shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { folderOf } from "../folder.ts"
import { usage } from "../problem.ts"
import { narrowTable, widthOf } from "../show.ts"

export const runs: Command = async (args, terminal) => {
  const folder = folderOf(args)
  if (typeof folder !== "string") return usage(terminal, folder)
  const found = listRuns(folder)
  if (args.flag("json")) {
    for (const { ended, folder: place, ...rest } of found) terminal.line(JSON.stringify({ event: "run", folder: shownPath(place), ended: ended.toISOString(), ...rest }))
    return 0
  }
  if (found.length === 0) {
    terminal.line(`there are no runs in ${shownPath(folder)}; \`slm run RECIPE\` makes one`)
    return 0
  }
  const rows = found.map((run) => [shownPath(run.folder), run.recipe, run.status, when(run), run.status === "unfinished" ? "" : duration(run.seconds), run.loss === null ? "" : number(run.loss), bytes(run.bytes)])
  const header = ["run", "recipe", "status", "ended", "took", "loss", "size"]
  const { lines } = narrowTable([header, ...rows], [false, false, false, false, true, true, true], widthOf(terminal), { spare: ["size", "took", "recipe", "ended"], long: "run" })
  lines.forEach((line, i) => terminal.line(i === 0 ? terminal.style("dim", line) : line))
  return 0
}

/** `2026-11-26 12:01`, in the user's time zone. */
function when({ ended }: RunSummary): string {
  const two = (n: number): string => String(n).padStart(2, "0")
  return `${ended.getFullYear()}-${two(ended.getMonth() + 1)}-${two(ended.getDate())} ${two(ended.getHours())}:${two(ended.getMinutes())}`
}
