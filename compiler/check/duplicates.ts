/** Names that are bound twice in one scope inside of a definition or block. Those of a module are found when it is loaded. */
import type { Ident } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { Machine } from "./machine.ts"
import type { LoadedModule } from "./session.ts"

type Node = Readonly<Record<string, unknown>>

export function reportDuplicates(module: LoadedModule, m: Machine): void {
  visit(module.module.items, m)
}

function visit(value: unknown, m: Machine): void {
  if (value === null || typeof value !== "object") return
  if (Array.isArray(value)) {
    for (const item of value) visit(item, m)
    return
  }
  const node = value as Node
  reportScope(boundBy(node), m)
  for (const [key, child] of Object.entries(node)) if (key !== "span" && typeof child === "object") visit(child, m)
}

/** What a node binds in one scope. */
function boundBy(node: Node): readonly Ident[] {
  const named = (key: string): readonly Ident[] => ((node[key] as readonly Node[] | undefined) ?? []).flatMap((entry) => (isIdent(entry["name"]) ? [entry["name"]] : []))
  switch (node["kind"]) {
    case "fn": case "encoding": return named("params")
    case "lambda": return node["params"] as readonly Ident[]
    case "forward": return named("params")
    case "block": return named("lets")
    case "definition": return [...named("params"), ...named("members"), ...forwards(node)]
    case "optimizer": return [...named("params"), ...named("states")]
    case "curriculum": return [...named("params"), ...named("stages")]
    case "format": return named("blocks")
    default: return []
  }
}

/** A layer computes one thing. */
function forwards(node: Node): readonly Ident[] {
  return (node["members"] as readonly Node[]).flatMap((member) => {
    if (member["kind"] !== "forward") return []
    const span = member["span"] as Span
    return [{ name: "forward", span: { ...span, end: span.start + "forward".length } }]
  })
}

function isIdent(value: unknown): value is Ident {
  return typeof value === "object" && value !== null && "name" in value && typeof value.name === "string" && "span" in value
}

function reportScope(names: readonly Ident[], m: Machine): void {
  const seen = new Map<string, Ident>()
  for (const ident of names) {
    const before = seen.get(ident.name)
    seen.set(ident.name, before ?? ident)
    if (before === undefined || ident.name === "" || ident.name === "_") continue
    m.report(diagnostic("SLM2002", ident.span, `\`${ident.name}\` is already the name of something`, { labels: [{ span: before.span, message: "it is named here" }] }))
  }
}
