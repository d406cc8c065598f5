import type { ISerializedGast } from "chevrotain"
import { SlmParser } from "./parser.ts"
import * as t from "./tokens.ts"

/**
 * The grammar as EBNF, generated from the parser itself: `[ x ]` is optional, `{ x }` repeats, quoted text stands for
 * itself, lower-case words are tokens that `spec/1-syntax.md` describes. The spec holds this text; a test compares them.
 */
export function grammarEbnf(): string {
  const defined = new SlmParser({ validate: false }).getSerializedGastProductions()
  const from = (name: string): number => defined.findIndex((rule) => nameOf(rule) === name)
  // defined from the inside out (expressions, types, items), read the other way
  const [types, items] = [from("signature"), from("module")]
  const productions = [...defined.slice(items), ...defined.slice(types, items), ...defined.slice(0, types)]
  const rules = productions.map((rule) => production(ruleName(rule), sequence(rule.definition ?? [])))
  const operators = t.vocabulary.filter((type) => type.CATEGORIES?.includes(t.BinaryOperator) === true && !foreign.has(type.name)).map((type) => type.LABEL ?? type.name)
  return [...rules, production("binary-operator", alternatives(operators)), production("separator", '"," | line-break')].join("\n")
}

/** Spellings of other languages that are read so that they can be explained. */
const foreign: ReadonlySet<string> = new Set(["AndAnd", "OrOr", "StarStar"])

const width = 100

function production(name: string, body: string): string {
  const head = `${name} = `
  if (head.length + body.length <= width) return `${head}${body} ;`
  const lines: string[] = []
  let line = head
  for (const word of words(body)) {
    if (line.length + word.length > width && line.trim() !== "") {
      lines.push(line.trimEnd())
      line = "    "
    }
    line += `${word} `
  }
  return `${[...lines, line.trimEnd()].join("\n")} ;`
}

function words(text: string): readonly string[] {
  return text.match(/"(?:\\.|[^"\\])*"|\S+/g) ?? []
}

function sequence(parts: readonly ISerializedGast[]): string {
  const kept = parts.filter((part) => !isElided(part))
  const [single] = kept
  return kept.length === 1 && single?.type === "Alternation" ? choices(single) : kept.map(part).join(" ")
}

function alternatives(options: readonly string[]): string {
  return options.join(" | ")
}

function isElided(part: ISerializedGast): boolean {
  if (part.type === "Terminal") return nameOf(part) === "Elided"
  return part.type === "Alternative" && (part.definition ?? []).length > 0 && (part.definition ?? []).every(isElided)
}

function part(node: ISerializedGast): string {
  const inside = node.definition ?? []
  switch (node.type) {
    case "NonTerminal": return ruleName(node)
    case "Terminal": return t.vocabulary.find((type) => type.name === nameOf(node))?.LABEL ?? nameOf(node)
    case "Option": return `[ ${sequence(inside)} ]`
    case "Repetition": return `{ ${sequence(inside)} }`
    case "Alternation": return `( ${choices(node)} )`
    case "Alternative": return sequence(inside)
    default: throw new Error(`ebnf: the grammar uses ${node.type}, which has no notation here`)
  }
}

function choices(node: ISerializedGast): string {
  return alternatives((node.definition ?? []).filter((option) => !isElided(option)).map((option) => sequence(option.definition ?? [])))
}

function nameOf(node: ISerializedGast): string {
  return "name" in node && typeof node.name === "string" ? node.name : ""
}

function ruleName(node: ISerializedGast): string {
  const name = nameOf(node)
  return name.slice(0, 1).toUpperCase() + name.slice(1)
}
