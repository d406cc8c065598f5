#!/usr/bin/env node
import { OverLimit } from "../over-limit.ts"
import { reasonOf, systemFailure } from "../system-error.ts"
import { version } from "../version.ts"
import { helpPage, isUsageError, readArguments, usageLine, type Arguments } from "./args.ts"
import { commands, type ExitCode } from "./commands.ts"
import { nearest } from "../../grammar/nearest.ts"
import { showProblem, usage } from "./problem.ts"
import { openTerminal, type Terminal } from "./terminal.ts"

const terminal = openTerminal()
// A reader that closes early (`slm explain | head`) is no mistake.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0)
  terminal.error(`${terminal.style("red", "error")}: standard output cannot be written: ${reasonOf(error)}`)
  process.exit(1)
})
process.exitCode = await main(process.argv.slice(2), terminal)

async function main(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [given = "help", ...rest] = argv
  if (given === "--version" || given === "-v") {
    terminal.line(`slm ${version}`)
    return 0
  }
  const name = given === "--help" || given === "-h" ? "help" : given
  const entry = commands.find(({ spec }) => spec.name === name)
  if (entry === undefined) {
    if (name.endsWith(".slm")) return usage(terminal, { message: `there is no command ${JSON.stringify(name)}`, help: `did you mean \`slm run ${name}\`?` })
    const close = nearest(name, commands.map(({ spec }) => spec.name))
    return usage(terminal, { message: `there is no command ${JSON.stringify(name)}`, help: close === null ? "`slm help` lists the commands" : `did you mean \`slm ${close}\`?` })
  }
  const args = readArguments(entry.spec, rest)
  if (isUsageError(args)) return usage(terminal, { message: args.message, help: args.help ?? `usage: ${usageLine(entry.spec)}` })
  if (args.flag("help")) {
    terminal.line(helpPage(entry.spec))
    return 0
  }
  try {
    const exit = args.flag("allow-net") ? await fetchUsed(args, terminal) : 0
    return exit === 0 ? await (await entry.load())(args, terminal) : exit
  } catch (error) {
    const refused = error instanceof OverLimit ? error.failure : systemFailure(error)
    return refused === null ? bug(terminal, error) : showProblem(refused, args, terminal)
  }
}

/** What the recipes use from the web is there before a command looks at them. */
async function fetchUsed(args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const { fetchModules } = await import("../fetch-modules.ts")
  const { readRecipe } = await import("../recipe.ts")
  const { showDiagnostics } = await import("./recipe.ts")
  for (const path of args.positionals) {
    const recipe = readRecipe(path)
    const found = "message" in recipe ? null : await fetchModules(recipe) // what cannot be read the command itself reports
    if (found === null || found.diagnostics.length === 0) continue
    showDiagnostics(found.diagnostics, found.sources, args, terminal)
    return 1
  }
  return 0
}

/** A throw that reached the top is a mistake of ours; say so, with all that a report needs. */
function bug(terminal: Terminal, error: unknown): ExitCode {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  terminal.error(`${terminal.style("red", "bug in slm")}: this is our mistake, not yours.\n${text}\nslm ${version}, Node ${process.version}, ${process.platform} ${process.arch}`)
  return 70
}
