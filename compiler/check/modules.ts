/** The modules of a program: read once each, their names collected. */
import type { Use } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { parse } from "../../grammar/parse.ts"
import { nearest } from "../../grammar/nearest.ts"
import type { Machine } from "./machine.ts"
import { prelude } from "./scopes.ts"
import type { Entry, LoadedModule, ModuleSource } from "./session.ts"

/** Reads a module and everything it uses. `chain`: the modules it is used from. */
export function loadModule(source: ModuleSource, chain: readonly string[], m: Machine): LoadedModule {
  const { session } = m
  session.sources.set(source.id, source)
  const { module, diagnostics } = source.module === undefined ? parse(source) : { module: source.module, diagnostics: [] }
  const loaded: LoadedModule = { id: source.id, module, entries: new Map(), library: isLibrary(source.id) }
  session.modules.set(source.id, loaded)
  for (const d of diagnostics) m.report(d)
  for (const item of module.items) {
    if (item.kind === "use") use(item, loaded, [...chain, source.id], m)
    else if ("name" in item && item.kind !== "example") add({ name: item.name.name, span: item.name.span, item, from: null, state: "new", value: null }, loaded, m)
  }
  return loaded
}

export function isLibrary(id: string): boolean {
  return id.startsWith("std.")
}

function add(entry: Entry, module: LoadedModule, m: Machine): void {
  const before = module.entries.get(entry.name)
  if (before !== undefined) {
    m.report(diagnostic("SLM2002", entry.span, `\`${entry.name}\` is already the name of something`, { labels: [{ span: before.span, message: "it is named here" }] }))
    return
  }
  const hidden = module.id === prelude ? undefined : m.session.modules.get(prelude)?.entries.get(entry.name)
  const same = hidden?.from != null && entry.from !== null && hidden.from.module === entry.from.module && hidden.from.name === entry.from.name
  if (hidden !== undefined && !module.library && !same) {
    m.report(diagnostic("SLM2003", entry.span, `\`${entry.name}\` would hide the prelude's \`${entry.name}\``, {
      notes: ["the names of the prelude mean the same in every recipe"], help: "choose another name, or rename an import: `use m { f as g }`",
    }))
  }
  module.entries.set(entry.name, entry)
}

/** Modules of the library are read when a name of them is needed, those of the recipe at once. */
function use(item: Use, module: LoadedModule, chain: readonly string[], m: Machine): void {
  const target = module.library && isLibrary(item.module) ? item.module : resolve(item, module, chain, m)
  for (const { name, as } of item.names) {
    const own = as ?? name
    add({ name: own.name, span: own.span, item, from: { module: target ?? "", name: name.name }, state: "new", value: null }, module, m)
  }
}

/** The id of the module that is used, loaded; null where it cannot be had, which is reported. */
function resolve(item: Use, from: LoadedModule, chain: readonly string[], m: Machine): string | null {
  const { session } = m
  const source = session.environment.modules(item.module, from.id)
  if (source === null) {
    const near = item.isPath ? null : libraryModules.find((id) => id === `std.${item.module}`) ?? nearest(item.module, libraryModules)
    m.report(diagnostic("SLM2004", item.moduleSpan, `there is no module \`${item.module}\``, {
      ...(near === null ? {} : { help: `did you mean \`${near}\`?` }),
      notes: [item.isPath ? "a path is looked up from the folder of the file that uses it" : "the library's modules are called `std.…`"],
    }))
    return null
  }
  if (chain.includes(source.id)) {
    m.report(diagnostic("SLM2006", item.moduleSpan, `\`${item.module}\` uses itself`, { notes: [[...chain.slice(chain.indexOf(source.id)), source.id].join(" uses ")] }))
    return null
  }
  if (!session.modules.has(source.id)) loadModule(source, chain, m)
  return source.id
}

/** A module that another of the library uses, read now if it has not been. */
export function libraryModule(id: string, from: string, m: Machine): LoadedModule | null {
  const found = m.session.modules.get(id)
  if (found !== undefined) return found
  const source = isLibrary(id) ? m.session.environment.modules(id, from) : null
  return source === null ? null : loadModule(source, [], m)
}

/** The modules of the library that recipes import from, for hints. */
export const libraryModules: readonly string[] = ["std.models", "std.layers", "std.optim", "std.losses", "std.objectives", "std.metrics", "std.curricula", "std.formats", "std.encodings", "std.distill", "std.adapters", "std.growth"]
