/**
 * The patterns of `rearrange`: `b t (h d) -> b h t d` (Rogozhnikov, 2022). Each side lists axes; an axis is a group of
 * factors, `1` and `()` are groups of none, `...` stands for all axes that are not named. Places are offsets into the text.
 */
export interface Factor { readonly name: string; readonly start: number; readonly end: number }
export interface Group { readonly factors: readonly Factor[]; readonly start: number; readonly end: number }
export interface Pattern { readonly left: readonly Group[]; readonly right: readonly Group[] }
/** What is wrong with a pattern, and where in its text. */
export interface PatternMistake { readonly message: string; readonly start: number; readonly end: number; readonly help?: string }

export const ellipsis = "..."

interface Token { readonly text: string; readonly start: number; readonly end: number }

export function parsePattern(text: string): Pattern | PatternMistake {
  const tokens = [...text.matchAll(/->|\.\.\.|[A-Za-z_]\w*|\d+|[()]|\S/g)].map((m): Token => ({ text: m[0], start: m.index, end: m.index + m[0].length }))
  const arrow = tokens.findIndex((t) => t.text === "->")
  if (arrow < 0) return { message: "the pattern has no `->`", start: 0, end: text.length, help: "write the axes before and after: `b t (h d) -> b h t d`" }
  const left = groupsOf(tokens.slice(0, arrow), text.length)
  if (!Array.isArray(left)) return left
  const right = groupsOf(tokens.slice(arrow + 1), text.length)
  if (!Array.isArray(right)) return right
  const pattern = { left, right }
  return namesMistake(pattern) ?? pattern
}

export function isMistake(x: Pattern | PatternMistake): x is PatternMistake {
  return "message" in x
}

function groupsOf(tokens: readonly Token[], end: number): Group[] | PatternMistake {
  const groups: Group[] = []
  let open: { start: number; factors: Factor[] } | null = null
  for (const t of tokens) {
    if (t.text === "(") {
      if (open) return { message: "parentheses inside parentheses", start: t.start, end: t.end, help: "an axis is one group of factors" }
      open = { start: t.start, factors: [] }
    } else if (t.text === ")") {
      if (!open) return { message: "this `)` closes nothing", start: t.start, end: t.end }
      groups.push({ factors: open.factors, start: open.start, end: t.end })
      open = null
    } else {
      const mistake = tokenMistake(t, open !== null)
      if (mistake) return mistake
      const factor = { name: t.text, start: t.start, end: t.end }
      if (open) { if (t.text !== "1") open.factors.push(factor) }
      else groups.push({ factors: t.text === "1" ? [] : [factor], start: t.start, end: t.end })
    }
  }
  return open ? { message: "this `(` is not closed", start: open.start, end: Math.min(end, open.start + 1) } : groups
}

function tokenMistake(t: Token, inside: boolean): PatternMistake | null {
  if (/^\d+$/.test(t.text) && t.text !== "1") {
    return { message: "a size cannot stand in the pattern", start: t.start, end: t.end, help: "name the axis and give its size as an argument: `h: 4`" }
  }
  if (t.text === ellipsis && inside) return { message: "`...` stands for whole axes and cannot be a factor", start: t.start, end: t.end }
  if (t.text === "->") return { message: "a second `->`", start: t.start, end: t.end }
  if (!/^(\w+|\.\.\.)$/.test(t.text)) return { message: `\`${t.text}\` means nothing in a pattern`, start: t.start, end: t.end }
  return null
}

/** Every name stands once on each side, and on both. */
function namesMistake(pattern: Pattern): PatternMistake | null {
  const sides = [factorsOf(pattern.left), factorsOf(pattern.right)] as const
  for (const side of sides) {
    const seen = new Set<string>()
    for (const f of side) {
      if (seen.has(f.name)) return { message: `\`${f.name}\` occurs twice on one side`, start: f.start, end: f.end }
      seen.add(f.name)
    }
  }
  for (const [from, to, side] of [[sides[0], sides[1], "right"], [sides[1], sides[0], "left"]] as const) {
    const names = new Set(to.map((f) => f.name))
    const lost = from.find((f) => !names.has(f.name))
    const help = "rearrange neither sums nor repeats: use `sum` or `mean` to drop an axis"
    if (lost) return { message: `\`${lost.name}\` is missing on the ${side}`, start: lost.start, end: lost.end, help }
  }
  return null
}

export function factorsOf(groups: readonly Group[]): readonly Factor[] {
  return groups.flatMap((g) => g.factors)
}

/** The pattern with `...` replaced by as many axes as `rank` leaves to it; null where the rank does not fit. */
export function withRank(pattern: Pattern, rank: number): Pattern | null {
  const named = pattern.left.filter((g) => g.factors[0]?.name !== ellipsis).length
  const missing = rank - named
  if (named === pattern.left.length) return missing === 0 ? pattern : null
  if (missing < 0) return null
  const expand = (groups: readonly Group[]): Group[] => groups.flatMap((g) => g.factors[0]?.name !== ellipsis ? [g]
    : Array.from({ length: missing }, (_, i) => ({ ...g, factors: [{ name: `...${i}`, start: g.start, end: g.end }] })))
  return { left: expand(pattern.left), right: expand(pattern.right) }
}
