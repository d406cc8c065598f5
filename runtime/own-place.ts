/** Places a run writes to: below a folder that is its own, through no link that leads out of it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { failure, type Failure } from "./data/result.ts"
import { isBelow } from "./files.ts"
import { shownPath } from "./system-error.ts"

/** Why nothing may be written to `place`, which by its words lies below `root`; null: it may. */
export function foreignPlace(root: string, place: string): Failure | null {
  const [base, real] = [settled(path.resolve(root)), settled(path.resolve(place))]
  if (base !== null && real !== null && isBelow(real, [base])) return null
  return failure("SLM3604", `${shownPath(place)} leads ${real === null ? "nowhere" : `to ${real}`}, out of ${shownPath(root)}`, "remove the link, or choose a folder yourself: `--out FOLDER`")
}

/** Where a path really is: links of what exists resolved, what does not exist yet as its words say; null: a link that leads nowhere. */
function settled(place: string): string | null {
  let rest = ""
  for (let at = place; ; at = path.dirname(at)) {
    try {
      return path.join(fs.realpathSync(at), rest)
    } catch {
      if (isLink(at)) return null
      if (path.dirname(at) === at) return place
      rest = path.join(path.basename(at), rest)
    }
  }
}

function isLink(place: string): boolean {
  try {
    return fs.lstatSync(place).isSymbolicLink()
  } catch {
    return false
  }
}
