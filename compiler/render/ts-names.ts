/** What stages and their results are called in TypeScript. */
import type { Stage, StageKind } from "../plan/stage.ts"

/** What a stage makes, for whoever passes it on. */
export type ArtifactKind = "rows" | "tokenizer" | "tokens" | "weights" | "roles" | "report" | "samples" | "statistics" | "difficulty" | "notes" | "files"

export function artifactKindOf({ kind, type }: Stage): ArtifactKind {
  return kind === "export" ? "files" : type.is
}

/** What a function does that carries out a stage. */
const verbs: Readonly<Partial<Record<StageKind, string>>> = {
  text: "read", jsonl: "read", csv: "read", train: "train", quantize: "quantize", evaluate: "evaluate", generate: "generate", load: "load", export: "export",
}

/** Results of stages that are called after what they are about. */
const suffixes: Readonly<Partial<Record<StageKind, string>>> = { evaluate: "Measures", export: "Files" }

const reserved: ReadonlySet<string> = new Set(
  ("break case catch class const continue debugger default delete do else enum export extends false finally for function if import in instanceof new null return super switch this throw true try typeof " +
    "var void while with implements interface let package private protected public static yield await async of arguments eval undefined run options plan recipe main").split(" "),
)

/** `book/clean` is `bookClean`, `evaluate student` is `evaluateStudent`. Only letters and digits are left. */
function camel(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== "")
  const text = words.map((word, i) => (i === 0 ? (word[0] ?? "").toLowerCase() : (word[0] ?? "").toUpperCase()) + word.slice(1)).join("")
  return text === "" || /^\d/.test(text) ? `stage${text}` : text
}

export interface StageNames {
  /** Of its result: `student`. */
  readonly value: string
  /** Of the function that makes it: `trainStudent`. */
  readonly make: string
}

/** Names for all stages, no two of them equal. */
export function namesOf(stages: readonly Stage[]): ReadonlyMap<string, StageNames> {
  const taken = new Set(reserved)
  const free = (wanted: string): string => {
    let name = wanted
    for (let n = 2; taken.has(name); n++) name = `${wanted}${n}`
    taken.add(name)
    return name
  }
  return new Map(stages.map((stage) => {
    const plain = camel(stage.name)
    const verb = verbs[stage.kind] ?? "make"
    const own = plain.length > verb.length && plain.startsWith(verb) ? plain.slice(verb.length) : plain
    const capital = `${(own[0] ?? "").toUpperCase()}${own.slice(1)}`
    const value = free(`${capital.charAt(0).toLowerCase()}${capital.slice(1)}${suffixes[stage.kind] ?? ""}`)
    return [stage.key, { value, make: free(`${verb}${capital}`) }]
  }))
}
