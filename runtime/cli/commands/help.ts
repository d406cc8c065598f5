import { helpPage } from "../args.ts"
import { commands, type Command } from "../commands.ts"
import { nearest } from "../../../grammar/nearest.ts"
import { usage } from "../problem.ts"
import { table } from "../show.ts"

export const help: Command = async (args, terminal) => {
  const [name] = args.positionals
  const shown = name === undefined ? commands : commands.filter(({ spec }) => spec.name === name)
  if (shown.length === 0) {
    const close = nearest(name ?? "", commands.map(({ spec }) => spec.name))
    return usage(terminal, { message: `there is no command ${JSON.stringify(name)}`, help: close === null ? "`slm help` lists the commands" : `did you mean \`slm help ${close}\`?` })
  }
  if (args.flag("json")) {
    for (const { spec } of shown) terminal.line(JSON.stringify({ event: "command", ...spec }))
    return 0
  }
  if (name !== undefined) {
    for (const { spec } of shown) terminal.line(helpPage(spec))
    return 0
  }
  terminal.line("slm: small language models from one text.")
  terminal.line()
  for (const row of table(commands.map(({ spec }) => [`  slm ${spec.name}`, spec.summary]))) terminal.line(row)
  terminal.line()
  terminal.line("Begin with `slm new npc my-npc`, then `slm run my-npc/npc.slm`. `slm help COMMAND` shows a command's options.")
  return 0
}
