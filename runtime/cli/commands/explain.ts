import { catalogue } from "../../codes.ts"
import type { Command } from "../commands.ts"
import { nearest } from "../nearest.ts"
import { table } from "../show.ts"

export const explain: Command = async (args, terminal) => {
  const [given] = args.positionals
  if (given === undefined) {
    if (args.flag("json")) terminal.line(JSON.stringify(catalogue))
    else for (const row of table(Object.entries(catalogue).map(([code, { title }]) => [code, title]))) terminal.line(row)
    return 0
  }
  const code = /^\d+$/.test(given) ? `SLM${given}` : given.toUpperCase()
  const entry = catalogue[code]
  if (entry === undefined) {
    const close = nearest(code, Object.keys(catalogue))
    terminal.error(`there is no diagnostic ${code}${close === null ? "; `slm explain` lists all" : `; did you mean ${close}?`}`)
    return 2
  }
  if (args.flag("json")) terminal.line(JSON.stringify({ code, ...entry }))
  else {
    terminal.line(terminal.style("bold", `${code}: ${entry.title}`))
    terminal.line()
    terminal.line(entry.page.trim())
  }
  return 0
}
