/** A recipe as one text: with the modules it uses, of the library what it needs, and perhaps the lock of a run. */
import type { Item, Use } from "../../grammar/ast.ts"
import type { Source } from "../../grammar/diagnostic.ts"
import { dedent, escape } from "../../grammar/strings.ts"
import type { Checked } from "../check/check.ts"
import { createMachine, type Machine } from "../check/machine.ts"
import { isLibrary, libraryModule } from "../check/modules.ts"
import { isAddress } from "../check/places.ts"
import { prelude } from "../check/scopes.ts"
import type { LoadedModule } from "../check/session.ts"

/** What the checker and the stages look up by themselves, whatever a recipe names. */
const lookedUp: readonly (readonly [module: string, name: string])[] = [[prelude, "next_token"], ["std.objectives", "next_token"]]
const formats = "std.formats"

/** The text of a checked recipe without errors. `lock`: as it is to be carried. */
export function bundle(checked: Checked, entry: Source, lock: string | null): string {
  const { session } = checked
  const needed = neededOf(createMachine(session))
  const library = [...needed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, names]): [string, string] => {
    const module = session.modules.get(id)
    if (module === undefined) throw new Error(`bundle: ${id} was not read`)
    return [id, isWhole(id, session.pinned) ? textOf(module, checked) : libraryText(module, names, checked)]
  })
  const own = [...session.modules.values()].filter((module) => !module.library && module.place !== "")
    .map((module): [string, string] => [`"${escape(isAddress(module.place) ? module.place : `./${module.place}`)}"`, textOf(module, checked)])
  const parts = [...own, ...library].map(([name, text]) => `module ${name} ${carriedText(text)}\n`)
  return `${[bareText(session.modules.get(entry.id), entry), ...parts, ...(lock === null ? [] : [`lock ${carriedText(lock)}\n`])].join("\n")}`
}

/** As the value of a text: on lines of its own where that keeps every character, in quotes where it does not. */
function carriedText(text: string): string {
  const inside = `\n${text}`
  return !text.includes('"""') && dedent(inside) === text ? `"""${inside}"""` : `"${escape(text)}"`
}

/** The recipe without what it carried before. */
function bareText(module: LoadedModule | undefined, entry: Source): string {
  let [text, from] = ["", 0]
  for (const item of module?.module.items ?? []) {
    if (item.kind !== "carried" && item.kind !== "lock") continue
    text += entry.text.slice(from, item.span.start)
    from = item.span.end
  }
  return `${(text + entry.text.slice(from)).trimEnd()}\n`
}

function textOf(module: LoadedModule, checked: Checked): string {
  const source = checked.sources.get(module.id)
  if (source === undefined) throw new Error(`bundle: the text of ${module.id} is not there`)
  return source.text
}

/** A module whose hash the recipe knows is carried as it is. */
function isWhole(id: string, pinned: Checked["session"]["pinned"]): boolean {
  return pinned.has(id)
}

function libraryText(module: LoadedModule, names: ReadonlySet<string>, checked: Checked): string {
  const text = textOf(module, checked)
  const pieces = module.module.items.flatMap((item): string[] => {
    if (item.kind === "use") {
      const used = item.names.filter(({ name, as }) => names.has((as ?? name).name))
      return used.length === 0 ? [] : [`use ${item.module} { ${used.map(({ name, as }) => (as === null ? name.name : `${name.name} as ${as.name}`)).join(", ")} }\n`]
    }
    if (!("name" in item) || item.kind === "example" || !names.has(item.name.name)) return []
    const doc = "doc" in item && item.doc !== null ? `${item.doc.split("\n").map((line) => `/// ${line}`.trimEnd()).join("\n")}\n` : ""
    return [`\n${doc}${text.slice(item.span.start, item.span.end)}\n`]
  })
  return pieces.join("").replace(/^\n/, "")
}

// ---------------------------------------------------------------- what is needed

/** Names of modules of the library, imports among them, that anything in the recipe may refer to; each module at least by its place. */
function neededOf(m: Machine): ReadonlyMap<string, ReadonlySet<string>> {
  const needed = new Map<string, Set<string>>()
  const waiting: { readonly module: LoadedModule; readonly item: Item }[] = []
  const models = new Set<string>()

  const need = (id: string, name: string): void => {
    const module = libraryModule(id, m)
    const entry = module?.entries.get(name)
    if (module === null || entry === undefined) return
    const names = needed.get(id) ?? new Set()
    needed.set(id, names)
    if (names.has(name)) return
    names.add(name)
    if (entry.from !== null) return need(entry.from.module, entry.from.name)
    waiting.push({ module, item: entry.item })
  }
  const refer = (name: string, from: LoadedModule): void => {
    const entry = from.entries.get(name)
    if (entry === undefined) return need(prelude, name)
    if (from.library) need(from.id, name)
    else if (entry.from !== null && isLibrary(entry.from.module)) need(entry.from.module, entry.from.name)
  }
  const follow = (): void => {
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      if (at.item.kind === "definition" && at.item.form === "model") models.add(at.item.name.name)
      for (const name of namesIn(at.item)) refer(name, at.module)
    }
  }

  for (const module of [...m.session.modules.values()]) {
    if (!module.library) for (const item of module.module.items) waiting.push({ module, item })
    else if (m.session.pinned.has(module.id)) for (const name of module.entries.keys()) need(module.id, name)
  }
  for (const [id, name] of lookedUp) need(id, name)
  follow()
  // Exports find the format of a model by the model's name.
  for (const entry of libraryModule(formats, m)?.entries.values() ?? []) {
    if (entry.item.kind === "format" && models.has(entry.item.model.name)) need(formats, entry.name)
  }
  follow()
  return needed
}

/** Every name that a part of the tree could refer to. Words are among them: what they are is decided where they are used. */
function namesIn(root: Item): ReadonlySet<string> {
  const found = new Set<string>()
  const waiting: unknown[] = [root]
  for (let at = waiting.pop(); at !== undefined || waiting.length > 0; at = waiting.pop()) {
    if (typeof at !== "object" || at === null) continue
    if (Array.isArray(at)) {
      waiting.push(...at)
      continue
    }
    const node = at as Readonly<Record<string, unknown>>
    if (node["kind"] === "name" && typeof node["name"] === "string") found.add(node["name"])
    if (node["kind"] === "stage" && typeof node["verb"] === "string") found.add(node["verb"])
    for (const [key, value] of Object.entries(node)) if (!key.toLowerCase().endsWith("span")) waiting.push(value)
  }
  if (root.kind === "format") found.add(root.model.name)
  if (root.kind === "use") for (const { name, as } of (root satisfies Use).names) found.add((as ?? name).name)
  return found
}
