/** Curves as SVG: readable in light and dark, in print, and without colour. */

export interface Series {
  readonly name: string
  /** Series of one colour belong together; which one is told by the dashes. */
  readonly group: number
  readonly dashed: boolean
  readonly points: readonly (readonly [x: number, y: number])[]
}

// Okabe and Ito (2008): told apart with any colour vision.
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"] as const
const frame = { width: 920, height: 380, left: 52, right: 14, top: 14, bottom: 44 } as const

export function colourOf(group: number): string {
  return colours[group % colours.length] ?? colours[0]
}

/** Round numbers that cover the range, about `wanted` of them. */
export function ticks(low: number, high: number, wanted: number): readonly number[] {
  const rough = (high - low) / wanted
  if (!(rough > 0) || !Number.isFinite(rough)) return [low]
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough
  const first = Math.ceil(low / step - 1e-9)
  return Array.from({ length: Math.max(1, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => (first + i) * step)
}

/** A chart with its legend; "" where there is nothing to draw. */
export function chart(series: readonly Series[], label: { readonly x: string; readonly y: string }): string {
  const drawn = series.map((s) => ({ ...s, points: s.points.filter(([, y]) => Number.isFinite(y)) })).filter((s) => s.points.length > 0)
  const all = drawn.flatMap((s) => s.points)
  if (all.length === 0) return ""
  const last = Math.max(1, ...all.map(([x]) => x))
  const [low, high] = range(all.map(([, y]) => y))
  const px = (x: number): string => (frame.left + (x / last) * (frame.width - frame.left - frame.right)).toFixed(1)
  const py = (y: number): string => (frame.top + ((high - y) / (high - low)) * (frame.height - frame.top - frame.bottom)).toFixed(1)
  const rows = ticks(low, high, 6).map((y) => `<line class="grid" x1="${frame.left}" x2="${frame.width - frame.right}" y1="${py(y)}" y2="${py(y)}"/><text x="${frame.left - 8}" y="${Number(py(y)) + 4}" text-anchor="end">${tickText(y)}</text>`)
  const bottom = frame.height - frame.bottom
  const cols = ticks(0, last, 8).map((x) => `<line class="grid" x1="${px(x)}" x2="${px(x)}" y1="${bottom}" y2="${bottom + 5}"/><text x="${px(x)}" y="${bottom + 18}" text-anchor="middle">${tickText(x)}</text>`)
  const lines = drawn.map((s) => `<g stroke="${colourOf(s.group)}" fill="${colourOf(s.group)}">${line(s, px, py)}</g>`)
  const axis = `<text x="${frame.width - frame.right}" y="${frame.height - 6}" text-anchor="end">${label.x}</text>`
  return `<svg viewBox="0 0 ${frame.width} ${frame.height}" role="img" aria-label="${label.y} over ${label.x}">${rows.join("")}${cols.join("")}${axis}${lines.join("")}</svg>\n<p class="legend">${drawn.map(legend).join("")}</p>`
}

/** A few points of validation are marked; one point alone would be no line. */
function line({ points, dashed }: Series, px: (x: number) => string, py: (y: number) => string): string {
  const path = points.map(([x, y]) => `${px(x)},${py(y)}`).join(" ")
  const marks = dashed && points.length <= 60 ? points.map(([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="2.5" stroke="none"/>`).join("") : ""
  return `<polyline points="${path}" fill="none" stroke-width="${dashed ? 2 : 1.5}" stroke-linejoin="round"${dashed ? ' stroke-dasharray="6 4"' : ' opacity="0.85"'}/>${marks}`
}

function legend({ name, group, dashed }: Series): string {
  const stroke = `stroke="${colourOf(group)}" stroke-width="2"${dashed ? ' stroke-dasharray="6 4"' : ""}`
  return `<span><svg viewBox="0 0 30 10" width="30" height="10"><line x1="0" x2="30" y1="5" y2="5" ${stroke}/></svg> ${escape(name)}</span>`
}

/** From a little below the least to a little above the greatest; a flat line lies in the middle. */
function range(values: readonly number[]): readonly [number, number] {
  const low = values.reduce((a, b) => Math.min(a, b))
  const high = values.reduce((a, b) => Math.max(a, b))
  const margin = high > low ? (high - low) * 0.04 : Math.max(Math.abs(high) * 0.1, 0.1)
  return [low - margin, high + margin]
}

function tickText(value: number): string {
  return String(Number(value.toPrecision(4)))
}

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[\u202a-\u202e\u2066-\u2069]/g, "·")
}
