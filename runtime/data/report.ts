/** What `slm data` shows: counts, drops with reasons, lengths, and examples as the model sees them. */
import { documentCount, type TokenSet } from "./encode.ts"
import type { PackedRows, PackStats } from "./pack.ts"
import type { StepReport } from "./steps.ts"
import type { Tokenizer } from "./tokenizer.ts"

/** One data set, plain enough for JSON. */
export interface DataReport {
  readonly name: string
  readonly steps: readonly StepReport[]
  readonly parts: readonly PartReport[]
  /** An input is private: counts are all there is. */
  readonly private?: true
}

/** One part (train, valid, test) after encoding. */
export interface PartReport {
  readonly name: string
  readonly documents: number
  readonly tokens: number
  readonly bytes: number
  readonly bytesPerToken: number
  readonly unknown: number
  readonly unknownRate: number
  readonly empty: number
  readonly missingSpecial: readonly string[]
  readonly classes: readonly { readonly name: string; readonly count: number }[]
  readonly lengths: Histogram
  /** Predictions per row; null before packing. */
  readonly length: number | null
  readonly packing: PackStats | null
  readonly examples: readonly Example[]
}

/** Lengths of documents in tokens, in bins that double. */
export interface Histogram {
  readonly shortest: number
  readonly median: number
  readonly longest: number
  readonly bins: readonly { readonly from: number; readonly to: number; readonly count: number }[]
}

/** A packed row: its documents, each in runs of tokens that are targets or only read. */
export interface Example {
  readonly row: number
  readonly targets: number
  readonly padding: number
  readonly class: string | null
  readonly documents: readonly (readonly Run[])[]
}
export interface Run { readonly text: string; readonly target: boolean }

export function reportTokens(name: string, set: TokenSet): PartReport {
  const { stats } = set
  return {
    name, documents: documentCount(set), tokens: stats.tokens, bytes: stats.bytes, bytesPerToken: stats.tokens === 0 ? 0 : stats.bytes / stats.tokens,
    unknown: stats.unknown, unknownRate: stats.tokens === 0 ? 0 : stats.unknown / stats.tokens, empty: stats.empty, missingSpecial: stats.missingSpecial,
    classes: (set.classes ?? []).map((label, i) => ({ name: label, count: set.labels?.reduce((n, l) => n + (l === i ? 1 : 0), 0) ?? 0 })),
    lengths: histogram(set), length: null, packing: null, examples: [],
  }
}

/** With the packing and examples from the beginning, the middle and the end. */
export function reportPacked(name: string, packed: PackedRows, tokenizer: Tokenizer): PartReport {
  const rows = [...new Set([0, Math.floor(packed.rows / 2), packed.rows - 1])].filter((row) => row >= 0)
  return { ...reportTokens(name, packed.set), length: packed.length, packing: packed.stats, examples: rows.map((row) => exampleOf(packed, row, tokenizer)) }
}

/** Counts and lengths alone: no text, no reason that quotes one, no name of a class. */
export function withoutRows({ name, steps, parts }: DataReport): DataReport {
  return {
    name, private: true, steps: steps.map((step) => ({ ...step, notes: [], drops: step.drops.map((drop) => ({ ...drop, samples: [] })) })),
    parts: parts.map((part) => ({ ...part, examples: [], classes: part.classes.map((one, i) => ({ ...one, name: `class ${i + 1}` })) })),
  }
}

export function exampleOf(packed: PackedRows, row: number, tokenizer: Tokenizer): Example {
  const { tokens, segments, counts } = packed.get(row)
  const documents: Run[][] = []
  let targets = 0
  let padding = 0
  for (let start = 0; start < tokens.length; ) {
    const segment = segments[start] ?? -1
    const target = counts[start] === 1
    let end = start + 1
    while (end < tokens.length && segments[end] === segment && (counts[end] === 1) === target) end++
    if (segment < 0) padding += end - start
    else {
      if (segment === documents.length) documents.push([])
      documents.at(-1)?.push({ text: tokenizer.decode(tokens.subarray(start, end)), target })
      if (target) targets += end - start
    }
    start = end
  }
  const label = packed.label(row)
  return { row, targets, padding, class: label < 0 ? null : (packed.set.classes?.[label] ?? null), documents }
}

function histogram(set: TokenSet): Histogram {
  const lengths = Array.from({ length: documentCount(set) }, (_, d) => (set.offsets[d + 1] ?? 0) - (set.offsets[d] ?? 0) - 1).sort((a, b) => a - b)
  const longest = lengths.at(-1) ?? 0
  const bins: { from: number; to: number; count: number }[] = []
  for (let from = 1, i = 0; from <= longest; from *= 2) {
    const to = 2 * from - 1
    let count = 0
    while (i < lengths.length && (lengths[i] ?? 0) <= to) { count++; i++ }
    if (count > 0 || bins.length > 0) bins.push({ from, to, count })
  }
  return { shortest: lengths[0] ?? 0, median: lengths[Math.floor(lengths.length / 2)] ?? 0, longest, bins }
}

// ---------------------------------------------------------------- as text

export interface RenderOptions {
  readonly color?: boolean
  /** Columns of the terminal. */
  readonly width?: number
  /** Lines shown of each document of an example. */
  readonly lines?: number
}

export function renderReport(report: DataReport, options: RenderOptions = {}): string {
  const paint = painter(options.color === true)
  const out: string[] = [paint.strong(report.name)]
  for (const step of report.steps) out.push(...stepLines(step, paint, options))
  for (const part of report.parts) out.push("", ...partLines(part, paint, options))
  if (report.private === true) out.push(paint.faint("  rows are not shown: an input is private"))
  return out.join("\n") + "\n"
}

interface Paint { strong(text: string): string; faint(text: string): string; masked(text: string): string; readonly color: boolean }

function painter(color: boolean): Paint {
  const wrap = (code: number) => (text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text)
  return { color, strong: wrap(1), faint: wrap(2), masked: (text) => (color ? `\u001b[2m${text}\u001b[0m` : `‹${text}›`) }
}

function stepLines(step: StepReport, paint: Paint, options: RenderOptions): string[] {
  const lines = [`  ${step.step.padEnd(24)} ${count(step.before).padStart(10)} -> ${count(step.after)}`]
  for (const drop of step.drops) {
    lines.push(`    dropped ${count(drop.count)}: ${drop.reason}`)
    for (const sample of drop.samples) lines.push(paint.faint(clip(`      ${sample.place}  ${sample.text.trim() === "" ? "(empty)" : printable(sample.text)}`, options.width ?? 100)))
  }
  for (const { what, count: n } of step.counts ?? []) if (n > 0) lines.push(`    ${count(n)} ${what}`)
  for (const note of step.notes) lines.push(paint.faint(`    ${printable(note)}`))
  return lines
}

function partLines(part: PartReport, paint: Paint, options: RenderOptions): string[] {
  const lines = [`${paint.strong(part.name)}: ${several(part.documents, "document")}, ${several(part.tokens, "token")}, ${part.bytesPerToken.toFixed(2)} bytes per token`]
  lines.push(`  unknown tokens: ${part.unknown === 0 ? "none" : `${count(part.unknown)} (${percent(part.unknownRate)})`}`)
  if (part.empty > 0) lines.push(`  rows without text: ${count(part.empty)}`)
  if (part.missingSpecial.length > 0) lines.push(`  the tokenizer does not have ${part.missingSpecial.join(", ")}: they are encoded as plain text`)
  if (part.classes.length > 0) lines.push(`  classes: ${part.classes.map((c) => `${printable(c.name)} ${count(c.count)}`).join(", ")}`)
  lines.push(...histogramLines(part.lengths, options.width ?? 100))
  if (part.packing !== null) lines.push(...packingLines(part.packing, part.length ?? 0))
  if (part.examples.length > 0) lines.push(`  as the model sees it (${paint.color ? "faint" : "in ‹ ›"}: read, but not learned):`)
  for (const example of part.examples) lines.push(...exampleLines(example, paint, options))
  return lines
}

function histogramLines(histogram: Histogram, width: number): string[] {
  const most = Math.max(1, ...histogram.bins.map((bin) => bin.count))
  const room = Math.max(10, Math.min(40, width - 36))
  const range = (bin: { readonly from: number; readonly to: number }) => `${count(bin.from)}${bin.to > bin.from ? `–${count(bin.to)}` : ""}`
  return [
    `  document length in tokens: ${count(histogram.shortest)} to ${count(histogram.longest)}, median ${count(histogram.median)}`,
    ...histogram.bins.map((bin) => `    ${range(bin).padStart(15)} ${bar((bin.count / most) * room)} ${count(bin.count)}`),
  ]
}

function bar(length: number): string {
  const eighths = Math.max(length > 0 ? 1 : 0, Math.round(length * 8))
  return "█".repeat(Math.floor(eighths / 8)) + (["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8] ?? "")
}

function packingLines(stats: PackStats, length: number): string[] {
  const lines = [`  ${several(stats.rows, "row")} of ${several(length, "prediction")}, ${several(stats.targets, "target")}, ${several(stats.padding, "place")} of padding`]
  if (stats.cutDocuments > 0) lines.push(`  ${several(stats.cutDocuments, "document continues", "documents continue")} in another row`)
  if (stats.truncatedDocuments > 0) lines.push(`  ${several(stats.truncatedDocuments, "document is", "documents are")} longer than a row: ${several(stats.truncatedTokens, "token")} lost`)
  if (stats.withoutTargets > 0) lines.push(`  ${several(stats.withoutTargets, "row has", "rows have")} no target`)
  return lines
}

function exampleLines(example: Example, paint: Paint, options: RenderOptions): string[] {
  const width = (options.width ?? 100) - 6
  const head = [`row ${count(example.row)}`, several(example.targets, "target")]
  if (example.class !== null) head.push(`class ${printable(example.class)}`)
  const lines = [paint.faint(`    ${head.join(", ")}`)]
  for (const runs of example.documents) {
    const wrapped = wrap(runs, width, paint)
    const most = options.lines ?? 6
    for (const line of wrapped.slice(0, most)) lines.push(`    │ ${line}`)
    if (wrapped.length > most) lines.push(paint.faint(`    │ … ${several(wrapped.length - most, "more line")}`))
    lines.push("    ┴")
  }
  if (example.padding > 0) lines.push(paint.faint(`      ${several(example.padding, "place")} of padding`))
  return lines
}

/** Breaks runs into lines of `width` characters; a run that goes on is marked again on the next line. */
function wrap(runs: readonly Run[], width: number, paint: Paint): string[] {
  const lines: string[] = []
  let line = ""
  let used = 0
  for (const run of runs) {
    const mark = run.target ? (text: string) => text : paint.masked
    const points = Array.from(printable(run.text))
    for (let start = 0; start < points.length; ) {
      const part = points.slice(start, start + width - used)
      line += mark(part.join(""))
      used += part.length
      start += part.length
      if (used < width) continue
      lines.push(line)
      line = ""
      used = 0
    }
  }
  if (line !== "") lines.push(line)
  return lines
}

/** Text of unknown origin for a terminal: line ends are shown, other controls cannot act. */
function printable(text: string): string {
  return text.replace(/\n/g, "⏎").replace(/\t/g, "→").replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "·")
}

function clip(text: string, width: number): string {
  const points = Array.from(text)
  return points.length > width ? `${points.slice(0, width - 1).join("")}…` : text
}

/** `1 row`, `2,000 rows`. */
function several(n: number, one: string, more = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : more}`
}

function count(n: number): string {
  return n.toLocaleString("en-US")
}

function percent(share: number): string {
  return `${(100 * share).toPrecision(2)}%`
}
