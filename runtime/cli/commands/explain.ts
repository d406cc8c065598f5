import { catalogue } from "../../codes.ts"
import type { Command } from "../commands.ts"
import { nearest } from "../../../grammar/nearest.ts"
import { usage } from "../problem.ts"
import { table } from "../show.ts"
import { wrap } from "../text.ts"

export const explain: Command = async (args, terminal) => {
  const [given] = args.positionals
  const json = args.flag("json")
  if (given === undefined) {
    const all = Object.entries(catalogue)
    const lines = json ? all.map(([code, entry]) => JSON.stringify({ event: "code", code, ...entry })) : table(all.map(([code, { title }]) => [code, title]))
    for (const line of lines) terminal.line(line)
    return 0
  }
  const code = /^\d+$/.test(given) ? `SLM${given}` : given.toUpperCase()
  const entry = catalogue[code]
  if (entry === undefined) {
    const close = nearest(code, Object.keys(catalogue))
    return usage(terminal, { message: `there is no diagnostic ${code}`, help: close === null ? "`slm explain` lists all" : `did you mean ${close}?` })
  }
  if (json) {
    terminal.line(JSON.stringify({ event: "code", code, ...entry }))
    return 0
  }
  terminal.line(terminal.style("bold", `${code}: ${entry.title}`))
  terminal.line()
  for (const line of entry.page.trim().split("\n")) for (const part of terminal.live ? wrap(line, terminal.width - 1) : [line]) terminal.line(part)
  return 0
}
