/** One self-contained page about a run: curves, models, samples and every `expect`. Needs no network and runs no script. */
import { bytes, count, duration } from "./numbers.ts"
import { chart, escape, type Series } from "./report-chart.ts"
import type { ModelRow, Writers } from "./report-models.ts"
import type { SearchTable } from "./report-searches.ts"
import type { Event, StageRef } from "./stages/events.ts"
import { pasted } from "./system-error.ts"

export interface ReportOptions {
  readonly recipe: string
  /** In order; those of stages that were done before included. */
  readonly events: readonly Event[]
  readonly models: readonly ModelRow[]
  readonly writers: Writers
  readonly searches?: readonly SearchTable[]
}

export function reportPage(report: ReportOptions): string {
  const { recipe, events } = report
  const sections = [warnings(events), expects(events), models(report.models), ...(report.searches ?? []).map(search), curves(events), texts(report), stages(events), files(events)]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><meta name="viewport" content="width=device-width">
<title>${escape(recipe)}</title>
<style>${style}</style></head><body>
<h1>${escape(recipe)}</h1>
${head(events)}
${sections.filter((s) => s !== "").join("\n")}
</body></html>
`
}

const style = `
:root { color-scheme: light dark; --dim: #6a6a6a; --line: #ddd; --ok: #1a7f37; --no: #cf222e }
@media (prefers-color-scheme: dark) { :root { --dim: #9a9a9a; --line: #444; --ok: #4ac26b; --no: #ff7b72 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } h3 { font-size: 1rem; margin: 1.4rem 0 .4rem }
.wide { overflow-x: auto } table { border-collapse: collapse } th { font-weight: 600; color: var(--dim) }
td, th { padding: .25rem 1.1rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
td.t { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 9rem } code { font: 13px/1.5 ui-monospace, monospace }
.ok { color: var(--ok) } .no { color: var(--no) } .dim { color: var(--dim) }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: var(--dim) } .grid { stroke: var(--line) }
.legend svg { width: 30px; height: 10px } .legend span { margin-right: 1.6rem; white-space: nowrap }
`

function of<E extends Event["event"]>(events: readonly Event[], name: E): readonly Extract<Event, { event: E }>[] {
  return events.filter((event): event is Extract<Event, { event: E }> => event.event === name)
}

function section(title: string, body: string): string {
  return body === "" ? "" : `<h2>${title}</h2>\n${body}`
}

/** Rows of cells that are HTML already. */
function table(header: readonly string[] | null, rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ""
  const first = header === null ? "" : `<tr>${header.join("")}</tr>\n`
  return `<div class="wide"><table>${first}${rows.map((cells) => `<tr>${cells.join("")}</tr>`).join("\n")}</table></div>`
}

const cell = (html: string): string => `<td>${html}</td>`
const text = (plain: string): string => cell(escape(plain))
const number = (plain: string): string => `<td class="n">${escape(plain)}</td>`
const title = (plain: string, right = false): string => `<th${right ? ' class="n"' : ""}>${escape(plain)}</th>`

// ---------------------------------------------------------------- how it went

const words = { done: "done", failed: "failed", interrupted: "interrupted; run again to go on" } as const

function head(events: readonly Event[]): string {
  const [started] = of(events, "run-started")
  const [ended] = of(events, "run-finished")
  const parts = [
    ...(ended === undefined ? [] : [`<b class="${ended.status === "done" ? "ok" : "no"}">${words[ended.status]}</b> in ${duration(ended.seconds)}`]),
    ...(started === undefined ? [] : [escape(started.device)]),
  ]
  return `<p>${parts.join(" on ")}</p>`
}

function warnings(events: readonly Event[]): string {
  const said = of(events, "warning").map((e) => [cell(`<span class="no">${e.stage === null ? "" : escape(e.stage.name)}</span>`), cell(`${escape(e.message)}${e.help === null ? "" : `<br><span class="dim">${escape(e.help)}</span>`}`)])
  const wrong = of(events, "diagnostic").filter(({ diagnostic: d }) => d.severity === "error" && d.code !== "SLM3307").map(({ diagnostic: d }) => [cell(`<span class="no">${escape(d.code)}</span>`), text(d.message)])
  return section("Warnings", table(null, [...wrong, ...said]))
}

function expects(events: readonly Event[]): string {
  return section("Expectations", table(null, of(events, "expect").map((e) => [
    `<td class="${e.holds ? "ok" : "no"}">${e.holds ? "✓ holds" : "✗ fails"}</td>`, cell(`<code>${escape(e.text)}</code>`),
    number(e.left === null || e.right === null ? "" : `${measure(e.left)} ${e.operator} ${measure(e.right)}`),
  ])))
}

function measure(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : value.toPrecision(4)
}

// ---------------------------------------------------------------- models

const metrics = [["perplexity", "perplexity"], ["bits_per_byte", "bits per byte"], ["accuracy", "accuracy"]] as const

function models(rows: readonly ModelRow[]): string {
  const sets = [...new Set(rows.flatMap((row) => [...row.measured.keys()]))]
  const columns = sets.flatMap((set) => metrics.filter(([field]) => rows.some((row) => row.measured.get(set)?.[field] !== undefined)).map(([field, shown]) => ({ set, field, shown })))
  const header = [title("model"), title(""), title("parameters", true), title("size", true), ...columns.map(({ set, shown }) => title(sets.length > 1 ? `${shown}, ${set}` : shown, true))]
  const measured = (value: number | undefined): string => (value === undefined ? "" : measure(value))
  const body = rows.map((row) => [
    cell(`<b>${escape(row.name)}</b>`), cell(`<span class="dim">${row.kind}</span>`), number(count(row.parameters)), number(bytes(row.bytes)),
    ...columns.map(({ set, field }) => number(measured(row.measured.get(set)?.[field]))),
  ])
  const [only] = sets.length === 1 ? sets : []
  return section("Models", body.length === 0 ? "" : `${table(header, body)}${only === undefined ? "" : `<p class="dim">measured on <code>${escape(only)}</code></p>`}`)
}

/** A round of a search, the best trial first. */
function search({ name, fields, trials, refused }: SearchTable): string {
  const header = [title(""), ...fields.map((field) => title(field, true)), title("parameters", true), title("perplexity", true), title("chosen by", true)]
  const rows = trials.map(({ values, score, perplexity, parameters, diverged = null }, i) => [
    number(String(i + 1)), ...values.map(number), number(parameters === null ? "" : count(parameters)), number(perplexity === null ? "" : measure(perplexity)), number(diverged === null ? measure(score) : `diverged at step ${diverged}`),
  ])
  const left = refused.length === 0 ? "" : `<p class="dim">beyond its budget: ${refused.map((each) => `<code>${escape(each)}</code>`).join(", ")}</p>`
  return section(`Search ${escape(name)}`, `${table(header, rows)}${left}`)
}

function curves(events: readonly Event[]): string {
  const progress = of(events, "progress")
  const trained = unique(progress.map((e) => e.stage))
  const series = trained.flatMap((stage, group): Series[] => {
    const own = progress.filter((e) => e.stage.key === stage.key)
    const valid = own.flatMap((e): [number, number][] => (e.valid === null ? [] : [[e.step, e.valid]]))
    const training: Series = { name: `${stage.name}, training`, group, dashed: false, points: own.map((e) => [e.step, e.loss]) }
    return valid.length === 0 ? [training] : [training, { name: `${stage.name}, validation`, group, dashed: true, points: valid }]
  })
  const sets = byName(progress, trained, "losses", trained.length)
  const measured = byName(progress, trained, "metrics", 0)
  return [section("Loss", chart([...series, ...sets], { x: "step", y: "loss" })), section("Metrics", chart(measured, { x: "step", y: "metrics" }))].filter((text) => text !== "").join("\n")
}

/** A curve for each set of the validations, or for each metric. */
function byName(progress: readonly Extract<Event, { event: "progress" }>[], trained: readonly StageRef[], of: "losses" | "metrics", firstGroup: number): readonly Series[] {
  const all = trained.flatMap((stage) => {
    const own = progress.filter((e) => e.stage.key === stage.key)
    return [...new Set(own.flatMap((e) => Object.keys(e[of] ?? {})))].map((name) => ({ name: `${stage.name}, ${name}`, points: own.flatMap((e): [number, number][] => { const value = e[of]?.[name]; return value === undefined ? [] : [[e.step, value]] }) }))
  })
  return all.map((series, i) => ({ ...series, group: firstGroup + i, dashed: true }))
}

function unique(stages: readonly StageRef[]): StageRef[] {
  return [...new Map(stages.map((stage) => [stage.key, stage])).values()]
}

// ---------------------------------------------------------------- what the models write

/** For each prompt a row for each model: while it was trained, and as it is. The same prompt stands side by side. */
function texts({ events, writers }: ReportOptions): string {
  const samples = of(events, "sample")
  const prompts = [...new Set(samples.map((e) => e.prompt))]
  return section("What the models write", prompts.map((prompt) => {
    const own = samples.filter((e) => e.prompt === prompt)
    const shares = [...new Set(own.flatMap(({ at }) => (at === null ? [] : [at])))].sort((a, b) => a - b)
    const columns: (number | null)[] = [...shares, ...(own.some(({ at }) => at === null) ? [null] : [])]
    const names = [...new Set(own.map((e) => nameOf(e, writers)))]
    const rows = names.map((name) => [cell(`<b>${escape(name)}</b>`), ...columns.map((at) => `<td class="t">${own.filter((e) => nameOf(e, writers) === name && e.at === at).map((e) => escape(legible(e.text))).join("<br>")}</td>`)])
    return `<h3>${escape(prompt === "" ? "(nothing)" : prompt)}</h3>\n${table([title(""), ...columns.map((at) => title(at === null ? "generated" : `${Math.round(at * 100)}%`))], rows)}`
  }).join("\n"))
}

/** Bytes that are no text and control characters say nothing by their number. */
function legible(written: string): string {
  return written.trim().replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "·").replace(/\ufffd+/g, "\ufffd")
}

function nameOf({ stage }: Extract<Event, { event: "sample" }>, writers: Writers): string {
  return writers.get(stage.key) ?? stage.name
}

// ---------------------------------------------------------------- stages and files

function stages(events: readonly Event[]): string {
  const continued = new Set(of(events, "resumed").filter(({ build }) => build !== undefined).map(({ stage }) => stage.key))
  return section("Stages", table(null, events.flatMap((e) => {
    if (e.event !== "stage-finished" && e.event !== "stage-cached") return []
    const found = Object.entries(e.facts).map(([name, value]) => `${name.replaceAll("_", " ")} ${measure(value)}`).join(", ")
    return [[text(e.stage.name), cell(`<span class="dim">${e.stage.kind}</span>`), number(e.event === "stage-finished" ? `${duration(e.seconds)}${continued.has(e.stage.key) ? ", begun by another build" : ""}` : `done before${e.build === undefined ? "" : ", by another build"}`), text(found)]]
  })))
}

function files(events: readonly Event[]): string {
  const exported = of(events, "exported")
  const gguf = exported.find((e) => e.file.endsWith(".gguf"))
  const hint = gguf === undefined ? "" : `<p>With llama.cpp: <code>llama-cli -m ${escape(pasted(gguf.file))} -no-cnv -p "…"</code></p>`
  return section("Files", `${table(null, exported.map((e) => [cell(`<code>${escape(e.file)}</code>`), number(bytes(e.bytes))]))}${hint}`)
}
