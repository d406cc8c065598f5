import type { Emit, Event, StageRef } from "../stages/events.ts"
import { count, duration, sparkline } from "./show.ts"
import type { Terminal } from "./terminal.ts"

interface Curve { readonly loss: number[]; valid: number | null; lastPlain: number }

/** Shows a run to a person: a live line where the terminal can redraw, otherwise a plain line at every tenth. */
export function showRun(terminal: Terminal): Emit {
  const curves = new Map<string, Curve>()
  return (event) => {
    const curve = "stage" in event && event.stage !== null ? curveOf(curves, event.stage) : null
    if (event.event === "progress" && curve !== null) showProgress(terminal, event, curve)
    else if (event.event === "stage-finished" && curve !== null) terminal.line(finishedLine(terminal, event, curve))
    else showOther(terminal, event)
  }
}

function curveOf(curves: Map<string, Curve>, stage: StageRef): Curve {
  const found = curves.get(stage.key)
  if (found !== undefined) return found
  const made: Curve = { loss: [], valid: null, lastPlain: -1 }
  curves.set(stage.key, made)
  return made
}

type Progress = Extract<Event, { event: "progress" }>

function showProgress(terminal: Terminal, event: Progress, curve: Curve): void {
  curve.loss.push(event.loss)
  if (event.valid !== null) curve.valid = event.valid
  const text = progressLine(event, curve)
  const tenth = Math.floor((event.step / event.total) * 10)
  if (terminal.live) terminal.status(`  ${text}`)
  else if (tenth > curve.lastPlain) terminal.line(`  ${text}`)
  curve.lastPlain = tenth
}

function progressLine(event: Progress, curve: Curve): string {
  const parts = [`${event.stage.name} step ${event.step}/${event.total}`, `loss ${event.loss.toFixed(3)}`]
  if (curve.valid !== null) parts.push(`valid ${curve.valid.toFixed(3)}`)
  parts.push(`${count(event.tokensPerSecond)} tokens/s`, `${duration(event.secondsLeft)} left`)
  return parts.join("  ")
}

function finishedLine(terminal: Terminal, event: Extract<Event, { event: "stage-finished" }>, curve: Curve): string {
  const facts = factsText(event.facts)
  const picture = curve.loss.length > 1 ? `  ${terminal.style("cyan", sparkline(curve.loss, 24))}` : ""
  return `${terminal.style("green", "✓")} ${label(event.stage)}  ${terminal.style("dim", duration(event.seconds))}${picture}${facts === "" ? "" : `  ${facts}`}`
}

function showOther(terminal: Terminal, event: Event): void {
  switch (event.event) {
    case "run-started":
      terminal.line(`${terminal.style("bold", event.recipe)} on ${event.device}, ${event.stages.length} stages`)
      return
    case "stage-started":
      terminal.status(`  ${label(event.stage)} … (${event.index + 1} of ${event.count})`)
      return
    case "stage-cached":
      terminal.line(`${terminal.style("dim", "=")} ${label(event.stage)}  ${terminal.style("dim", "done before")}  ${factsText(event.facts)}`.trimEnd())
      return
    case "work":
      terminal.status(`  ${label(event.stage)}  ${event.done}/${event.total} ${event.unit}`)
      return
    case "sample":
      terminal.line(`  ${terminal.style("dim", event.at === null ? event.stage.name : `${event.stage.name} at ${Math.round(event.at * 100)}%`)}  ${terminal.style("bold", oneLine(event.prompt))}${oneLine(event.text)}`)
      return
    case "warning":
      terminal.line(`${terminal.style("yellow", "warning")}: ${event.message}${event.help === null ? "" : `\n  ${terminal.style("cyan", "help")}: ${event.help}`}`)
      return
    case "expect":
      terminal.line(expectLine(terminal, event))
      return
    case "exported":
      terminal.line(`${terminal.style("green", "→")} ${event.file}  ${terminal.style("dim", `${count(event.bytes)}B`)}`)
      return
    case "progress": case "stage-finished": case "diagnostic": case "run-finished":
      return
  }
}

function expectLine(terminal: Terminal, event: Extract<Event, { event: "expect" }>): string {
  const mark = event.holds ? terminal.style("green", "✓ expect") : terminal.style("red", "✗ expect")
  const values = event.left === null || event.right === null ? "" : `  (${number(event.left)} ${event.operator} ${number(event.right)})`
  return `${mark} ${event.text}${values}`
}

function label(stage: StageRef): string {
  return stage.name === stage.kind ? stage.name : `${stage.kind} ${stage.name}`
}

function factsText(facts: Readonly<Record<string, number>>): string {
  return Object.entries(facts).map(([name, value]) => `${name.replaceAll("_", " ")} ${number(value)}`).join(", ")
}

function number(value: number): string {
  return Number.isInteger(value) ? count(value) : value.toPrecision(4)
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ⏎ ")
}
