import { statSync } from "node:fs"
import { drawTwo, readCurves } from "../../curves.ts"
import { diff as compare, expectsOf, type CurveDiff, type Diff, type FieldDiff, type Side, type StageDiff } from "../../diff.ts"
import { lockOf } from "../../lock-of-run.ts"
import { number } from "../../numbers.ts"
import { openPastRun } from "../../past-run.ts"
import { readRecipe } from "../../recipe.ts"
import { hashesFor } from "../../run-folder.ts"
import { createArtifactKeys } from "../../stages/keys.ts"
import type { Arguments, UsageError } from "../args.ts"
import type { Command, ExitCode } from "../commands.ts"
import { usage } from "../problem.ts"
import { checkRecipe, hasErrors, readSettings, showDiagnostics } from "../recipe.ts"
import { table } from "../show.ts"
import type { Terminal } from "../terminal.ts"

export const diff: Command = async (args, terminal) => {
  const sides: Side[] = []
  for (const place of args.positionals) {
    const side = openSide(place, args, terminal)
    if (typeof side === "number") return side
    if ("message" in side) return usage(terminal, side)
    sides.push(side)
  }
  const [a, b] = sides
  if (a === undefined || b === undefined) throw new Error("diff: two sides are needed")
  const found = compare(a, b)
  if (args.flag("json")) toJson(found, a, b, terminal)
  else show(found, a, b, terminal)
  return found.same ? 0 : 1
}

/** A folder is a run, a file is a recipe. */
function openSide(place: string, args: Arguments, terminal: Terminal): Side | UsageError | ExitCode {
  if (statSync(place, { throwIfNoEntry: false })?.isDirectory() === true) {
    const past = openPastRun(place)
    return "message" in past ? past : { name: place, lock: past.snapshot.lock, expects: expectsOf(past.checked), curves: readCurves(place) }
  }
  const recipe = readRecipe(place)
  if ("message" in recipe) return recipe
  const params = readSettings(args)
  if ("message" in params) return params
  const checked = checkRecipe(recipe, params)
  showDiagnostics(checked.diagnostics.filter(({ severity }) => severity === "error"), checked.sources, args, terminal)
  if (checked.recipe === null || hasErrors(checked.diagnostics)) return 1
  const hashes = hashesFor(recipe.folder, false)
  const keys = createArtifactKeys({ folder: recipe.folder, allowRead: args.values("allow-read") }, { numericsClass: "" }, hashes)
  const lock = lockOf({ checked, params, numericsClass: "", keys, yields: new Map() })
  hashes.save()
  return { name: place, lock, expects: expectsOf(checked), curves: null }
}

// ---------------------------------------------------------------- shown

function show(found: Diff, a: Side, b: Side, terminal: Terminal): void {
  for (const text of found.around) terminal.line(text)
  for (const stage of found.stages) showStage(stage, terminal)
  terminal.line(`${found.equal} stages mean the same${found.same ? ": there is no difference" : ""}`)
  if (a.curves === null || b.curves === null) return
  if (found.results.length > 0) {
    const rows = found.results.map(({ stage, fact, was, is }) => [`${stage}.${fact}`, was === null ? "" : number(was), is === null ? "" : number(is), change(was, is)])
    terminal.line()
    for (const line of table([["result", a.name, b.name, ""], ...rows], [false, true, true, true])) terminal.line(line)
  } else terminal.line("the results are the same")
  for (const curve of found.curves) showCurve(curve, a, b, terminal)
}

function change(was: number | null, is: number | null): string {
  return was === null || is === null || was === 0 ? "" : `${is >= was ? "+" : ""}${((100 * (is - was)) / Math.abs(was)).toFixed(1)}%`
}

const marks = { added: ["green", "+"], removed: ["red", "-"], changed: ["yellow", "~"], renamed: ["dim", "="] } as const

function showStage(stage: StageDiff, terminal: Terminal): void {
  const [color, mark] = marks[stage.is]
  const before = (stage.is === "renamed" || stage.is === "changed") && stage.before !== stage.name ? `  was called ${stage.before}` : ""
  const more = before + (stage.is === "changed" && stage.follows.length > 0 ? `  follows from ${stage.follows.join(", ")}` : "")
  terminal.line(`${terminal.style(color, mark)} ${stage.name}  ${terminal.style("dim", stage.kind)}${more}`)
  if (stage.is !== "changed") return
  const rows = stage.fields.map(({ field, was, is }) => [`    ${field}`, sides({ field, was, is })])
  for (const line of table(rows)) terminal.line(line)
}

function sides({ was, is }: FieldDiff): string {
  if (was === is) return `${is ?? ""}  (its text is another one)`
  return `${was ?? "not there"} -> ${is ?? "not there"}`
}

function showCurve({ stage, a: first, b: second, parts, farthest }: CurveDiff, a: Side, b: Side, terminal: Terminal): void {
  terminal.line()
  const [endA, endB] = [first.at(-1)?.loss ?? NaN, second.at(-1)?.loss ?? NaN]
  if (parts === null) {
    terminal.line(`${terminal.style("bold", stage)}: the losses are the same`)
    return
  }
  terminal.line(`${terminal.style("bold", stage)}: loss by step, ${a.name} •, ${b.name} ×, both *`)
  for (const line of drawTwo(first, second, Math.max(20, Math.min(72, terminal.width - 12)), 10)) terminal.line(line)
  const most = farthest === null ? "" : `, are farthest apart at step ${farthest.step} (${number(farthest.a)} and ${number(farthest.b)})`
  terminal.line(`they part at step ${parts}${most}, and end at ${number(endA)} and ${number(endB)}`)
}

function toJson(found: Diff, a: Side, b: Side, terminal: Terminal): void {
  for (const text of found.around) terminal.line(JSON.stringify({ event: "around", text }))
  for (const stage of found.stages) terminal.line(JSON.stringify({ event: "stage", ...stage }))
  for (const result of found.results) terminal.line(JSON.stringify({ event: "result", ...result }))
  for (const curve of found.curves) terminal.line(JSON.stringify({ event: "curve", ...curve }))
  terminal.line(JSON.stringify({ event: "diff", a: a.name, b: b.name, same: found.same, equal: found.equal }))
}
