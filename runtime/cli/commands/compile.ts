import { printProgram } from "../../../compiler/graph/print.ts"
import { parse } from "../../../grammar/parse.ts"
import { programsOf } from "../../plan.ts"
import type { Command, ExitCode } from "../commands.ts"
import { nearest } from "../nearest.ts"
import { openPlan } from "../planned.ts"
import { readRecipe, showDiagnostics, hasErrors, usage } from "../recipe.ts"
import type { Arguments } from "../args.ts"
import type { Terminal } from "../terminal.ts"

const phases = ["parse", "check", "graph", "transform"] as const
type Phase = (typeof phases)[number]

export const compile: Command = async (args, terminal) => {
  const phase = args.value("after") ?? "transform"
  if (!isPhase(phase)) {
    const close = nearest(phase, phases)
    return usage(terminal, { message: `there is no phase ${JSON.stringify(phase)}`, help: close === null ? `phases: ${phases.join(", ")}` : `did you mean ${close}?` })
  }
  return phase === "parse" ? printTree(args, terminal) : printStages(phase, args, terminal)
}

function isPhase(text: string): text is Phase {
  return phases.some((phase) => phase === text)
}

function printTree(args: Arguments, terminal: Terminal): ExitCode {
  const recipe = readRecipe(args.positionals[0] ?? "")
  if ("message" in recipe) return usage(terminal, recipe)
  const { module, diagnostics } = parse(recipe.source)
  showDiagnostics(diagnostics, new Map([[recipe.source.id, recipe.source]]), args, terminal)
  terminal.line(JSON.stringify(module.items, (key, value: unknown) => (key === "span" || key.endsWith("Span") ? undefined : value), 2))
  return hasErrors(diagnostics) ? 1 : 0
}

async function printStages(phase: Exclude<Phase, "parse">, args: Arguments, terminal: Terminal): Promise<ExitCode> {
  const opened = await openPlan(args, terminal)
  if (typeof opened === "number") return opened
  const { plan: planned } = opened
  const wanted = args.value("stage")
  const names = planned.stages.map(({ stage }) => stage.name)
  if (wanted !== null && !names.includes(wanted)) {
    const close = nearest(wanted, names)
    return usage(terminal, { message: `there is no stage ${JSON.stringify(wanted)}`, help: close === null ? `stages: ${names.join(", ")}` : `did you mean ${close}?` })
  }
  for (const { stage, args: values } of planned.stages) {
    if (wanted !== null && stage.name !== wanted) continue
    if (phase === "check") {
      terminal.line(`${stage.name} = ${stage.kind}  ${terminal.style("dim", stage.key.slice(0, 16))}`)
      for (const [name, value] of values) terminal.line(`  ${name}: ${value}`)
      continue
    }
    for (const program of programsOf(stage, planned.checked, phase === "graph")) terminal.line(printProgram(program))
  }
  return 0
}
