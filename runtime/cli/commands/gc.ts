import { join } from "node:path"
import { keysOfRuns } from "../../past-runs.ts"
import { bytes } from "../../numbers.ts"
import { cacheFolder } from "../../devices/cpu-build.ts"
import { removeStored, untidy, unusedPrograms, type Stored } from "../../store/tidy.ts"
import { shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { folderOf } from "../folder.ts"
import { usage } from "../problem.ts"
import { table } from "../show.ts"

export const gc: Command = async (args, terminal) => {
  const folder = folderOf(args)
  if (typeof folder !== "string") return usage(terminal, folder)
  const store = join(folder, ".slm", "store")
  const found = [...untidy(store, { wanted: keysOfRuns(folder), partials: args.flag("checkpoints") }), ...unusedPrograms(cacheFolder(process.env))]
  const removes = args.flag("yes")
  const listed = removes ? removeStored(found) : found
  const total = sizeOf(listed)
  if (args.flag("json")) {
    for (const stored of listed) terminal.line(JSON.stringify({ event: "stored", ...stored, file: shownPath(stored.file), removed: removes }))
    terminal.line(JSON.stringify({ event: "gc", folder: shownPath(folder), count: listed.length, bytes: total, removed: removes }))
    return 0
  }
  const programs = listed.filter(({ is }) => is === "program")
  const rows = listed.filter(({ is }) => is !== "program")
  for (const line of table(rows.map((stored) => [`  ${whatIs(stored)}`, shownPath(stored.file), bytes(stored.bytes)]), [false, false, true])) terminal.line(line)
  if (programs.length > 0) terminal.line(`  ${programs.length} ${programs.length === 1 ? "file of compiled programs that was" : "files of compiled programs that were"} not used for 30 days  ${bytes(sizeOf(programs))}`)
  if (listed.length === 0) terminal.line(`there is nothing in ${shownPath(store)} that no run needs`)
  else if (removes) terminal.line(`${bytes(total)} removed; results of the runs that \`slm runs\` shows are kept`)
  else terminal.line(`${bytes(total)} could be removed: no run that \`slm runs\` shows needs them. \`slm gc --yes\` removes them`)
  return 0
}

const sizeOf = (listed: readonly Stored[]): number => listed.reduce((sum, stored) => sum + stored.bytes, 0)

export function whatIs(stored: Stored): string {
  switch (stored.is) {
    case "entry": return `${stored.kind} ${stored.name}`
    case "partial": return "checkpoints of a stopped training"
    case "rest": return "left by a process that was killed, or damaged"
    case "held": return "at work"
    case "program": return "compiled program"
  }
}
