import { join } from "node:path"
import { keysOfRuns } from "../../past-runs.ts"
import { bytes } from "../../numbers.ts"
import { removeStored, untidy, type Stored } from "../../store/tidy.ts"
import { shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { folderOf } from "../folder.ts"
import { usage } from "../problem.ts"
import { table } from "../show.ts"

export const gc: Command = async (args, terminal) => {
  const folder = folderOf(args)
  if (typeof folder !== "string") return usage(terminal, folder)
  const store = join(folder, ".slm", "store")
  const found = untidy(store, { wanted: keysOfRuns(folder), partials: args.flag("checkpoints") })
  const removes = args.flag("yes")
  const listed = removes ? removeStored(found) : found
  const total = listed.reduce((sum, stored) => sum + stored.bytes, 0)
  if (args.flag("json")) {
    for (const stored of listed) terminal.line(JSON.stringify({ event: "stored", ...stored, file: shownPath(stored.file), removed: removes }))
    terminal.line(JSON.stringify({ event: "gc", folder: shownPath(folder), count: listed.length, bytes: total, removed: removes }))
    return 0
  }
  for (const line of table(listed.map((stored) => [`  ${whatIs(stored)}`, shownPath(stored.file), bytes(stored.bytes)]), [false, false, true])) terminal.line(line)
  if (listed.length === 0) terminal.line(`there is nothing in ${shownPath(store)} that no run needs`)
  else if (removes) terminal.line(`${bytes(total)} removed; results of the runs that \`slm runs\` shows are kept`)
  else terminal.line(`${bytes(total)} could be removed: no run that \`slm runs\` shows needs them. \`slm gc --yes\` removes them`)
  return 0
}

export function whatIs(stored: Stored): string {
  switch (stored.is) {
    case "entry": return `${stored.kind} ${stored.name}`
    case "partial": return "checkpoints of a stopped training"
    case "rest": return "left by a process that was killed, or damaged"
    case "held": return "at work"
  }
}
