import { nearest } from "../../grammar/nearest.ts"

export function didYouMean(name: string, names: Iterable<string>): string | undefined {
  const found = nearest(name, names)
  return found === null ? undefined : `did you mean \`${found}\`?`
}

/** `a`, `b` and `c`. */
export function listed(names: readonly string[], word = "and"): string {
  const quoted = names.map((n) => `\`${n}\``)
  return quoted.length <= 1 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} ${word} ${quoted[quoted.length - 1] ?? ""}`
}
