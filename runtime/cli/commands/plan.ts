import { resolve } from "node:path"
import type { Failure } from "../../data/result.ts"
import { deviceRate } from "../../devices/open.ts"
import { writeAtomic } from "../../files.ts"
import { lockOf } from "../../lock-of-run.ts"
import { writePlan } from "../../lock.ts"
import type { StageState } from "../../plan-changes.ts"
import { summarise, type PlanSummary } from "../../plan.ts"
import type { Count } from "../../plan-sizes.ts"
import type { Command } from "../commands.ts"
import { openPlan, type Planned } from "../planned.ts"
import { showProblem } from "../problem.ts"
import { showDiagnostics } from "../recipe.ts"
import { bytes, count, duration, flop } from "../../numbers.ts"
import { narrowTable, widthOf } from "../show.ts"
import type { Style, Terminal } from "../terminal.ts"
import { wrap } from "../text.ts"

export const plan: Command = async (args, terminal) => {
  const opened = await openPlan(args, terminal)
  if (typeof opened === "number") return opened
  const { recipe, plan: planned, device } = opened
  showDiagnostics(planned.problems, planned.checked.sources, args, terminal)
  const exit = planned.problems.length > 0 ? 1 : 0
  const refused = exit === 0 ? savePlan(args.value("out"), opened) : null
  if (refused !== null) return showProblem(refused, args, terminal)
  const summary = summarise(planned, deviceRate(device))
  if (args.flag("json")) {
    const { stages, ...rest } = summary
    for (const stage of stages) terminal.line(JSON.stringify({ event: "stage", ...stage }))
    terminal.line(JSON.stringify({ event: "plan", recipe: recipe.source.id, ...rest }))
    return exit
  }
  for (const { name, text, doc } of planned.recipe.params) say(`param ${name} = ${text}${doc === null ? "" : terminal.style("dim", `  ${doc}`)}`, terminal)
  showStages(summary, args.flag("args"), terminal)
  terminal.line()
  showEnd(summary, terminal)
  const out = args.value("out")
  if (out !== null && exit === 0) terminal.line(`written to ${out}; \`slm run ${recipe.source.id} --plan ${out}\` runs this and nothing else`)
  return exit
}

/** Writes the plan as a file that a run can be held to; what went wrong, or null. */
function savePlan(out: string | null, { plan: planned, params, numericsClass, finished: { store, keys } }: Planned): Failure | null {
  if (out === null) return null
  // What the store has told is part of the plan; sizes that were taken for something are not.
  const yields = planned.stages.flatMap(({ stage, state }) => {
    const key = keys.of(stage)
    const entry = state === "cached" && key !== null ? store.get(key) : null
    return entry === null ? [] : [[stage.key, { result: null, facts: entry.about.facts }] as const]
  })
  const written = writeAtomic(resolve(out), writePlan(lockOf({ checked: planned.checked, params, numericsClass, keys, yields: new Map(yields) })))
  return written.ok ? null : (written.failures[0] ?? null)
}

const stateMarks: Readonly<Record<StageState, string>> = { new: "+", changed: "~", cached: "=" }
const marks: Readonly<Record<Count["is"], string>> = { exact: "", "at most": "≤", about: "~" }

function marked(number: Count | null): string {
  return number === null ? "" : `${marks[number.is]}${count(number.value)}`
}

function showStages({ stages }: PlanSummary, withArgs: boolean, terminal: Terminal): void {
  const optional = (n: number | null, as: (n: number) => string): string => (n === null ? "" : as(n))
  const header = ["", "stage", "kind", "parameters", "tokens", "work", "memory", "disk", "time"]
  const rows = stages.map((s) => [
    stateMarks[s.state], s.name, s.kind, optional(s.parameters, count), marked(s.tokens), optional(s.flops, flop), optional(s.memory, bytes), optional(s.disk, bytes),
    s.state === "cached" ? "" : optional(s.seconds, duration),
  ])
  const { lines, leftOut } = narrowTable([header, ...rows], [false, false, false, true, true, true, true, true, true], widthOf(terminal), { spare: ["tokens", "kind", "disk", "parameters", "work"], long: "stage" })
  lines.forEach((line, i) => {
    terminal.line(i === 0 ? terminal.style("dim", line) : line)
    const stage = stages[i - 1]
    for (const why of stage?.why ?? []) say(`     ${why}`, terminal, "yellow")
    if (withArgs && stage !== undefined) for (const [name, value] of Object.entries(stage.args)) say(`     ${name}: ${value}`, terminal, "dim")
  })
  if (leftOut.length > 0) say(`left out at this width: ${leftOut.join(", ")}`, terminal, "dim")
}

/** A sentence, broken where the terminal ends. */
function say(text: string, terminal: Terminal, style: Style | null = null): void {
  const indent = /^ */.exec(text)?.[0] ?? ""
  for (const line of wrap(text, widthOf(terminal), indent === "" ? "  " : indent)) terminal.line(style === null ? line : terminal.style(style, line))
}

function showEnd(summary: PlanSummary, terminal: Terminal): void {
  for (const { name, taken, resolvedBy } of summary.unknowns) {
    say(`${name} is known once \`${resolvedBy}\` has run; ${taken.is === "at most" ? "at most " : "about "}${count(taken.value)} ${taken.value === 1 ? "was" : "were"} taken`, terminal)
  }
  for (const { name, taken, refused } of summary.choices) {
    for (const each of refused) terminal.line(`${name}: its budget refuses ${each}`)
    if (taken !== null) terminal.line(`${name} decides what follows once its trials have run; ${taken} was taken`)
  }
  const kept = summary.stages.filter(({ kind, args }) => kind === "train" && args["keep"] === "best").map(({ name }) => name)
  if (kept.length > 0) say(`${kept.join(", ")}: the weights of the best of about 20 validations are kept`, terminal)
  const [fresh, changed, done] = (["new", "changed", "cached"] as const).map((state) => summary.stages.filter((stage) => stage.state === state).length) as [number, number, number]
  say(`${summary.stages.length} stages, ${fresh} to run (+)${changed === 0 ? "" : `, ${changed} to run again (~)`}, ${done} done before (=)`, terminal)
  if (summary.flops === 0) return say("nothing is left to compute", terminal)
  say(`${flop(summary.flops)}, up to ${bytes(summary.memory)} on the device and ${bytes(summary.disk)} on disk`, terminal)
  for (const line of memoryLines(summary)) say(line, terminal)
  say(`allowed are ${bytes(summary.limits.memory)} for a stage (--max-memory) and ${count(summary.limits.params)} parameters for a model (--max-params)`, terminal)
  say(`about ${duration(summary.seconds)} on ${summary.device}, ${summary.device === "webgpu" ? "on a GPU that reaches 1 TFLOP/s: large ones are many times faster" : "on two cores like those its rate was measured on"}`, terminal)
}

/** What the largest stage takes of the device, part by part; a bound has no parts. */
function memoryLines({ stages }: PlanSummary): readonly string[] {
  const largest = stages.filter(({ state }) => state !== "cached").reduce<PlanSummary["stages"][number] | null>((most, stage) => ((stage.memory ?? 0) > (most?.memory ?? 0) ? stage : most), null)
  const device = largest?.device ?? null
  if (largest === null || device === null) return []
  const again = device.again === 0 ? "" : `, with ${device.again} kernels run again in each step instead of kept`
  return [`that is ${largest.name}: ${bytes(device.arena)} of weights, states and values, and ${bytes(device.threads)} for threads${again}; this process takes ${bytes(process.memoryUsage().rss)} besides`]
}
