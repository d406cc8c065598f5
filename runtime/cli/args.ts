import { parseArgs } from "node:util"
import { nearest } from "../../grammar/nearest.ts"

/** One option of a command. */
export interface OptionSpec {
  readonly type: "flag" | "value" | "values"
  /** `FILE` in `--out FILE`. */
  readonly placeholder?: string
  readonly help: string
  /** An empty value has a meaning. */
  readonly empty?: boolean
}

/** What a command is called with: its description is its help page and its grammar. */
export interface CommandSpec {
  readonly name: string
  readonly summary: string
  /** Positional arguments as shown: `RECIPE`, `[NAME]`, `FILE…`. */
  readonly positionals: readonly string[]
  readonly options: Readonly<Record<string, OptionSpec>>
  readonly details?: string
  readonly examples: readonly string[]
}

export interface Arguments {
  readonly positionals: readonly string[]
  flag(name: string): boolean
  value(name: string): string | null
  values(name: string): readonly string[]
}

/** Wrong usage: shown with the command's usage line, exit code 2. */
export interface UsageError {
  readonly message: string
  readonly help: string | null
}

export const commonOptions: Readonly<Record<string, OptionSpec>> = {
  json: { type: "flag", help: "answer in JSON, one object a line" },
  help: { type: "flag", help: "show this page" },
}

/** Reads the arguments of one command; unknown or misused options are errors with a suggestion. */
export function readArguments(spec: CommandSpec, argv: readonly string[]): Arguments | UsageError {
  const options = { ...spec.options, ...commonOptions }
  const { tokens } = parseArgs({
    args: [...argv], strict: false, tokens: true, allowPositionals: true,
    options: Object.fromEntries(Object.entries(options).map(([name, o]) => [name, { type: o.type === "flag" ? "boolean" as const : "string" as const, multiple: true }])),
  })
  const flags = new Set<string>()
  const values = new Map<string, string[]>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue
    if (token.kind === "positional") {
      positionals.push(token.value)
      continue
    }
    const option = options[token.rawName === "-h" ? "help" : token.name]
    if (option === undefined) return unknownOption(token.rawName, Object.keys(options))
    if (option.type === "flag") {
      if (token.value !== undefined) return { message: `${token.rawName} takes no value`, help: null }
      flags.add(token.rawName === "-h" ? "help" : token.name)
      continue
    }
    if (token.value === undefined || (token.value === "" && option.empty !== true)) return { message: `${token.rawName} needs ${option.placeholder ?? "a value"}`, help: null }
    if (option.type === "value" && values.has(token.name)) return { message: `${token.rawName} is given twice`, help: null }
    values.set(token.name, [...(values.get(token.name) ?? []), token.value])
  }
  const wrong = flags.has("help") ? null : countPositionals(spec, positionals)
  if (wrong !== null) return wrong
  return {
    positionals,
    flag: (name) => flags.has(name),
    value: (name) => values.get(name)?.[0] ?? null,
    values: (name) => values.get(name) ?? [],
  }
}

export function isUsageError(x: Arguments | UsageError): x is UsageError {
  return "message" in x
}

function unknownOption(given: string, known: readonly string[]): UsageError {
  const close = nearest(given.replace(/^-+/, ""), known)
  return { message: `there is no option ${given}`, help: close === null ? null : `did you mean --${close}?` }
}

function countPositionals(spec: CommandSpec, given: readonly string[]): UsageError | null {
  const needed = spec.positionals.filter((p) => !p.startsWith("[")).length
  const most = spec.positionals.some((p) => p.includes("…")) ? Infinity : spec.positionals.length
  if (given.length < needed) return { message: `${spec.positionals[given.length]} is missing`, help: null }
  if (given.length > most) return { message: `unexpected argument ${JSON.stringify(given[most])}`, help: null }
  return null
}

export function usageLine(spec: CommandSpec): string {
  const options = Object.keys(spec.options).length > 0 ? " [options]" : ""
  return `slm ${spec.name}${options}${spec.positionals.map((p) => ` ${p}`).join("")}`
}

/** The help page of one command. */
export function helpPage(spec: CommandSpec): string {
  const lines = [`${spec.summary}`, "", `usage: ${usageLine(spec)}`]
  if (spec.details !== undefined) lines.push("", spec.details)
  const options = Object.entries({ ...spec.options, ...commonOptions })
  const shown = options.map(([name, o]) => [`  --${name}${o.type === "flag" ? "" : ` ${o.placeholder ?? "VALUE"}`}`, o.help] as const)
  const width = Math.max(...shown.map(([left]) => left.length))
  lines.push("", "options:", ...shown.map(([left, help]) => `${left.padEnd(width)}  ${help}`))
  if (spec.examples.length > 0) lines.push("", "examples:", ...spec.examples.map((e) => `  ${e}`))
  return lines.join("\n")
}
