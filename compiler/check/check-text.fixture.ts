/** For tests: the library's modules, parsed once, and recipes checked against them. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parse } from "../../grammar/parse.ts"
import type { Facts } from "../plan/stage.ts"
import type { Checked } from "./check.ts"
import { check } from "./check.ts"
import type { ModuleSource } from "./session.ts"

const folder = fileURLToPath(new URL("../../stdlib/", import.meta.url))

export const library: ReadonlyMap<string, ModuleSource> = new Map(readdirSync(folder).filter((f) => f.endsWith(".slm")).map((file) => {
  const source = { id: `std.${file.slice(0, -".slm".length)}`, text: readFileSync(join(folder, file), "utf8") }
  return [source.id, { ...source, module: parse(source).module }] as const
}))

export interface Options { readonly params?: Readonly<Record<string, string>>; readonly facts?: Facts; readonly files?: Readonly<Record<string, string>> }

export function checkText(text: string, options: Options = {}): Checked {
  const modules = (id: string): ModuleSource | null => {
    const file = options.files?.[id]
    return library.get(id) ?? (file === undefined ? null : { id, text: file })
  }
  return check({ id: "test.slm", text }, { modules, params: new Map(Object.entries(options.params ?? {})), facts: options.facts ?? new Map() })
}
