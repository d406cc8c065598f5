import type { Failure } from "../data/result.ts"
import type { Arguments, UsageError } from "./args.ts"
import type { ExitCode } from "./commands.ts"
import type { Terminal } from "./terminal.ts"

/** Wrong usage; exit code 2. */
export function usage(terminal: Terminal, error: UsageError): ExitCode {
  terminal.error(`${terminal.style("red", "error")}: ${error.message}`)
  if (error.help !== null) terminal.error(`${terminal.style("cyan", "help")}: ${error.help}`)
  return 2
}

/** A mistake without a place in the recipe; exit code 1. */
export function showProblem({ code, message, help }: Failure, args: Arguments, terminal: Terminal): ExitCode {
  if (args.flag("json")) terminal.line(JSON.stringify({ event: "diagnostic", code, severity: "error", message, help }))
  else terminal.error(`${terminal.style("red", `error[${code}]`)}: ${message}${help === null ? "" : `\n${terminal.style("cyan", "help")}: ${help}`}`)
  return 1
}
