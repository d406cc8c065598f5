import { helpPage } from "../args.ts"
import { commands, type Command } from "../commands.ts"
import { nearest } from "../nearest.ts"
import { table } from "../show.ts"

export const help: Command = async (args, terminal) => {
  const [name] = args.positionals
  if (name !== undefined) {
    const entry = commands.find(({ spec }) => spec.name === name)
    if (entry === undefined) {
      const close = nearest(name, commands.map(({ spec }) => spec.name))
      terminal.error(`there is no command ${JSON.stringify(name)}${close === null ? "" : `; did you mean ${close}?`}`)
      return 2
    }
    terminal.line(helpPage(entry.spec))
    return 0
  }
  if (args.flag("json")) {
    terminal.line(JSON.stringify(commands.map(({ spec }) => spec)))
    return 0
  }
  terminal.line("slm: small language models from one text.")
  terminal.line()
  for (const row of table(commands.map(({ spec }) => [`  slm ${spec.name}`, spec.summary]))) terminal.line(row)
  terminal.line()
  terminal.line("Begin with `slm new npc my-npc`, then `slm run my-npc/npc.slm`. `slm help COMMAND` shows a command's options.")
  return 0
}
