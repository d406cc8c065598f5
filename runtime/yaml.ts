/** YAML as slm writes and reads it: plain values, no references, nothing that a text could make larger than itself. */
import { dump, load } from "js-yaml"

export function writeYaml(value: unknown): string {
  return dump(value, { lineWidth: -1, noRefs: true, quoteStyle: "double" })
}

/** The value of one document; undefined: it is none, or deeper or more entangled than what slm writes. */
export function readYaml(text: string): unknown {
  try {
    return load(text, { maxAliases: 0, maxDepth: 50 })
  } catch {
    return undefined
  }
}
