import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"

/** Data flows one way: a room may import itself and what stands before it. */
const order = ["grammar", "compiler", "runtime"] as const

interface Import { readonly file: string; readonly from: string }

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.name === "node_modules") return []
    if (entry.isDirectory()) return sources(path)
    return entry.name.endsWith(".ts") ? [path] : []
  })
}

function imports(file: string): Import[] {
  const text = readFileSync(file, "utf8")
  const pattern = /(?:^|\n)\s*(?:import|export)\b[^"';]*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s*"([^"]+)"/g
  return [...text.matchAll(pattern)].map((m) => ({ file, from: m[1] ?? m[2] ?? m[3] ?? "" }))
}

function room(path: string): number {
  return order.findIndex((name) => path.startsWith(name + "/"))
}

/** Tests, and what only tests use: these may read files and use packages of development. */
function isForTests(file: string): boolean {
  return /\.(test|fixture)\.ts$/.test(file)
}

test("imports go one way: grammar, compiler, runtime", () => {
  const wrong: string[] = []
  for (const [index, folder] of order.entries()) {
    for (const { file, from } of sources(folder).flatMap(imports)) {
      if (!from.startsWith(".")) continue
      const target = normalize(join(dirname(file), from))
      if (room(target) > index) wrong.push(`${file} imports ${target}`)
    }
  }
  assert.equal(wrong, [])
})

test("the grammar and the compiler are pure: no file system, clock, environment or device", () => {
  const wrong: string[] = []
  const allowed = new Set(["chevrotain", "ts-morph"])
  for (const folder of ["grammar", "compiler"]) {
    for (const file of sources(folder)) {
      if (isForTests(file)) continue
      for (const { from } of imports(file)) if (!from.startsWith(".") && !allowed.has(from)) wrong.push(`${file} imports ${from}`)
      const code = readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")
      for (const word of code.matchAll(/\b(Date\.now|new Date|performance\.now|process\.|Math\.random|fetch\(|setTimeout)/g)) wrong.push(`${file} uses ${word[1]}`)
    }
  }
  assert.equal(wrong, [])
})

test("only tests import fixtures", () => {
  const wrong = order.flatMap(sources).filter((file) => !isForTests(file)).flatMap(imports).filter(({ from }) => isForTests(from))
  assert.equal(wrong.map(({ file, from }) => `${file} imports ${from}`), [])
})

test("the compiler's graph knows nothing of the language", () => {
  const wrong = sources("compiler/graph")
    .filter((file) => !file.includes("/lower/"))
    .flatMap(imports)
    .filter(({ from }) => from.includes("grammar/") || from.includes("/check/"))
  assert.equal(wrong.map(({ file, from }) => `${file} imports ${from}`), [])
})

test("no test is switched off or singled out", () => {
  const wrong = [...order, "spec"].flatMap(sources).filter((file) => file.endsWith(".test.ts") && /\btest\.only\(/.test(readFileSync(file, "utf8")))
  assert.equal(wrong.filter((file) => !file.endsWith("imports.test.ts")), [])
})

test.run()
