/** YAML as slm writes and reads it: plain values, no references, nothing that a text could make larger than itself. */
import { parse, stringify } from "yaml"

/** Block scalars of the package lose a line of blanks at times, so texts of several lines are quoted. */
export function writeYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, blockQuote: false, aliasDuplicateObjects: false })
}

/** The value of one document; undefined: it is none, or deeper or more entangled than what slm writes. */
export function readYaml(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 0, prettyErrors: false, logLevel: "error" })
  } catch {
    return undefined
  }
}
