/** What the user grants a recipe: paths to read, and how much it may take. */
import { existsSync } from "node:fs"
import { isAbsolute, resolve } from "node:path"
import { machineLimits, type Limits } from "./limits.ts"

export interface Access {
  readonly allowRead: readonly string[]
  readonly limits: Limits
}

/**
 * Who types the path of a file or folder as the value of a `param` allows it to be read: a path that leads out of the recipe's
 * folder grants what it names, a pattern the folder that it looks through.
 */
export function grantedBy(params: Iterable<string>, folder: string): readonly string[] {
  return [...params].flatMap((text) => {
    if (!isAbsolute(text) && !/^\.\.([/\\]|$)/.test(text)) return []
    const parts = text.split("/")
    const pattern = parts.findIndex((part) => /[*?]/.test(part))
    const place = resolve(folder, pattern < 0 ? text : parts.slice(0, pattern).join("/") || "/")
    return existsSync(place) ? [place] : []
  })
}

export interface Wishes {
  readonly allowRead: readonly string[]
  /** Values of `--set`. */
  readonly params: ReadonlyMap<string, string>
  readonly maxMemory: number | null
  readonly maxParams: number | null
}

export function accessOf({ allowRead, params, maxMemory, maxParams }: Wishes, folder: string): Access {
  const machine = machineLimits()
  return {
    allowRead: [...allowRead.map((place) => resolve(place)), ...grantedBy(params.values(), folder)],
    limits: { memory: maxMemory ?? machine.memory, params: maxParams ?? machine.params },
  }
}
