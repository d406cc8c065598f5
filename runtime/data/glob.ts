import * as fs from "node:fs"
import * as path from "node:path"

/**
 * The files below `folder` that match the segments of a pattern (`*` and `?` within a name, `**` any number of folders),
 * relative, sorted by code unit. Links to folders are not entered; names with a leading dot, and `node_modules` under
 * `**`, match only where they are spelled.
 */
export function matchFiles(folder: string, segments: readonly string[]): string[] {
  const found = new Set<string>()
  walk(folder, "", segments, found)
  return [...found].sort()
}

function walk(folder: string, prefix: string, segments: readonly string[], found: Set<string>): void {
  const [segment, ...rest] = segments
  if (segment === undefined) return
  if (segment === "**") {
    if (rest.length > 0) walk(folder, prefix, rest, found)
    for (const entry of entries(folder)) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue
      if (entry.isDirectory()) walk(path.join(folder, entry.name), `${prefix}${entry.name}/`, segments, found)
      else if (rest.length === 0) found.add(prefix + entry.name)
    }
    return
  }
  for (const entry of entries(folder)) {
    if (entry.name.startsWith(".") && !segment.startsWith(".")) continue
    if (!matchesName(segment, entry.name)) continue
    if (rest.length === 0) {
      if (!entry.isDirectory()) found.add(prefix + entry.name)
    } else if (entry.isDirectory()) {
      walk(path.join(folder, entry.name), `${prefix}${entry.name}/`, rest, found)
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
