/** Names: local ones in immutable scopes, then those of the module, then those of the prelude. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import { evaluateItem } from "./items.ts"
import type { Machine } from "./machine.ts"
import { error } from "./make.ts"
import { libraryModule, libraryModules } from "./modules.ts"
import type { Entry, LoadedModule, Session } from "./session.ts"
import { didYouMean, listed } from "./suggest.ts"
import type { Scope, Value } from "./value.ts"

export const prelude = "std.prelude"

export function moduleScope(module: string): Scope {
  return { names: new Map(), outer: null, module }
}

export function inner(outer: Scope, names: ReadonlyMap<string, Value> | readonly (readonly [string, Value])[]): Scope {
  return { names: names instanceof Map ? names : new Map(names as readonly (readonly [string, Value])[]), outer, module: outer.module }
}

/** The value of a name among the local scopes, or null. */
export function lookupLocal(name: string, scope: Scope): Value | null {
  for (let s: Scope | null = scope; s !== null; s = s.outer) {
    const value = s.names.get(name)
    if (value !== undefined) return value
  }
  return null
}

/** The value of a name, or null where nothing has it. */
export function lookup(name: string, scope: Scope, m: Machine): Value | null {
  const local = lookupLocal(name, scope)
  if (local !== null) return local
  const entry = entryOf(name, scope.module, m.session)
  return entry === null ? null : force(entry.entry, entry.module, m)
}

export function entryOf(name: string, module: string, session: Session): { readonly entry: Entry; readonly module: LoadedModule } | null {
  for (const id of [module, prelude]) {
    const loaded = session.modules.get(id)
    const entry = loaded?.entries.get(name)
    if (loaded !== undefined && entry !== undefined) return { entry, module: loaded }
  }
  return null
}

/** Evaluates a name of a module, once. What it means does not depend on where it is used. */
export function force(entry: Entry, module: LoadedModule, m: Machine): Value {
  if (entry.state === "done") return entry.value ?? error
  if (entry.state === "evaluating") {
    return m.report(diagnostic("SLM2007", entry.span, `\`${entry.name}\` is defined by itself`, { label: "its value depends on its own value" }))
  }
  entry.state = "evaluating"
  const outer = m.session.binding
  const value = entry.from === null ? evaluateItem(entry, module, m) : imported(entry, m)
  m.session.binding = outer
  entry.state = "done"
  entry.value = value
  return value
}

function imported(entry: Entry, m: Machine): Value {
  const from = entry.from
  const target = from === null ? null : libraryModule(from.module, m) ?? m.session.modules.get(from.module) ?? null
  if (from === null || target === null) return error // reported when the module was looked for
  const found = target.entries.get(from.name)
  if (found !== undefined && found.from === null) return force(found, target, m)
  const own = [...target.entries.values()].filter((e) => e.from === null).map((e) => e.name)
  const help = didYouMean(from.name, own) ?? (own.length <= 12 ? `it has ${listed(own)}` : undefined)
  return m.report(diagnostic("SLM2005", entry.span, `\`${from.module}\` has no \`${from.name}\``, help === undefined ? {} : { help }))
}

/** Every name that can be written here. */
export function visibleNames(scope: Scope, session: Session): readonly string[] {
  const names: string[] = []
  for (let s: Scope | null = scope; s !== null; s = s.outer) names.push(...s.names.keys())
  for (const id of [scope.module, prelude]) names.push(...(session.modules.get(id)?.entries.keys() ?? []))
  return names
}

export function reportUnknownName(name: string, at: Span, scope: Scope, m: Machine): Value {
  const help = importHelp(name, m) ?? didYouMean(name, visibleNames(scope, m.session).filter((n) => n !== m.session.binding))
  return m.report(diagnostic("SLM2001", at, `nothing here is called \`${name}\``, help === undefined ? {} : { help }))
}

/** A module of the library that has the name. */
function importHelp(name: string, m: Machine): string | undefined {
  for (const id of libraryModules) {
    const module = libraryModule(id, m)
    if (module?.entries.get(name)?.from === null) return `add \`use ${id} { ${name} }\``
  }
  return undefined
}
