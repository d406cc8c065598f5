import type { Emit, Event, StageRef } from "../stages/events.ts"
import { bytes, count, duration } from "../numbers.ts"
import { sparkline } from "./show.ts"
import type { Terminal } from "./terminal.ts"
import { columns, cut, oneLine, wrap } from "./text.ts"

/** What is remembered of a stage while it runs. */
interface Curve {
  readonly loss: number[]
  /** Steps of the last reports and the rate over them. */
  readonly rates: { readonly steps: number; readonly rate: number }[]
  step: number
  valid: number | null
  /** Of the sets of the last validation, and its metrics. */
  parts: readonly (readonly [string, number])[]
  /** The tenth that was shown last where lines cannot be redrawn. */
  tenth: number
}

interface Display {
  readonly terminal: Terminal
  /** Keys of stages whose models answer what is said to them instead of continuing it. */
  readonly answers: ReadonlySet<string>
  readonly curves: Map<string, Curve>
  /** Columns of names and kinds. */
  names: number
  kinds: number
  /** `[7/10]`: the place of the present stage. */
  place: string
}

type Of<E extends Event["event"]> = Extract<Event, { event: E }>

/** Shows a run to a person: a live line where the terminal can redraw, otherwise a plain line at every tenth. */
export function showRun(terminal: Terminal, answers: ReadonlySet<string> = new Set()): Emit {
  const display: Display = { terminal, answers, curves: new Map(), names: 0, kinds: 0, place: "" }
  return (event) => show(display, event)
}

function show(d: Display, event: Event): void {
  const { terminal } = d
  switch (event.event) {
    case "run-started": return begin(d, event)
    case "stage-started":
      d.place = `[${event.index + 1}/${event.count}]`
      return terminal.status(`  ${d.place} ${event.stage.name} …`)
    case "stage-cached": return facts(d, terminal.style("dim", "="), event.stage, terminal.style("dim", `done before${event.build === undefined ? "" : ", by another build"}`), event.facts)
    case "stage-finished": return finished(d, event)
    case "progress": return progress(d, event)
    case "work": return terminal.status(`  ${d.place} ${event.stage.name}  ${event.done}/${event.total} ${event.unit}`)
    case "sample": return sample(d, event)
    case "warning": return warning(terminal, event)
    case "expect": return expectation(terminal, event)
    case "exported": return terminal.line(`${terminal.style("green", "→")} ${event.file}  ${terminal.style("dim", bytes(event.bytes))}`)
    case "resumed": return terminal.line(`  ${event.stage.name} goes on after step ${event.step} of ${event.total}${event.build === undefined ? "" : ", of another build"}`)
    case "trace": case "diagnostic": case "run-finished": return
  }
}

function begin(d: Display, event: Of<"run-started">): void {
  const longest = (texts: readonly string[], most: number): number => Math.min(most, Math.max(0, ...texts.map(columns)))
  d.names = longest(event.stages.map(({ name }) => name), 20)
  d.kinds = longest(event.stages.map(({ kind }) => kind), 10)
  paragraph(d.terminal, `${d.terminal.style("bold", event.recipe)} on ${event.device}, ${event.stages.length} ${event.stages.length === 1 ? "stage" : "stages"}`, "  ")
}

// ---------------------------------------------------------------- training

function curveOf(d: Display, stage: StageRef): Curve {
  const found = d.curves.get(stage.key) ?? { loss: [], rates: [], step: 0, valid: null, parts: [], tenth: -1 }
  d.curves.set(stage.key, found)
  return found
}

const window = 30 // reports

function progress(d: Display, event: Of<"progress">): void {
  const curve = curveOf(d, event.stage)
  curve.loss.push(event.loss)
  if (event.valid !== null) {
    curve.valid = event.valid
    curve.parts = Object.entries({ ...event.losses, ...event.metrics })
  }
  curve.rates.push({ steps: event.step - curve.step, rate: event.tokensPerSecond })
  if (curve.rates.length > window) curve.rates.shift()
  curve.step = event.step
  const tenth = Math.floor((event.step / event.total) * 10)
  const text = `  ${d.terminal.live ? `${d.place} ` : ""}${progressLine(event, curve)}`
  if (d.terminal.live) d.terminal.status(text)
  else if (tenth > curve.tenth) d.terminal.line(text)
  curve.tenth = tenth
}

function progressLine(event: Of<"progress">, curve: Curve): string {
  const parts = [`${event.stage.name}  step ${event.step}/${event.total}`, `loss ${event.loss.toFixed(3)}`]
  if (curve.valid !== null) parts.push(`valid ${curve.valid.toFixed(3)}${curve.parts.length === 0 ? "" : ` (${curve.parts.map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ")})`}`)
  parts.push(`${count(meanRate(curve))} tokens/s`, `${duration(event.secondsLeft)} left`)
  return parts.join("  ")
}

/** Tokens over time of the last reports. A report's time is its steps over its rate, whatever a step is worth. */
function meanRate({ rates }: Curve): number {
  const usable = rates.filter(({ steps, rate }) => steps > 0 && rate > 0)
  const time = usable.reduce((sum, { steps, rate }) => sum + steps / rate, 0)
  return time === 0 ? 0 : usable.reduce((sum, { steps }) => sum + steps, 0) / time
}

// ---------------------------------------------------------------- ends of stages

function finished(d: Display, event: Of<"stage-finished">): void {
  const { terminal } = d
  const losses = d.curves.get(event.stage.key)?.loss ?? []
  const picture = losses.length > 1 ? `${terminal.style("cyan", sparkline(losses, 16))}  ` : ""
  facts(d, event.facts["diverged"] === undefined ? terminal.style("green", "✓") : terminal.style("yellow", "✗"), event.stage, `${terminal.style("dim", duration(event.seconds).padStart(6))}  ${picture}`.trimEnd(), event.facts)
}

/** One line for a stage: mark, name, kind, how it went, what it taught; wrapped under its facts where it is too long. */
function facts(d: Display, mark: string, stage: StageRef, how: string, values: Readonly<Record<string, number>>): void {
  const { terminal } = d
  const name = stage.name + " ".repeat(Math.max(0, d.names - columns(stage.name)))
  const head = `${mark} ${name}  ${terminal.style("dim", stage.kind.padEnd(d.kinds))}  ${how}`
  const text = factsText(values)
  if (text === "") return terminal.line(head.trimEnd())
  const room = terminal.width - columns(head) - 2
  if (columns(text) <= room || !terminal.live) return terminal.line(`${head}  ${text}`)
  terminal.line(head.trimEnd())
  for (const line of wrap(text, terminal.width - 6)) terminal.line(`    ${line}`)
}

/** `rows 54 (train 51, valid 3), valid 3.1 (prose 3.0, poems 3.2)`: parts stand behind the whole. */
function factsText(values: Readonly<Record<string, number>>): string {
  const names = Object.keys(values).filter((name) => !untold(name, values))
  const parts = (field: string): string[] => names.flatMap((name) => {
    const part = name.endsWith(`.${field}`) ? name.slice(0, -field.length - 1) : name.startsWith(`${field}.`) ? name.slice(field.length + 1) : null
    return part === null ? [] : [`${part} ${fact(field, values[name] ?? 0)}`]
  })
  return names.filter((name) => !name.includes(".") || (values[name.slice(name.indexOf(".") + 1)] === undefined && values[name.slice(0, name.indexOf("."))] === undefined)).map((name) => {
    const own = parts(name)
    return `${name.replaceAll("_", " ")} ${fact(name, values[name] ?? 0)}${own.length === 0 ? "" : ` (${own.join(", ")})`}`
  }).join(", ")
}

/** That the best weights of a training are its last goes without saying. */
function untold(name: string, values: Readonly<Record<string, number>>): boolean {
  return (name === "best_step" || name === "last_valid") && values["best_step"] === values["steps"]
}

function fact(name: string, value: number): string {
  if (name.startsWith("bytes")) return bytes(value)
  return Number.isInteger(value) ? count(value) : value.toPrecision(4)
}

// ---------------------------------------------------------------- what is said on the way

/** While a model trains one line is enough; what `generate` was asked for is shown whole. */
function sample({ terminal, answers }: Display, event: Of<"sample">): void {
  const who = event.at === null ? event.stage.name : `${event.stage.name} at ${Math.round(event.at * 100)}%`
  const text = `  ${terminal.style("dim", who)}  ${terminal.style("bold", oneLine(event.prompt))}${answers.has(event.stage.key) ? " → " : ""}${oneLine(event.text)}`
  if (terminal.live && event.at !== null) terminal.line(cut(text, terminal.width - 1))
  else paragraph(terminal, text, "    ")
}

/** Lines that fit where a person reads; one line for a file. */
function paragraph(terminal: Terminal, text: string, indent: string): void {
  for (const line of terminal.live ? wrap(text, terminal.width - 1, indent) : [text]) terminal.line(line)
}

function warning(terminal: Terminal, event: Of<"warning">): void {
  paragraph(terminal, `${terminal.style("yellow", "warning")}: ${event.message}`, "  ")
  if (event.help !== null) paragraph(terminal, `${terminal.style("cyan", "help")}: ${event.help}`, "  ")
}

function expectation(terminal: Terminal, event: Of<"expect">): void {
  const mark = event.holds ? terminal.style("green", "✓ expect") : terminal.style("red", "✗ expect")
  const shown = (value: number): string => (Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : value.toPrecision(4))
  const values = event.left === null || event.right === null ? "" : `  (${shown(event.left)} ${event.operator} ${shown(event.right)})`
  paragraph(terminal, `${mark} ${event.text}${values}`, "    ")
}
