import type { Event, StageRef } from "./stages/events.ts"

/** One self-contained page about a run: curves, results, samples and every `expect`. Needs no network and runs no script. */
export function reportPage(recipe: string, events: readonly Event[]): string {
  const sections = [curves(events), expects(events), facts(events), samples(events), files(events)]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(recipe)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top } td.n { text-align: right; font-variant-numeric: tabular-nums }
.ok { color: #1a7f37 } .no { color: #cf222e } .dim { color: #777 } blockquote { margin: .4rem 0 1rem; white-space: pre-wrap; border-left: 3px solid #ddd; padding-left: .8rem }
svg { width: 100%; height: auto } @media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } blockquote { border-color: #444 } }
</style></head><body>
<h1>${escape(recipe)}</h1>
${sections.filter((s) => s !== "").join("\n")}
</body></html>
`
}

const colours = ["#0969da", "#cf222e", "#1a7f37", "#8250df", "#bf8700", "#d4537e"]

interface Series { readonly name: string; readonly colour: string; readonly dashed: boolean; readonly points: readonly (readonly [number, number])[] }

function curves(events: readonly Event[]): string {
  const progress = events.filter((e) => e.event === "progress")
  const stages = unique(progress.map((e) => e.stage))
  const series = stages.flatMap((stage, i): Series[] => {
    const own = progress.filter((e) => e.stage.key === stage.key)
    const colour = colours[i % colours.length] ?? "#888"
    const valid = own.flatMap((e): [number, number][] => (e.valid === null ? [] : [[e.step, e.valid]]))
    const train = { name: `${stage.name}, training`, colour, dashed: false, points: own.map((e): [number, number] => [e.step, e.loss]) }
    return valid.length === 0 ? [train] : [train, { name: `${stage.name}, validation`, colour, dashed: true, points: valid }]
  })
  return series.length === 0 ? "" : `<h2>Loss</h2>\n${chart(series)}`
}

const frame = { width: 900, height: 340, left: 46, right: 10, top: 10, bottom: 30 } as const

function chart(series: readonly Series[]): string {
  const all = series.flatMap((s) => s.points).filter(([, y]) => Number.isFinite(y))
  const last = Math.max(1, ...all.map(([x]) => x))
  const low = Math.min(...all.map(([, y]) => y))
  const high = Math.max(...all.map(([, y]) => y), low + 1e-6)
  const px = (x: number): number => frame.left + (x / last) * (frame.width - frame.left - frame.right)
  const py = (y: number): number => frame.top + ((high - y) / (high - low)) * (frame.height - frame.top - frame.bottom)
  const grid = [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4).map((y) =>
    `<line x1="${frame.left}" x2="${frame.width - frame.right}" y1="${py(y).toFixed(1)}" y2="${py(y).toFixed(1)}" stroke="#8884"/><text x="4" y="${(py(y) + 4).toFixed(1)}" font-size="12" fill="#888">${y.toFixed(2)}</text>`)
  const lines = series.map((s) => {
    const path = s.points.filter(([, y]) => Number.isFinite(y)).map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ")
    return `<polyline points="${path}" fill="none" stroke="${s.colour}" stroke-width="1.5"${s.dashed ? ' stroke-dasharray="5 3"' : ""}/>`
  })
  const legend = series.map((s) => `<span style="color:${s.colour}">${s.dashed ? "┄" : "─"} ${escape(s.name)}</span>`).join(" &nbsp; ")
  return `<svg viewBox="0 0 ${frame.width} ${frame.height}" role="img" aria-label="loss over steps">${grid.join("")}${lines.join("")}<text x="${frame.width - 70}" y="${frame.height - 8}" font-size="12" fill="#888">step ${last}</text></svg><p>${legend}</p>`
}

function expects(events: readonly Event[]): string {
  const rows = events.filter((e) => e.event === "expect").map((e) => {
    const values = e.left === null || e.right === null ? "" : `${e.left.toPrecision(5)} ${escape(e.operator)} ${e.right.toPrecision(5)}`
    return `<tr><td class="${e.holds ? "ok" : "no"}">${e.holds ? "holds" : "fails"}</td><td><code>${escape(e.text)}</code></td><td>${values}</td></tr>`
  })
  return rows.length === 0 ? "" : `<h2>Expectations</h2>\n<table>${rows.join("\n")}</table>`
}

function facts(events: readonly Event[]): string {
  const rows = events.flatMap((e) => {
    if (e.event !== "stage-finished" && e.event !== "stage-cached") return []
    const time = e.event === "stage-finished" ? `${e.seconds.toFixed(1)} s` : "done before"
    const found = Object.entries(e.facts).map(([name, value]) => `${name.replaceAll("_", " ")} ${Number.isInteger(value) ? value : value.toPrecision(5)}`).join(", ")
    return [`<tr><td>${escape(e.stage.name)}</td><td class="dim">${e.stage.kind}</td><td class="n">${time}</td><td>${escape(found)}</td></tr>`]
  })
  return rows.length === 0 ? "" : `<h2>Stages</h2>\n<table>${rows.join("\n")}</table>`
}

function samples(events: readonly Event[]): string {
  const rows = events.filter((e) => e.event === "sample").map((e) => {
    const who = e.at === null ? e.stage.name : `${e.stage.name} at ${Math.round(e.at * 100)}%`
    return `<div class="dim">${escape(who)}</div><blockquote><b>${escape(e.prompt)}</b>${escape(e.text)}</blockquote>`
  })
  return rows.length === 0 ? "" : `<h2>Samples</h2>\n${rows.join("\n")}`
}

function files(events: readonly Event[]): string {
  const exported = events.filter((e) => e.event === "exported")
  if (exported.length === 0) return ""
  const rows = exported.map((e) => `<tr><td><code>${escape(e.file)}</code></td><td class="n">${e.bytes} bytes</td></tr>`)
  const gguf = exported.find((e) => e.file.endsWith(".gguf"))
  const hint = gguf === undefined ? "" : `<p>With llama.cpp: <code>llama-cli -m ${escape(gguf.file)} -no-cnv -p "…"</code></p>`
  return `<h2>Files</h2>\n<table>${rows.join("\n")}</table>${hint}`
}

function unique(stages: readonly StageRef[]): StageRef[] {
  return [...new Map(stages.map((stage) => [stage.key, stage])).values()]
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}
