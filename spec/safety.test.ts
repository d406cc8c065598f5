/**
 * Runs `spec/tests/safety/run/*.slm`: recipes that try to leave their place, each in a folder of its own beside a folder that is
 * none of theirs. Lines at the top say what is there (`file`, `link`, `fifo`, `sparse`, `header-bomb`, `json-bomb`), what the user
 * allows (`allow`, `memory`, `params`), and the diagnostics that must be told. Whatever happens, nothing outside may change.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { lineIndex, positionAt } from "../grammar/position.ts"
import { accessOf } from "../runtime/access.ts"
import { createReference } from "../runtime/devices/reference.ts"
import { parseSize } from "../runtime/limits.ts"
import { readRecipe } from "../runtime/recipe.ts"
import { runInFolder } from "../runtime/run-folder.ts"

const folder = fileURLToPath(new URL("./tests/safety/run/", import.meta.url))
const secret = "a secret of the user's\n"

interface Box { readonly recipe: string; readonly outside: string }

/** The lines `// NAME REST` at the top of a case. */
function directives(text: string): readonly (readonly [name: string, rest: string])[] {
  const found: (readonly [string, string])[] = []
  for (const line of text.split("\n")) {
    const [, name, rest] = /^\/\/ ([a-z-]+) (.*)$/.exec(line.trimEnd()) ?? []
    if (name === undefined || rest === undefined) break
    found.push([name, rest])
  }
  return found
}

/** A header that claims a million million bytes. */
function headerBomb(): Uint8Array {
  const bytes = new Uint8Array(64)
  new DataView(bytes.buffer).setBigUint64(0, 1_000_000_000_000n, true)
  return bytes
}

const makers: Readonly<Record<string, (place: string, rest: string, box: Box) => void>> = {
  file: (place, rest) => fs.writeFileSync(place, rest.replaceAll("\\n", "\n")),
  link: (place, rest, { outside }) => fs.symlinkSync(rest.replace("-> ", "").replace("{outside}", outside), place),
  fifo: (place) => execFileSync("mkfifo", [place]),
  sparse: (place, rest) => { fs.writeFileSync(place, ""); fs.truncateSync(place, Number(rest)) },
  "header-bomb": (place) => fs.writeFileSync(place, headerBomb()),
  "json-bomb": (place) => fs.writeFileSync(place, `{"text": ${"[".repeat(200_000)}${"]".repeat(200_000)}}\n`),
}

function make(lines: ReturnType<typeof directives>, box: Box): void {
  for (const [name, rest] of lines) {
    const [first = "", ...more] = rest.split(" ")
    const maker = makers[name]
    if (maker === undefined) continue
    const place = path.join(box.recipe, first)
    fs.mkdirSync(path.dirname(place), { recursive: true })
    maker(place, more.join(" "), box)
  }
}

const valueOf = (lines: ReturnType<typeof directives>, name: string): string | null => lines.find(([of]) => of === name)?.[1] ?? null

/** Everything below a folder, with what it holds. */
function contents(of: string): readonly string[] {
  return fs.readdirSync(of, { recursive: true, withFileTypes: true }).map((entry) => {
    const file = path.join(entry.parentPath, entry.name)
    return `${file} ${entry.isFile() ? fs.readFileSync(file, "utf8") : ""}`
  }).sort()
}

async function told(name: string): Promise<readonly string[]> {
  const text = fs.readFileSync(path.join(folder, name), "utf8")
  const lines = directives(text)
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "slm-safety-")))
  const box = { recipe: path.join(home, "recipe"), outside: path.join(home, "outside") }
  try {
    for (const each of [box.recipe, box.outside]) fs.mkdirSync(each)
    fs.writeFileSync(path.join(box.outside, "secret.txt"), secret)
    fs.writeFileSync(path.join(box.recipe, "recipe.slm"), text)
    make(lines, box)
    const before = contents(box.outside)
    const file = readRecipe(path.join(box.recipe, "recipe.slm"))
    if ("message" in file) throw new Error(file.message)
    const size = (of: string): number | null => parseSize(valueOf(lines, of) ?? "")
    const access = accessOf({ allowRead: lines.filter(([of]) => of === "allow").map(([, rest]) => rest), params: new Map(), maxMemory: size("memory"), maxParams: size("params") }, box.recipe)
    const result = await runInFolder(file, { params: new Map(), device: createReference(), ...access })
    assert.equal(contents(box.outside), before, "nothing outside has changed")
    assert.not(fs.existsSync("owned"))
    if ("code" in result) return [`${result.code} at 1:1`]
    assert.is(result.status, "failed")
    assert.not(JSON.stringify(result.diagnostics).includes(secret.trim()), "no secret is told")
    return result.diagnostics.filter((d) => d.severity === "error").map((d) => {
      const { line, column } = positionAt(lineIndex(result.sources.get(d.span.source)?.text ?? text), d.span.start)
      return `${d.code} at ${line}:${column}`
    })
  } finally {
    fs.rmSync(home, { recursive: true, force: true })
  }
}

for (const name of fs.readdirSync(folder).filter((file) => file.endsWith(".slm")).sort()) {
  test(name, async () => {
    const text = fs.readFileSync(path.join(folder, name), "utf8")
    const expected = directives(text).filter(([of]) => of === "expect").map(([, rest]) => rest)
    assert.ok(expected.length > 0, "a case says what is expected")
    const found = await told(name)
    if (process.env["SHOW"] === "1") console.log(name, found.join(", "))
    assert.equal(found, expected)
  })
}

test("there are at least forty hostile recipes", () => {
  const checked = fs.readdirSync(path.join(folder, "..", "reject")).filter((file) => file.endsWith(".slm")).length
  const run = fs.readdirSync(folder).length
  assert.ok(checked >= 40 && run >= 40, `${checked} are refused by the checker, ${run} by the run`)
})

test.run()
