import { deviceRate } from "../../devices/open.ts"
import type { Plan, StagePlan } from "../../plan.ts"
import type { Command } from "../commands.ts"
import { openPlan } from "../planned.ts"
import { bytes, count, duration, flop, table } from "../show.ts"
import type { Terminal } from "../terminal.ts"

export const plan: Command = async (args, terminal) => {
  const opened = await openPlan(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, plan: planned } = opened
  const rate = deviceRate(args.value("device"))
  if (args.flag("json")) {
    for (const s of planned.stages) terminal.line(JSON.stringify({ event: "stage", ...plainStage(s) }))
    terminal.line(JSON.stringify({ event: "plan", recipe: recipe.source.id, flops: planned.flops, memory: planned.memory, device: rate.device, seconds: planned.flops / rate.flops, params: Object.fromEntries(planned.recipe.params.map((p) => [p.name, p.text])) }))
    return 0
  }
  show(planned, rate, args.flag("args"), terminal)
  return 0
}

function plainStage({ stage, args, ...rest }: StagePlan) {
  return { name: stage.name, kind: stage.kind, key: stage.key, ...rest, args: Object.fromEntries(args) }
}

function show(planned: Plan, rate: { readonly device: string; readonly flops: number }, withArgs: boolean, terminal: Terminal): void {
  for (const { name, text, doc } of planned.recipe.params) terminal.line(`param ${name} = ${text}${doc === null ? "" : terminal.style("dim", `  ${doc}`)}`)
  const optional = (n: number | null, as: (n: number) => string): string => (n === null ? "" : as(n))
  const header = ["", "stage", "kind", "parameters", "tokens", "work", "memory", "disk"]
  const rows = planned.stages.map((s) => [
    s.state === "cached" ? "=" : "+", s.stage.name, s.stage.kind, optional(s.parameters, count), optional(s.tokens, count), optional(s.flops, flop), optional(s.memory, bytes), optional(s.disk, bytes),
  ])
  const lines = table([header, ...rows], [false, false, false, true, true, true, true, true])
  lines.forEach((line, i) => {
    terminal.line(i === 0 ? terminal.style("dim", line) : line)
    const stage = planned.stages[i - 1]
    if (withArgs && stage !== undefined) for (const [name, value] of stage.args) terminal.line(terminal.style("dim", `     ${name}: ${value}`))
  })
  terminal.line()
  for (const { stage, field, value, exact } of planned.assumptions) {
    if (!exact) terminal.line(`${stage.name}.${field} is known once ${stage.name} has run; at most ${value} was taken`)
  }
  const fresh = planned.stages.filter((s) => s.state === "new").length
  terminal.line(`${planned.stages.length} stages, ${fresh} to run (+), ${planned.stages.length - fresh} done before (=)`)
  terminal.line(`${flop(planned.flops)} of training, up to ${bytes(planned.memory)} on the device, about ${duration(planned.flops / rate.flops)} on ${rate.device} with two cores like those it was measured on`)
}
