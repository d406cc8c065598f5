import * as fs from "node:fs"
import * as path from "node:path"

/** A pattern looks at no more entries of folders than this. */
export const mostLooked = 200_000

/**
 * The files below `folder` that match the segments of a pattern (`*` and `?` within a name, `**` any number of folders),
 * relative, sorted by code unit. Links to folders are not entered; names with a leading dot, and `node_modules` under
 * `**`, match only where they are spelled. null: there is too much to look through.
 */
export function matchFiles(folder: string, segments: readonly string[]): string[] | null {
  const found = new Set<string>()
  const seen = new Set<string>()
  const waiting: Walk[] = [{ folder, prefix: "", at: 0 }]
  let looked = 0
  for (let walk = waiting.pop(); walk !== undefined; walk = waiting.pop()) {
    // Several `**` come to one folder in many ways.
    const place = `${walk.at} ${walk.prefix}`
    if (seen.has(place)) continue
    seen.add(place)
    const list = entries(walk.folder)
    looked += 1 + list.length
    if (looked > mostLooked) return null
    step(walk, segments, list, found, waiting)
  }
  return [...found].sort()
}

/** A folder in which the segments from `at` on are to be matched. */
interface Walk { readonly folder: string; readonly prefix: string; readonly at: number }

function step({ folder, prefix, at }: Walk, segments: readonly string[], list: readonly fs.Dirent[], found: Set<string>, waiting: Walk[]): void {
  const segment = segments[at]
  if (segment === undefined) return
  const last = at === segments.length - 1
  const into = (name: string, next: number): number => waiting.push({ folder: path.join(folder, name), prefix: `${prefix}${name}/`, at: next })
  if (segment === "**" && !last) waiting.push({ folder, prefix, at: at + 1 })
  for (const entry of list) {
    if (segment === "**") {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue
      if (entry.isDirectory()) into(entry.name, at)
      else if (last) found.add(prefix + entry.name)
    } else if ((!entry.name.startsWith(".") || segment.startsWith(".")) && matchesName(segment, entry.name)) {
      if (!last) {
        if (entry.isDirectory()) into(entry.name, at + 1)
      } else if (!entry.isDirectory()) found.add(prefix + entry.name)
    }
  }
}

function entries(folder: string): fs.Dirent[] {
  try {
    return fs.readdirSync(folder, { withFileTypes: true })
  } catch {
    return [] // a folder that may not be listed has no matches
  }
}

/** Whether a name matches `*` and `?`: one pass that returns to the last star, so no pattern is slow. */
export function matchesName(pattern: string, name: string): boolean {
  const want = Array.from(pattern)
  const have = Array.from(name)
  let w = 0
  let star = -1
  let resume = 0
  for (let h = 0; h < have.length; ) {
    if (want[w] === "*") {
      star = w++
      resume = h
    } else if (w < want.length && (want[w] === "?" || want[w] === have[h])) {
      w++
      h++
    } else if (star >= 0) {
      w = star + 1
      h = ++resume
    } else {
      return false
    }
  }
  while (want[w] === "*") w++
  return w === want.length
}

/** Whether a path is one that a pattern stands for, whether or not it is there. Both absolute. */
export function matchesPath(pattern: string, file: string): boolean {
  return matchesSegments(pattern.split(/[\\/]/), file.split(/[\\/]/))
}

function matchesSegments([segment, ...rest]: readonly string[], names: readonly string[]): boolean {
  if (segment === undefined) return names.length === 0
  if (segment === "**") return rest.length === 0 ? names.length > 0 : names.some((_, i) => matchesSegments(rest, names.slice(i)))
  const [name, ...more] = names
  return name !== undefined && matchesName(segment, name) && matchesSegments(rest, more)
}
