/** A run as a TypeScript program: its stages are functions, its results typed values, its plan and keys constants. Reads and writes nothing. */
import { IndentationText, Project, QuoteKind, VariableDeclarationKind, type CodeBlockWriter, type SourceFile } from "ts-morph"
import type { Stage } from "../plan/stage.ts"
import { artifactKindOf, namesOf, type ArtifactKind, type StageNames } from "./ts-names.ts"

export interface TsStage {
  readonly stage: Stage
  /** Arguments as people read them. */
  readonly args: readonly (readonly [name: string, value: string])[]
  /** What it is expected to take, where that is known. */
  readonly parameters: number | null
  readonly flops: number | null
}

export interface TsProgram {
  readonly name: string
  readonly version: string
  /** The recipe with everything it uses, as one text. */
  readonly recipe: string
  readonly doc: string | null
  readonly set: ReadonlyMap<string, string>
  /** Inputs before what needs them. */
  readonly stages: readonly TsStage[]
}

export function renderTs(program: TsProgram): string {
  const project = new Project({
    useInMemoryFileSystem: true, skipLoadingLibFiles: true,
    manipulationSettings: { indentationText: IndentationText.TwoSpaces, quoteKind: QuoteKind.Double },
  })
  const file = project.createSourceFile("program.ts")
  const names = namesOf(program.stages.map(({ stage }) => stage))
  addHead(file, program)
  addConstants(file, program)
  for (const stage of program.stages) addStage(file, stage, names)
  addMain(file, program, names)
  return file.getFullText()
}

function addHead(file: SourceFile, { name, version, doc, stages }: TsProgram): void {
  const kinds = [...new Set(stages.map(({ stage }) => typeNames[artifactKindOf(stage)]))].sort()
  const lines = [`${name}.slm as a program, written by slm ${version}; \`slm compile ${name}.slm --emit ts\` writes it again.`, ...(doc === null ? [] : ["", ...doc.split("\n")])]
  file.addStatements((writer) => comment(writer, lines))
  file.addImportDeclaration({ moduleSpecifier: "slm", namedImports: ["openProgram", "whenStarted"] })
  file.addImportDeclaration({ moduleSpecifier: "slm", isTypeOnly: true, namedImports: [...kinds, "PlannedStage", "Program", "ProgramOptions", "RunReport"].sort() })
}

function addConstants(file: SourceFile, { name, recipe, set, stages }: TsProgram): void {
  const constant = (of: string, type: string | undefined, docs: string, exported: boolean, value: (writer: CodeBlockWriter) => void): void => {
    file.addVariableStatement({
      declarationKind: VariableDeclarationKind.Const, isExported: exported, docs: [docs],
      declarations: [{ name: of, initializer: value, ...(type === undefined ? {} : { type }) }],
    })
  }
  constant("plan", undefined, "What runs, inputs before what needs them. Keys are of meaning: the same on every machine.", true, (writer) => {
    writer.write("[").newLine()
    writer.withIndentationLevel(1, () => {
      for (const { stage, parameters, flops } of stages) {
        const counted = [parameters === null ? "" : `, parameters: ${number(parameters)}`, flops === null ? "" : `, flops: ${number(flops)}`].join("")
        writer.writeLine(`{ name: ${text(stage.name)}, kind: ${text(stage.kind)}, key: ${text(stage.key)}, inputs: ${list(stage.inputs.map(({ key }) => key))}${counted} },`)
      }
    })
    writer.withIndentationLevel(0, () => writer.write("] as const satisfies readonly PlannedStage[]"))
  })
  constant("name", undefined, "Of the recipe: results are kept in `runs/NAME` beside this file.", false, (writer) => writer.write(text(name)))
  constant("set", undefined, "Values of the recipe's params, where they are not its own.", false, (writer) => writer.write(set.size === 0 ? "{}" : `{ ${[...set].map(([key, value]) => `${text(key)}: ${text(value)}`).join(", ")} }`))
  constant("recipe", undefined, "The recipe with everything it uses: what the stages mean.", true, (writer) => writer.write(template(recipe)))
}

const typeNames: Readonly<Record<ArtifactKind, string>> = {
  rows: "Rows", tokenizer: "Tokenizer", tokens: "Tokens", weights: "Weights", roles: "Roles", report: "Measures", samples: "Samples", statistics: "Statistics", difficulty: "Difficulty", notes: "Notes", files: "Files",
}

function addStage(file: SourceFile, { stage, args }: TsStage, names: ReadonlyMap<string, StageNames>): void {
  const own = nameOf(stage, names)
  const kind = artifactKindOf(stage)
  const inputs = stage.inputs.map((input) => `readonly ${nameOf(input, names).value}: ${typeNames[artifactKindOf(input)]}`)
  file.addFunction({
    name: own.make, isExported: true, returnType: `Promise<${typeNames[kind]}>`,
    docs: [plainText([`\`${stage.name}\`: ${stage.kind}`, ...args.filter(([, value]) => value !== "none").map(([name, value]) => `- ${name}: ${value}`)].join("\n"))],
    parameters: [{ name: "run", type: "Program" }, ...(inputs.length === 0 ? [] : [{ name: "inputs", type: `{ ${inputs.join("; ")} }` }])],
    statements: [`return run.stage(${text(kind)}, ${text(stage.key)}, ${inputs.length === 0 ? "{}" : "inputs"});`],
  })
}

function addMain(file: SourceFile, { stages }: TsProgram, names: ReadonlyMap<string, StageNames>): void {
  const used = new Set(stages.flatMap(({ stage }) => stage.inputs.map(({ key }) => key)))
  file.addFunction({
    name: "main", isExported: true, isAsync: true, returnType: "Promise<RunReport>",
    docs: ["Everything, in order. What an earlier run made is used again."],
    parameters: [{ name: "options", type: "ProgramOptions", initializer: "{}" }],
    statements: [
      "const run = await openProgram({ name, recipe, plan, set, module: import.meta.url }, options);",
      ...stages.map(({ stage }) => {
        const own = nameOf(stage, names)
        const given = stage.inputs.map((input) => nameOf(input, names).value)
        return `${used.has(stage.key) ? `const ${own.value} = ` : ""}await ${own.make}(run${given.length === 0 ? "" : `, { ${given.join(", ")} }`});`
      }),
      "return run.finish();",
    ],
  })
  file.addStatements((writer) => writer.newLine().writeLine("await whenStarted(import.meta.url, main);"))
}

function nameOf(stage: Stage, names: ReadonlyMap<string, StageNames>): StageNames {
  const found = names.get(stage.key)
  if (found === undefined) throw new Error(`ts: ${stage.name} has no name`)
  return found
}

// ---------------------------------------------------------------- values of a recipe as TypeScript

/** A string literal of any text: nothing of it is read as code, and all of it can be seen. */
function text(value: string): string {
  return JSON.stringify(value).replace(hidden, escaped)
}

function list(values: readonly string[]): string {
  return `[${values.map(text).join(", ")}]`
}

function number(value: number): string {
  return Number.isFinite(value) ? String(value) : "Infinity"
}

const hidden = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

function escaped(found: string): string {
  return `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`
}

/** Lines stay lines. A template would take `\r\n` for `\n`, so that carriage returns are written out. */
function template(value: string): string {
  const inside = value.replace(/[\\`]|\$\{/g, (found) => `\\${found}`).replace(/[\u0000-\u0008\u000b-\u001f]/g, escaped).replace(hidden, escaped)
  return `\`${inside}\``
}

/** Text of a comment: it cannot end the comment, and nothing in it is hidden. */
function plainText(value: string): string {
  return value.replaceAll("*/", "* /").replace(/[\u0000-\u0009\u000b-\u001f]/g, " ").replace(hidden, escaped)
}

function comment(writer: CodeBlockWriter, lines: readonly string[]): void {
  writer.writeLine("/**")
  for (const line of lines) writer.writeLine(` * ${plainText(line)}`.trimEnd())
  writer.writeLine(" */")
}
