/** `slm compile --emit ts`: the program type-checks, runs to the same keys and bits, and nothing of a recipe becomes code. */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import type { Stage } from "../compiler/plan/stage.ts"
import { renderTs } from "../compiler/render/ts.ts"
import { inFolder, writeTiny } from "./cli/process.fixture.ts"
import { sha256File } from "./files.ts"
import { run } from "./index.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const index = join(root, "runtime", "index.ts")
const main = join(root, "runtime", "cli", "main.ts")
const tsx = import.meta.resolve("tsx")

/** A folder in which `slm` is this source. */
function withLibrary(folder: string): void {
  mkdirSync(join(folder, "node_modules", "slm"), { recursive: true })
  writeFileSync(join(folder, "node_modules", "slm", "package.json"), JSON.stringify({ name: "slm", type: "module", exports: "./index.mjs" }))
  writeFileSync(join(folder, "node_modules", "slm", "index.mjs"), `export * from ${JSON.stringify(index)}\n`)
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  const strict = {
    target: "ES2022", module: "NodeNext", moduleResolution: "NodeNext", lib: ["ES2023"], types: ["node"], typeRoots: [join(root, "node_modules", "@types")], noEmit: true, skipLibCheck: true,
    strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, verbatimModuleSyntax: true, allowImportingTsExtensions: true, noUnusedLocals: true, noUnusedParameters: true, noImplicitReturns: true,
    paths: { slm: [index] },
  }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: strict, files: ["tiny.ts"] }))
}

function typeCheck(folder: string): string {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc")
  return spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" }).stdout
}

function filesIn(folder: string): Readonly<Record<string, string>> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(names.map((name) => [name.slice(folder.length), sha256File(name)] as const).sort(([a], [b]) => (a < b ? -1 : 1)))
}

test("the program of a recipe type-checks under strict and makes the same keys and bits as the run", () => inFolder(async (folder) => {
  const [here, there] = [join(folder, "here"), join(folder, "there")]
  for (const each of [here, there]) {
    mkdirSync(each)
    writeTiny(each)
  }
  const made = await run(join(here, "tiny.slm"), { device: "reference", set: { steps: 2 } })
  assert.is(made.status, "done")

  withLibrary(there)
  execFileSync(process.execPath, ["--import", tsx, main, "compile", "tiny.slm", "--set", "steps=2", "--emit", "ts", "--out", "tiny.ts"], { cwd: there })
  assert.is(typeCheck(there), "")
  const wrong = readFileSync(join(there, "tiny.ts"), "utf8").replace("{ tokens, letters }", "{ tokens: letters, letters }").replace("{ letters, tokens }", "{ letters, tokens: letters }")

  writeFileSync(join(there, "go.mts"), `import { main } from "./tiny.ts"
const { status, stages, out } = await main({ device: "reference" })
console.log(JSON.stringify({ status, out, stages: stages.map(({ stage, artifactKey, content }) => [stage.name, stage.key, artifactKey, content]) }))`)
  const ran = spawnSync(process.execPath, ["--import", tsx, "go.mts"], { cwd: there, encoding: "utf8" })
  assert.is(ran.stderr, "")
  const report = JSON.parse(ran.stdout)
  assert.equal(report.stages, made.stages.map(({ stage, artifactKey, content }) => [stage.name, stage.key, artifactKey, content]))
  assert.is(report.status, "done")
  for (const part of ["artifacts", "small"]) assert.equal(filesIn(join(report.out, part)), filesIn(join(made.out, part)), part)

  // Started by itself it runs everything, and finds what was made.
  const alone = spawnSync(process.execPath, ["--import", tsx, "tiny.ts"], { cwd: there, encoding: "utf8" })
  assert.equal([alone.stderr, alone.stdout, alone.status], ["", `done: ${report.out}\n`, 0])

  // A result in the place of another is a mistake of types.
  writeFileSync(join(there, "tiny.ts"), wrong)
  assert.match(typeCheck(there), /Type '"tokenizer"' is not assignable to type '"tokens"'/)
}))

test("a program says what is wrong: other keys, other inputs, a stage that fails", () => inFolder(async (folder) => {
  writeTiny(folder)
  withLibrary(folder)
  execFileSync(process.execPath, ["--import", tsx, main, "compile", "tiny.slm", "--emit", "ts", "--out", "tiny.ts"], { cwd: folder })
  writeFileSync(join(folder, "go.mts"), `import { openProgram } from "slm"
import * as tiny from "./tiny.ts"
const text = { name: "tiny", recipe: tiny.recipe, plan: tiny.plan, set: {}, module: import.meta.url }
const told = async (what) => { try { await what(); console.log("no mistake") } catch (error) { console.log(error.message.split("\\n")[0]) } }
await told(() => openProgram({ ...text, recipe: tiny.recipe.replace("length: 8", "length: 4") }, { device: "reference" }))
const begun = await openProgram(text, { device: "reference" })
const lines = await tiny.readLinesText(begun)
await told(() => tiny.makeLines(begun, { linesDocuments: lines }))
await told(() => begun.stage("rows", "nothing", {}))
await told(() => tiny.main({ device: "reference", folder: ${JSON.stringify(join(folder, "nowhere"))} }))
process.exit(0)`)
  const ran = spawnSync(process.execPath, ["--import", tsx, "go.mts"], { cwd: folder, encoding: "utf8" })
  assert.is(ran.stderr, "")
  const told = ran.stdout.trim().split("\n")
  assert.match(told[0] ?? "", "another key: write the program anew")
  assert.match(told[1] ?? "", "`lines` is made from lines/documents, and was given something else")
  assert.match(told[2] ?? "", "the plan has no stage nothing that makes rows")
  assert.match(told[3] ?? "", /error\[SLM310[14]\]|does not exist/)
}))

test("nothing of a recipe becomes code: hostile names, texts and numbers stay values", async () => {
  const { Project, SyntaxKind } = await import("ts-morph")
  const payload = "HOSTILE"
  const pieces = ["*/", "`", "${" + payload + "()}", "\\", '"', "'", "\r\n", "\u2028", "\u202e", "\u200b", "//", "</script>", "\u0000", "\ud800", "😀", `;${payload}();`, "import", "const", "\u001b[2J"]
  const hostile = fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string()), { maxLength: 8 }).map((parts) => parts.join(""))
  fc.assert(fc.property(hostile, hostile, hostile, hostile, fc.double(), (name, arg, recipe, doc, flops) => {
    const at = { source: "r.slm", start: 0, end: 0 }
    const stage: Stage = { kind: "text", key: arg, name, args: new Map(), inputs: [], type: { is: "rows", fields: new Map(), parts: null }, span: at }
    const text = renderTs({ name, version: "0", recipe, doc, set: new Map([[arg, name]]), stages: [{ stage, args: [[arg, name]], parameters: flops, flops }] })
    const file = new Project({ useInMemoryFileSystem: true, skipLoadingLibFiles: true }).createSourceFile("a.ts", text)
    const kinds = file.getStatements().map((s) => s.getKindName())
    assert.equal(kinds, ["ImportDeclaration", "ImportDeclaration", "VariableStatement", "VariableStatement", "VariableStatement", "VariableStatement", "FunctionDeclaration", "FunctionDeclaration", "ExpressionStatement"])
    assert.not(file.getDescendantsOfKind(SyntaxKind.Identifier).some((node) => node.getText() === payload), "the payload is no identifier")
    const value = file.getVariableDeclarationOrThrow("recipe").getInitializerIfKindOrThrow(SyntaxKind.NoSubstitutionTemplateLiteral).getLiteralValue()
    assert.is(value, recipe, "the text is the text")
    assert.not.match(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u2028\u202e]/)
  }), { numRuns: 60 })
})

test.run()
