/** Fetches what a recipe uses from the web before it is checked: the checker itself reads only what is there. */
import type { Use } from "../grammar/ast.ts"
import { diagnostic, type Diagnostic, type Source } from "../grammar/diagnostic.ts"
import { parse } from "../grammar/parse.ts"
import { isAddress, placeOf } from "../compiler/check/places.ts"
import { limits } from "../compiler/check/session.ts"
import { fetchText } from "./fetch-module.ts"
import { sha256 } from "./files.ts"
import { moduleReader } from "./library.ts"
import { cachedModule, keepModule } from "./module-cache.ts"
import type { RecipeFile } from "./recipe.ts"

export interface Fetched {
  /** What could not be fetched, and the hashes of what was used without one. Empty: everything is there to be checked. */
  readonly diagnostics: readonly Diagnostic[]
  readonly sources: ReadonlyMap<string, Source>
}

interface Walk {
  readonly read: ReturnType<typeof moduleReader>
  readonly entry: string
  readonly sources: Map<string, Source>
  readonly diagnostics: Diagnostic[]
  readonly seen: Set<string>
  readonly carried: ReadonlySet<string>
}

interface Waiting { readonly source: Source; readonly place: string }

/** Follows every `use` of the recipe and its modules; each address that is not kept yet is asked once. */
export async function fetchModules({ source, folder }: RecipeFile): Promise<Fetched> {
  const { module } = parse(source)
  const carried = new Set(module.items.flatMap((item) => (item.kind === "carried" ? [placeIn(item.module, "") ?? ""] : [])))
  const walk: Walk = { read: moduleReader(folder), entry: source.id, sources: new Map([[source.id, source]]), diagnostics: [], seen: new Set(), carried }
  const waiting: Waiting[] = [{ source, place: "" }]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    for (const item of parse(at.source).module.items) {
      const found = item.kind === "use" && item.isPath ? await follow(item, at.place, walk) : null
      if (found !== null && walk.seen.size <= limits.modules) waiting.push(found)
    }
  }
  return walk
}

function placeIn(name: string, from: string): string | null {
  const found = placeOf(name, from)
  return "place" in found ? found.place : null
}

/** The module that is used, where it is to be looked through; what is wrong with its name is the checker's to say. */
async function follow(item: Use, from: string, walk: Walk): Promise<Waiting | null> {
  const place = placeIn(item.module, from)
  if (place === null || walk.carried.has(place)) return null
  const key = `${place} ${item.sha256 ?? ""}`
  if (walk.seen.has(key)) return null
  walk.seen.add(key)
  const source = isAddress(place) ? await remote(item, place, walk) : walk.read(place, walk.entry)
  if (source === null) return null
  walk.sources.set(source.id, source)
  return { source, place }
}

async function remote(item: Use, place: string, walk: Walk): Promise<Source | null> {
  const kept = item.sha256 === null ? null : cachedModule(item.sha256)
  if (kept !== null) return { id: place, text: kept }
  const answer = await fetchText(place)
  const report = (code: string, message: string, parts: Parameters<typeof diagnostic>[3]): null => {
    walk.diagnostics.push(diagnostic(code, item.moduleSpan, message, parts))
    return null
  }
  if ("reason" in answer) return report("SLM3605", `${place} cannot be fetched: ${answer.reason}`, {})
  const hash = sha256(answer.text)
  if (item.sha256 === null) {
    const end = item.moduleSpan.end
    return report("SLM2019", "a module of the web is used with its hash", {
      notes: ["look at the text before you trust it"], help: `write sha256:${hash} behind the address`, fix: { span: { ...item.moduleSpan, start: end }, text: ` sha256:${hash}` },
    })
  }
  if (hash !== item.sha256) {
    return report("SLM2020", `\`${item.module}\` is not what its hash says`, { notes: [`expected sha256:${item.sha256}`, `   found sha256:${hash}`], help: "find out what changed before you take the new hash over" })
  }
  const written = keepModule(answer.text)
  if (!written.ok) return report(written.failures[0]?.code ?? "SLM3105", written.failures[0]?.message ?? "the module cannot be kept", {})
  return { id: place, text: answer.text }
}
