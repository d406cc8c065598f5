import { readdirSync } from "node:fs"
import { join } from "node:path"

/** All `*.test.ts` below the folders, sorted, dependencies left out. */
export function globSync(folders: readonly string[]): string[] {
  const found: string[] = []
  const visit = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name === "node_modules") continue
      const path = join(folder, entry.name)
      if (entry.isDirectory()) visit(path)
      else if (entry.name.endsWith(".test.ts")) found.push(path)
    }
  }
  for (const folder of folders) visit(folder)
  return found.sort()
}
