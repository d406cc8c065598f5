/** The modules of a program: read once each, their names collected. */
import type { Fn, Module, Use } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { parse } from "../../grammar/parse.ts"
import { nearest } from "../../grammar/nearest.ts"
import { canonicalCode } from "../plan/canonical.ts"
import { sha256 } from "../plan/sha256.ts"
import type { Machine } from "./machine.ts"
import { isAddress, placeOf, versionOf } from "./places.ts"
import type { WrongPlace } from "./places.ts"
import { prelude } from "./scopes.ts"
import type { Entry, LoadedModule, ModuleSource } from "./session.ts"
import { limits } from "./session.ts"

/** Reads a module and everything it uses. `chain`: the modules it is used from. */
export function loadModule(source: ModuleSource, chain: readonly string[], m: Machine, place = source.id): LoadedModule {
  const { session } = m
  session.sources.set(source.id, source)
  const { module, diagnostics } = source.module === undefined ? parse(source) : { module: source.module, diagnostics: [] }
  const loaded: LoadedModule = { id: source.id, place, module, entries: new Map(), library: isLibrary(source.id) }
  session.modules.set(source.id, loaded)
  for (const d of diagnostics) m.report(d)
  for (const item of module.items) {
    if ((item.kind === "carried" || item.kind === "lock") && place !== "") {
      m.report(diagnostic("SLM2024", item.span, "only the recipe itself brings modules and a lock along", { help: "write it at the end of the recipe" }))
    }
    if (item.kind === "fn" && item.primitive && !loaded.library) {
      m.report(diagnostic("SLM2025", item.span, `\`${item.name.name}\` cannot be a primitive`, { notes: ["primitives are what slm itself computes; a recipe starts no programs"], help: "give the function a body" }))
    }
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
  const place = item.isPath ? pathOf(item, from, m) : item.module
  if (place === null || !pin(item, place, m) || !isOfOneLibrary(item, place, m)) return null
  const source = sourceOf(place, item.sha256, m)
  if (source === null) return missing(item, place, m)
  if (item.sha256 !== null && !isPinned(source, item, m)) return null
  if (chain.includes(source.id)) {
    m.report(diagnostic("SLM2006", item.moduleSpan, `\`${item.module}\` uses itself`, { notes: [[...chain.slice(chain.indexOf(source.id)), source.id].join(" uses ")] }))
    return null
  }
  if (session.modules.has(source.id)) return source.id
  if (session.modules.size >= limits.modules) {
    m.report(diagnostic("SLM2400", item.moduleSpan, "this recipe has too many modules", { notes: [`at most ${limits.modules} are read`] }))
    return null
  }
  loadModule(source, chain, m, place)
  return source.id
}

/** Of a module by its place: what the recipe brings along is taken before anything else. */
function sourceOf(place: string, sha256: string | null, { session }: Machine): ModuleSource | null {
  return session.carried.get(place)?.source ?? session.environment.modules(place, session.entry, sha256 ?? undefined)
}

const wrongPlaces = {
  "outside": { code: "SLM2004", message: "leads out of the recipe's folder", help: "keep the file below the recipe, and name it from the folder of the file that uses it, with `/`" },
  "not https": { code: "SLM2023", message: "is not fetched: only `https://` is", help: "use an `https://` address with its `sha256:…`, or a file beside the recipe" },
  "credentials": { code: "SLM2023", message: "holds a name or a password", help: "recipes are shared as text: take the secret out" },
  "no address": { code: "SLM2023", message: "is not an address", help: "an address is like `https://example.org/npc.slm`" },
} as const satisfies Record<WrongPlace, unknown>

/** Where a path or an address leads; null where it leads nowhere, which is reported. */
function pathOf(item: Use, from: LoadedModule, m: Machine): string | null {
  const found = placeOf(item.module, from.place)
  if ("wrong" in found) {
    const { code, message, help } = wrongPlaces[found.wrong]
    m.report(diagnostic(code, item.moduleSpan, `\`${item.module}\` ${message}`, { help }))
    return null
  }
  if (!isAddress(found.place) || item.sha256 !== null || m.session.carried.has(found.place)) return found.place
  m.report(diagnostic("SLM2019", item.moduleSpan, "a module of the web is used with its hash", {
    notes: ["what an address holds may change; with the hash the recipe means the same everywhere"], help: "`slm check --allow-net RECIPE` fetches it and shows the hash to paste",
  }))
  return null
}

/** One module has one hash in all of a program, and a library one version. */
function pin(item: Use, place: string, m: Machine): boolean {
  const { pinned } = m.session
  const version = versionOf(place)
  const pins = [...(item.sha256 === null ? [] : [{ name: place, hash: item.sha256, what: `\`${item.module}\` is used with two hashes` }]),
    ...(version === null ? [] : [{ name: `library ${version.library}`, hash: version.version, what: `two versions of \`${version.library}\` are used` }])]
  for (const { name, hash, what } of pins) {
    const before = pinned.get(name)
    if (before === undefined) pinned.set(name, { hash, span: item.moduleSpan })
    else if (before.hash !== hash) {
      m.report(diagnostic("SLM2021", item.moduleSpan, what, { label: hash, labels: [{ span: before.span, message: before.hash }], help: "use one of them everywhere" }))
      return false
    }
  }
  return true
}

/** Who brings a part of the library along takes nothing of the installed one, which may be another version. */
function isOfOneLibrary(item: Use, place: string, m: Machine): boolean {
  const { carried } = m.session
  const [brought] = carried.has(place) || !isLibrary(place) ? [] : [...carried].filter(([other]) => isLibrary(other))
  if (brought === undefined || m.session.environment.modules(place, m.session.entry) === null) return true
  m.report(diagnostic("SLM2021", item.moduleSpan, `\`${place}\` is of this slm, and the recipe brings its own library along`, {
    label: "not among what it brings", labels: [{ span: brought[1].span, message: `\`${brought[0]}\` is` }], help: "bundle the recipe anew from where it comes from, or take its own library out",
  }))
  return false
}

function isPinned(source: ModuleSource, item: Use, m: Machine): boolean {
  const is = sha256(source.text)
  if (is === item.sha256 || !/^[0-9a-f]{64}$/.test(item.sha256 ?? "")) return true // what is no hash was reported by the parser
  m.report(diagnostic("SLM2020", item.moduleSpan, `\`${item.module}\` is not what its hash says`, {
    notes: [`expected sha256:${item.sha256 ?? ""}`, `   found sha256:${is}`], help: "find out what changed before you take the new hash over",
  }))
  return false
}

function missing(item: Use, place: string, m: Machine): null {
  if (isAddress(place)) {
    m.report(diagnostic("SLM2022", item.moduleSpan, `\`${item.module}\` was not fetched yet`, { notes: ["nothing is fetched unless you say so; a module is fetched once and kept"], help: "add `--allow-net`" }))
    return null
  }
  const near = item.isPath ? null : libraryModules.find((id) => id === `std.${item.module}`) ?? nearest(item.module, libraryModules)
  m.report(diagnostic("SLM2004", item.moduleSpan, `there is no module \`${item.module}\``, {
    ...(near === null ? {} : { help: `did you mean \`${near}\`?` }),
    notes: [item.isPath ? "a path is looked up from the folder of the file that uses it; links that lead out of the recipe's folder are not followed" : "the library's modules are called `std.…`"],
  }))
  return null
}

/** A module of the library that is brought along declares primitives as this version of slm has them, or it does not fit. */
function reportOtherPrimitives(module: Module, place: string, m: Machine): void {
  const primitives = module.items.filter((item): item is Fn => item.kind === "fn" && item.primitive)
  const installed = primitives.length === 0 || !isLibrary(place) ? null : m.session.environment.modules(place, m.session.entry)
  if (installed === null) return
  const known = (installed.module ?? parse(installed).module).items
  for (const item of primitives) {
    const own = known.find((other): other is Fn => other.kind === "fn" && other.primitive && other.name.name === item.name.name)
    if (own !== undefined && canonicalCode(own).text === canonicalCode(item).text) continue
    m.report(diagnostic("SLM2025", item.span, `this version of slm has ${own === undefined ? "no primitive" : "another primitive"} \`${item.name.name}\``, { help: "bundle the recipe anew with this version" }))
  }
}

/** Modules of the library that are looked up without `use`: by exports, and by what scores data. */
export const unasked: readonly string[] = ["std.formats", "std.objectives"]

/** Takes down the modules that the recipe brings along; each is read when something uses it. */
export function takeCarried(module: Module, m: Machine): void {
  const used = new Set<string>([prelude, ...unasked])
  const mention = (of: Module, from: string): void => {
    for (const item of of.items) {
      const place = item.kind !== "use" ? null : item.isPath ? placeOf(item.module, from) : { place: item.module }
      if (place !== null && "place" in place) used.add(place.place)
    }
  }
  const { carried, sources } = m.session
  for (const item of module.items) {
    if (item.kind !== "carried") continue
    const found = item.isPath ? placeOf(item.module, "") : { place: item.module }
    const text = item.text.parts.map((part) => (typeof part === "string" ? part : "")).join("")
    if ("wrong" in found || (!item.isPath && !isLibrary(item.module))) {
      m.report(diagnostic("SLM2024", item.moduleSpan, "nothing can use a module of this name", { help: "`module` takes a name of the library (`std.…`), a path below the recipe's folder, or an `https://` address" }))
    } else if (carried.has(found.place)) {
      m.report(diagnostic("SLM2002", item.moduleSpan, `\`${item.module}\` is brought along twice`, { labels: [{ span: carried.get(found.place)?.span ?? item.moduleSpan, message: "the first time here" }] }))
    } else {
      // Its mistakes stand in its own text, which has a name of its own.
      const source = { id: found.place, text }
      sources.set(source.id, source)
      const parsed = parse(source)
      for (const d of parsed.diagnostics) m.report(d)
      reportOtherPrimitives(parsed.module, found.place, m)
      carried.set(found.place, { source: { ...source, module: parsed.module }, span: item.moduleSpan })
    }
  }
  mention(module, "")
  for (const [place, { source }] of carried) if (source.module !== undefined) mention(source.module, place)
  for (const [place, { span }] of carried) if (!used.has(place)) m.report(diagnostic("SLM2009", span, `\`${place}\` is brought along and never used`))
  const locks = module.items.filter((item) => item.kind === "lock")
  for (const item of locks.slice(1)) m.report(diagnostic("SLM2002", item.span, "a recipe has one lock", { labels: locks[0] === undefined ? [] : [{ span: locks[0].span, message: "it is here" }] }))
}

/** A module that another of the library uses, read now if it has not been. */
export function libraryModule(id: string, m: Machine): LoadedModule | null {
  const found = m.session.modules.get(id)
  if (found !== undefined) return found
  const source = isLibrary(id) ? sourceOf(id, null, m) : null
  return source === null ? null : loadModule(source, [], m)
}

/** The modules of the library that recipes import from, for hints. */
export const libraryModules: readonly string[] = ["std.models", "std.layers", "std.optim", "std.losses", "std.objectives", "std.metrics", "std.curricula", "std.formats", "std.encodings", "std.distill", "std.adapters", "std.growth", "std.quantization", "std.pruning", "std.continual", "std.search"]
