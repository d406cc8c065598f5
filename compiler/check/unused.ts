/**
 * What is named and never used: nothing that someone wrote is ignored in silence. Said only where nothing else is wrong:
 * what seems unused may be what a mistake elsewhere was about.
 */
import type { Definition, Ident, Item, Parameter } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Stage } from "../plan/stage.ts"
import { artifactKind } from "./describe.ts"
import type { Machine } from "./machine.ts"
import type { LoadedModule, Session } from "./session.ts"
import { allowsUnused } from "./training.ts"
import type { Value } from "./value.ts"

export function reportUnused(module: LoadedModule, m: Machine): void {
  if (hasErrors(m.session)) return
  const used = names(module.module.items)
  const recipe = module.id === m.session.entry && module.module.items.some((item) => item.kind === "expect" || item.kind === "export" || (item.kind === "bind" && item.form === "artifact"))
  for (const item of module.module.items) {
    if (item.kind === "use") for (const n of item.names) reportIf(!used.has((n.as ?? n.name).name), n.as ?? n.name, "SLM2009", "is imported and never used", m)
    if (recipe && (item.kind === "param" || (item.kind === "bind" && item.form !== "artifact"))) {
      reportIf(!used.has(item.name.name), item.name, "SLM2010", item.kind === "param" ? "can be set, and nothing depends on it" : "is never used", m)
    }
    reportInside(item, m)
  }
}

function reportIf(unused: boolean, name: Ident, code: string, problem: string, m: Machine): void {
  if (unused && !name.name.startsWith("_") && name.name !== "") m.report(diagnostic(code, name.span, `\`${name.name}\` ${problem}`, { help: code === "SLM2009" ? "take it out of the `use`" : "take it out, or use it" }))
}

function reportInside(item: Item, m: Machine): void {
  switch (item.kind) {
    case "fn": if (item.body !== null) reportParams(item.params, [item.params, item.body], m); break
    case "definition": reportMembers(item, m); break
    case "optimizer": reportParams(item.params, [item.params, item.requires, item.states, item.update], m); break
    case "curriculum": reportParams(item.params, [item.params, item.fields, item.stages], m); break
    case "encoding": reportParams(item.params, [item.params, item.requires, item.fields, item.encode, item.decode], m); break
    default: break
  }
  reportLets(item, m)
}

function reportParams(params: readonly Parameter[], region: readonly unknown[], m: Machine): void {
  const used = names(region)
  for (const p of params) reportIf(!used.has(p.name.name), p.name, "SLM2010", "has no effect: nothing depends on it", m)
}

/** Parameters, parts, weights and lets of a layer. A part that `forward` does not use has weights that never learn. */
function reportMembers(code: Definition, m: Machine): void {
  reportParams(code.params, [code.params, code.members], m)
  const used = names(code.members)
  for (const member of code.members) {
    if (member.kind === "require" || member.kind === "forward") continue
    const problem = member.kind === "let" ? "is never used" : "is never used: its weights would not learn"
    reportIf(!used.has(member.name.name) && member.name.name !== "keeps_zeros", member.name, "SLM2010", problem, m)
  }
}

/** Lets of blocks, anywhere inside. */
function reportLets(node: unknown, m: Machine): void {
  if (node === null || typeof node !== "object") return
  if ("kind" in node && node.kind === "block" && "lets" in node && "result" in node && Array.isArray(node.lets)) {
    const lets = node.lets as readonly { readonly name: Ident; readonly value: unknown }[]
    lets.forEach((l, i) => { reportIf(!names([lets.slice(i + 1).map((o) => o.value), node.result]).has(l.name.name), l.name, "SLM2010", "is never used", m) })
  }
  for (const child of Object.values(node)) if (typeof child === "object") reportLets(child, m)
}

/** Every name that occurs in an expression, a verb of a stage, the model of a format. */
function names(node: unknown, found: Set<string> = new Set()): ReadonlySet<string> {
  if (node === null || typeof node !== "object") return found
  if (Array.isArray(node)) {
    for (const child of node) names(child, found)
    return found
  }
  const n = node as Readonly<Record<string, unknown>>
  if (n["kind"] === "name" && typeof n["name"] === "string") found.add(n["name"])
  if (n["kind"] === "stage" && typeof n["verb"] === "string") found.add(n["verb"])
  if (n["kind"] === "format") names({ kind: "name", name: (n["model"] as Ident).name }, found)
  for (const [key, child] of Object.entries(n)) if (key !== "span" && typeof child === "object") names(child, found)
  return found
}

/** Data, tokenizers and difficulties that no stage reads. */
export function reportUnusedData(bindings: ReadonlyMap<string, Value>, stages: readonly Stage[], session: Session, m: Machine): void {
  if (hasErrors(session)) return
  const used = new Set([...session.read, ...stages.flatMap((s) => s.inputs.map((i) => i.key))])
  for (const stage of stages) reportUnusedParts(stage, used, session, m)
  for (const [name, value] of bindings) {
    if (value.kind !== "artifact" || used.has(value.stage.key) || !["rows", "tokens", "tokenizer", "difficulty", "notes"].includes(value.type.is)) continue
    m.report(diagnostic("SLM2011", value.stage.span, `nothing reads \`${name}\``, { label: artifactKind(value.type), help: "use it, or take it out" }))
  }
}

/** Parts that a split sets aside and nobody asks for: rows that would be lost to training in silence. */
function reportUnusedParts(stage: Stage, used: ReadonlySet<string>, session: Session, m: Machine): void {
  if (stage.kind !== "split" || stage.type.is !== "rows" || !used.has(stage.key) || allowsUnused(stage.args)) return
  for (const part of stage.type.parts ?? []) {
    const share = stage.args.get(part)
    if (part === "train" || share?.kind !== "float" || session.partsRead.has(`${stage.key}.${part}`)) continue
    const written = share.origin !== null && !share.origin.source.startsWith("std.")
    m.report(diagnostic("SLM2011", written ? share.origin : stage.span, `nothing reads the part \`${part}\` of \`${stage.name.split("/")[0] ?? ""}\``, {
      label: `${share.value === null ? "a share" : `${Number((100 * share.value).toFixed(4))}%`} of the rows${written ? "" : ", where nothing else is said"}`,
      help: part === "valid" ? "`valid: tokens.valid` in a `train` measures it; `split(valid: 0%)` sets nothing aside" : "it is for the last `evaluate` and `expect`; `unused: allow` in `split` says that it is meant",
    }))
  }
}

function hasErrors(session: Session): boolean {
  return session.diagnostics.some((d) => d.severity === "error" && d.code !== "SLM2009" && d.code !== "SLM2010")
}
