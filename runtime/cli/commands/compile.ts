import { printProgram } from "../../../compiler/graph/print.ts"
import { parse } from "../../../grammar/parse.ts"
import { programsOf } from "../../plan-stages.ts"
import type { Command, ExitCode } from "../commands.ts"
import { nearest } from "../../../grammar/nearest.ts"
import { openPlan } from "../planned.ts"
import { usage } from "../problem.ts"
import { hasErrors, showDiagnostics } from "../recipe.ts"
import { readRecipe } from "../../recipe.ts"
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
  const places = (key: string, value: unknown): unknown => (key === "span" || key.endsWith("Span") ? undefined : value)
  if (args.flag("json")) for (const item of module.items) terminal.line(JSON.stringify({ event: "item", ...item }))
  else terminal.line(JSON.stringify(module.items, places, 2))
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
  const json = args.flag("json")
  for (const { stage, args: values } of planned.stages) {
    if (wanted !== null && stage.name !== wanted) continue
    if (phase !== "check") {
      for (const program of programsOf(stage, planned.checked, phase === "graph")) terminal.line(json ? JSON.stringify({ event: "program", stage: stage.name, text: printProgram(program) }) : printProgram(program))
    } else if (json) terminal.line(JSON.stringify({ event: "stage", name: stage.name, kind: stage.kind, key: stage.key, args: Object.fromEntries(values) }))
    else {
      terminal.line(`${stage.name} = ${stage.kind}  ${terminal.style("dim", stage.key.slice(0, 16))}`)
      for (const [name, value] of values) terminal.line(`  ${name}: ${value}`)
    }
  }
  return 0
}
