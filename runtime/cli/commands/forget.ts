import { derivedFrom, forgetDerived, type Derived } from "../../forget.ts"
import { bytes } from "../../numbers.ts"
import { shownPath } from "../../system-error.ts"
import type { Command } from "../commands.ts"
import { openFolder } from "../folder.ts"
import { usage } from "../problem.ts"
import { table } from "../show.ts"
import type { Terminal } from "../terminal.ts"
import { whatIs } from "./gc.ts"

export const forget: Command = async (args, terminal) => {
  const folder = openFolder(args.value("in") ?? ".")
  if (typeof folder !== "string") return usage(terminal, folder)
  const input = args.positionals[0] ?? ""
  const derived = derivedFrom(folder, input)
  const { stored, runs, locks, atWork, known } = derived
  if (stored.length + runs.length + locks.length === 0) {
    terminal.error(`${terminal.style("red", "error")}: nothing in ${shownPath(folder)} was made from ${input}`)
    terminal.error(`${terminal.style("cyan", "help")}: ${known.length === 0 ? "no input is known here; `--in FOLDER` names the folder that the recipe lies in" : `what is here was made from ${known.join(", ")}`}`)
    return 1
  }
  if (atWork.length > 0) {
    terminal.error(`${terminal.style("red", "error")}: a run is at work on ${atWork.map(whatIs).join(", ")}\n${terminal.style("cyan", "help")}: stop it first; nothing was deleted`)
    return 1
  }
  const removes = !args.flag("dry-run")
  if (removes) forgetDerived(folder, derived)
  if (args.flag("json")) toJson(derived, input, removes, terminal)
  else show(derived, input, removes, terminal)
  return 0
}

function show({ stored, runs, locks }: Derived, input: string, removes: boolean, terminal: Terminal): void {
  for (const line of table(stored.map((one) => [`  ${whatIs(one)}`, shownPath(one.file), bytes(one.bytes)]), [false, false, true])) terminal.line(line)
  for (const { folder, files } of runs) terminal.line(`  run ${shownPath(folder)}: ${files.map((file) => file.slice(folder.length + 1)).join(", ")}`)
  for (const file of locks) terminal.line(`  lock ${shownPath(file)}`)
  const what = `${stored.length} stored results, ${runs.length} runs and ${locks.length} locks were made from ${input}`
  terminal.line(removes ? `${what}, and are deleted; the input itself is as it was, and so are copies that somebody made elsewhere` : `${what}; nothing was deleted`)
}

function toJson({ stored, runs, locks }: Derived, input: string, removes: boolean, terminal: Terminal): void {
  for (const one of stored) terminal.line(JSON.stringify({ event: "stored", ...one, file: shownPath(one.file) }))
  for (const { folder, files } of runs) terminal.line(JSON.stringify({ event: "run", folder: shownPath(folder), files: files.map(shownPath) }))
  for (const file of locks) terminal.line(JSON.stringify({ event: "lock", file: shownPath(file) }))
  terminal.line(JSON.stringify({ event: "forgotten", input, deleted: removes }))
}
