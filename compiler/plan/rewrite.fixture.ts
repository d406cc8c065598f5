/** For tests: ways to write a recipe otherwise without meaning something else. Each takes a text and numbers in [0, 1). */
import { parse } from "../../grammar/parse.ts"
import type { Item, Module } from "../../grammar/ast.ts"

export type Random = () => number
export type Rewrite = (text: string, random: Random) => string

interface Edit { readonly start: number; readonly end: number; readonly text: string }
interface Place { readonly start: number; readonly end: number }
type Tree = Readonly<Record<string, unknown>>

function moduleOf(text: string): Module {
  const { module, diagnostics } = parse({ id: "rewritten.slm", text })
  const wrong = diagnostics.filter((d) => d.severity === "error")
  if (wrong.length > 0) throw new Error(`the rewritten recipe does not parse: ${wrong[0]?.message}\n${text}`)
  return module
}

function apply(text: string, edits: readonly Edit[]): string {
  return [...edits].sort((a, b) => b.start - a.start).reduce((done, { start, end, text: by }) => done.slice(0, start) + by + done.slice(end), text)
}

/** Every node of a tree, parents first. */
function nodesOf(root: unknown): readonly Tree[] {
  const found: Tree[] = []
  const open: unknown[] = [root]
  for (let next = open.pop(); open.length > 0 || next !== undefined; next = open.pop()) {
    if (Array.isArray(next)) open.push(...[...next].reverse())
    else if (typeof next === "object" && next !== null) {
      found.push(next as Tree)
      open.push(...Object.values(next).reverse())
    }
  }
  return found
}

const ident = (value: unknown): { readonly name: string; readonly span: Place } | null => (typeof value === "object" && value !== null && "name" in value && typeof value.name === "string" && "span" in value ? (value as { name: string; span: Place }) : null)

/** Names that a recipe gives to its own things, at top level and inside of functions; not parameters and members, which are seen from outside. */
function binders(module: Module): readonly { readonly name: string; readonly span: Place }[] {
  const top = module.items.flatMap((item: Item) => (item.kind === "use" || item.kind === "example" || !("name" in item) ? [] : [item.name]))
  const local = nodesOf(module).flatMap((node) => {
    const lists: readonly unknown[] = node["kind"] === "lambda" ? (node["params"] as readonly unknown[])
      : node["kind"] === "block" ? (node["lets"] as readonly Tree[]).map((one) => one["name"])
      : node["kind"] === "comprehension" || node["kind"] === "repeat" ? [node["variable"]] : []
    return lists.flatMap((one) => ident(one) ?? [])
  })
  return [...top, ...local]
}

/** Parameters, members and states: a name that one of them has is left alone everywhere. */
function outward(module: Module): ReadonlySet<string> {
  return new Set(nodesOf(module).flatMap((node) => ["params", "members", "states"].flatMap((list) => (node["kind"] === "lambda" || !Array.isArray(node[list]) ? [] : (node[list] as readonly Tree[]).flatMap((one) => ident(one["name"])?.name ?? []))))
    .concat(nodesOf(module).flatMap((node) => (node["kind"] === "use" ? (node["names"] as readonly Tree[]).flatMap((one) => ident(one["name"])?.name ?? []) : []))))
}

export const rename: Rewrite = (text, random) => {
  const module = moduleOf(text)
  const fixed = outward(module)
  const chosen = new Map([...new Set(binders(module).map(({ name }) => name))].filter((name) => !fixed.has(name) && random() < 0.7).map((name) => [name, `${name.replace(/_r\d+$/, "")}_r${Math.floor(random() * 1000)}`]))
  const used = nodesOf(module).flatMap((node) => (node["kind"] === "name" ? [{ name: String(node["name"]), span: node["span"] as Place }] : []))
  const examples = module.items.flatMap((item) => (item.kind === "example" ? [item.name] : []))
  return apply(text, [...binders(module), ...used, ...examples].flatMap(({ name, span }) => (chosen.has(name) ? [{ start: span.start, end: span.end, text: chosen.get(name) ?? name }] : [])))
}

/** Fields and named arguments that stand beside each other, in another order. Only lists that hold no other list are touched at a time. */
export const reorder: Rewrite = (text, random) => {
  const lists = nodesOf(moduleOf(text)).flatMap((node) => ["fields", "args"].flatMap((key) => {
    const entries = Array.isArray(node[key]) && node["kind"] !== "format" ? (node[key] as readonly Tree[]).filter((entry) => ident(entry["name"]) !== null && "value" in entry) : []
    return entries.length > 1 ? [entries.map((entry) => entry["span"] as Place)] : []
  }))
  const inner = lists.filter((list) => !lists.some((other) => other !== list && list.some((entry) => other.every((one) => one.start >= entry.start && one.end <= entry.end))))
  const outer = lists.filter((list) => !lists.some((other) => other !== list && other.some((entry) => list.every((one) => one.start >= entry.start && one.end <= entry.end))))
  return apply(text, (random() < 0.5 ? inner : outer).flatMap((list) => {
    const shuffled = shuffle(list, random)
    return list.map((place, i): Edit => ({ ...place, text: text.slice(shuffled[i]?.start, shuffled[i]?.end) }))
  }))
}

/** Comments, blank lines and blanks wherever they may stand. */
export const lay: Rewrite = (text, random) => {
  const module = moduleOf(text)
  const between = module.items.map((item): Edit => ({ start: item.span.start, end: item.span.start, text: random() < 0.5 ? `\n// a remark ${Math.floor(random() * 100)}\n\n` : "" }))
  const entries = nodesOf(module).flatMap((node) => (Array.isArray(node["args"]) ? (node["args"] as readonly Tree[]).map((entry) => entry["span"] as Place) : []))
  const blanks = entries.map(({ start }): Edit => ({ start, end: start, text: ["", "  ", "\n    ", "\n // here\n  "][Math.floor(random() * 4)] ?? "" }))
  return apply(text, [...between, ...blanks])
}

/** Items in another order: names do not depend on it. */
export const move: Rewrite = (text, random) => {
  const { items } = moduleOf(text)
  return `${shuffle(items, random).map(({ span }) => text.slice(span.start, span.end)).join("\n\n")}\n`
}

export function shuffle<T>(list: readonly T[], random: Random): readonly T[] {
  return list.map((item) => [random(), item] as const).sort(([a], [b]) => a - b).map(([, item]) => item)
}
