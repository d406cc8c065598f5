/** Recipes shared as text: modules from the web, bundles, keys, written-out defaults. */
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { parse } from "../grammar/parse.ts"
import { check, type Checked } from "../compiler/check/check.ts"
import { recipeKey } from "../compiler/plan/recipe-key.ts"
import { renderDefaults } from "../compiler/render/defaults.ts"
import { bundleRecipe } from "./bundle.ts"
import { inFolder, writeTiny } from "./cli/process.fixture.ts"
import { sha256 } from "./files.ts"
import { run } from "./index.ts"
import { moduleReader, stdlibFolder } from "./library.ts"
import { readRecipe, type RecipeFile } from "./recipe.ts"
import { certificate, serveTexts, type Answer } from "./tls.fixture.ts"

const tsx = import.meta.resolve("tsx")
const main = fileURLToPath(new URL("cli/main.ts", import.meta.url))

interface Ended { readonly code: number | null; readonly out: string; readonly err: string }

/** A process that trusts the test server, with a cache of its own. */
function node(folder: string, args: readonly string[]): Promise<Ended> {
  writeFileSync(join(folder, "ca.pem"), certificate)
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"), XDG_CACHE_HOME: join(folder, "cache"), NO_COLOR: "1" }
  const child = spawn(process.execPath, ["--import", tsx, ...args], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] })
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on("data", (piece: Buffer) => out.push(piece))
  child.stderr.on("data", (piece: Buffer) => err.push(piece))
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out: Buffer.concat(out).toString("utf8"), err: Buffer.concat(err).toString("utf8") })))
}

const slm = (folder: string, ...args: readonly string[]): Promise<Ended> => node(folder, [main, ...args])

function kept(folder: string): readonly string[] {
  const modules = join(folder, "cache", "slm", "modules")
  return existsSync(modules) ? readdirSync(modules) : []
}

test("a module of the web is fetched once, compared with its hash and kept; nothing is fetched without leave", () => inFolder(async (folder) => {
  const inner = "fn twice(x: float) -> float = 2 * x\n"
  const outer = `use "./inner.slm" sha256:${sha256(inner)} { twice }\nfn four(x: float) -> float = twice(twice(x))\n`
  const texts: Readonly<Record<string, string>> = { "lib/outer.slm": outer, "lib/inner.slm": inner }
  const server = await serveTexts((name) => texts[name])
  try {
    const address = `${server.origin}/lib/outer.slm`
    const recipe = (hash: string): void => writeFileSync(join(folder, "a.slm"), `use "${address}"${hash} { four }\nlet v = four(1.0)\nexpect v == 4\n`)
    recipe("")
    const bare = await slm(folder, "check", "a.slm")
    assert.match(bare.err, /error\[SLM2019\][^]*slm check --allow-net/)
    assert.equal([bare.code, server.asked], [1, []], "without leave nothing is asked")
    const told = await slm(folder, "check", "--allow-net", "a.slm")
    assert.match(told.err, `write sha256:${sha256(outer)} behind the address`)
    assert.equal([told.code, kept(folder)], [1, []], "what has no hash is not kept")

    recipe(` sha256:${"0".repeat(64)}`)
    const wrong = await slm(folder, "check", "--allow-net", "a.slm")
    assert.match(wrong.err, new RegExp(`error\\[SLM2020\\][^]*expected sha256:0{64}[^]*found sha256:${sha256(outer)}`))
    assert.equal([wrong.code, kept(folder)], [1, []])

    recipe(` sha256:${sha256(outer)}`)
    assert.match((await slm(folder, "check", "a.slm")).err, /error\[SLM2022\][^]*--allow-net/)
    const good = await slm(folder, "check", "--allow-net", "a.slm")
    assert.equal([good.code, good.err], [0, ""])
    assert.equal(kept(folder), [`${sha256(outer)}.slm`, `${sha256(inner)}.slm`].sort())
    const asked = server.asked.length
    assert.is((await slm(folder, "check", "a.slm")).code, 0, "later it needs no network")
    assert.is((await slm(folder, "check", "--allow-net", "a.slm")).code, 0)
    assert.is(server.asked.length, asked, "and asks for nothing again")

    const damaged = join(folder, "cache", "slm", "modules", `${sha256(inner)}.slm`)
    writeFileSync(damaged, "fn twice(x: float) -> float = 3 * x\n")
    assert.match((await slm(folder, "check", "a.slm")).err, "SLM2022", "a damaged copy is none")
    assert.is((await slm(folder, "check", "--allow-net", "a.slm")).code, 0)
    assert.is(readFileSync(damaged, "utf8"), inner)
  } finally {
    server.close()
  }
}))

test("a server that answers anything else than a text of bounded size in time is refused with the reason", () => inFolder(async (folder) => {
  const answers: Readonly<Record<string, Answer>> = {
    good: "let a = 1\n",
    moved: (_, response) => response.writeHead(302, { location: "/good" }).end(),
    around: (_, response) => response.writeHead(302, { location: "/around" }).end(),
    down: (_, response) => response.writeHead(302, { location: "http://localhost/good" }).end(),
    file: (_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end(),
    large: (_, response) => response.end("x".repeat(3000)),
    endless: (_, response) => { const more = (): void => { if (response.write("x".repeat(1000))) setTimeout(more, 1) }; more() },
    claimed: (_, response) => response.writeHead(200, { "content-length": "99999999999" }).write("x"),
    packed: (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end("x"),
    binary: (_, response) => response.end(Buffer.from([0xff, 0xfe])),
    cut: (_, response) => { response.writeHead(200, { "content-length": "10" }).write("x"); setTimeout(() => response.destroy(), 20) },
    silent: () => {},
  }
  const server = await serveTexts((name) => answers[name])
  try {
    const names = [...Object.keys(answers), "nothing"]
    writeFileSync(join(folder, "ask.mts"), `import { fetchText } from ${JSON.stringify(new URL("fetch-module.ts", import.meta.url).href)}
for (const name of ${JSON.stringify(names)}) console.log(name, JSON.stringify(await fetchText(${JSON.stringify(server.origin)} + "/" + name, { milliseconds: 1500, redirections: 3, bytes: 2000 })))`)
    const ended = await node(folder, [join(folder, "ask.mts")])
    const found = Object.fromEntries(ended.out.trim().split("\n").map((line) => [line.split(" ")[0], JSON.parse(line.slice(line.indexOf(" ") + 1))]))
    const elsewhere = { reason: "it leads on to something other than a plain `https://` address" }
    const large = { reason: "it is larger than 2000 bytes" }
    assert.equal(found, {
      good: { text: "let a = 1\n" }, moved: { text: "let a = 1\n" }, around: { reason: "it leads on more than 3 times" }, down: elsewhere, file: elsewhere, large, endless: large, claimed: large,
      packed: { reason: "the server packed it, which was not asked for" }, binary: { reason: "it is not UTF-8" }, cut: { reason: "the connection broke off" },
      silent: { reason: "no answer within 1.5 seconds" }, nothing: { reason: "the server answered with 404" },
    })
    // Without its certificate among the trusted ones the same server is nobody.
    const untrusted = await fetchHere(`${server.origin}/good`)
    assert.equal(untrusted, { reason: "the server's certificate is signed by nobody that is trusted here" })
  } finally {
    server.close()
  }
}))

async function fetchHere(address: string): Promise<unknown> {
  const { fetchText } = await import("./fetch-module.ts")
  return fetchText(address)
}

// ---------------------------------------------------------------- bundles

function opened(path: string, modules: (folder: string) => ReturnType<typeof moduleReader> = moduleReader): { readonly recipe: RecipeFile; readonly checked: Checked } {
  const recipe = readRecipe(path)
  if ("message" in recipe) throw new Error(recipe.message)
  const checked = check(recipe.source, { modules: modules(recipe.folder), params: new Map(), facts: new Map() })
  assert.equal(checked.diagnostics.map(({ message }) => message), [])
  return { recipe, checked }
}

function keyOf({ recipe, session }: Checked): string {
  return recipe === null ? "" : recipeKey(recipe, session.keys)
}

const examples = fileURLToPath(new URL("../examples/", import.meta.url))

test("every example becomes one text with the same keys, whatever becomes of the library", () => inFolder(async (folder) => {
  // Another version of the library: what it defines is something else, and most of it is gone. Its primitives are those of the compiler.
  const other = (id: string) => {
    if (!id.startsWith("std.")) return null
    const text = readFileSync(join(stdlibFolder, `${id.slice(4)}.slm`), "utf8")
    const primitives = parse({ id, text }).module.items.filter((item) => item.kind === "fn" && item.primitive)
    return { id, text: [...primitives.map(({ span }) => text.slice(span.start, span.end)), "let changed = 3\n"].join("\n") }
  }
  for (const name of readdirSync(examples).filter((file) => /^\w.*\.slm$/.test(file))) {
    const { recipe, checked } = opened(join(examples, name))
    const text = bundleRecipe(recipe, checked, null)
    writeFileSync(join(folder, name), text)
    const alone = opened(join(folder, name), () => other)
    assert.is(keyOf(alone.checked), keyOf(checked), name)
    if (name.startsWith("01")) assert.is(bundleRecipe(alone.recipe, alone.checked, null), text, "bundling again changes nothing")
  }
}))

test("unused parts of the library change no key of the recipe itself", () => inFolder(async (folder) => {
  writeTiny(folder)
  const { checked } = opened(join(folder, "tiny.slm"))
  const grown = (id: string) => (id.startsWith("std.") ? { id, text: `${readFileSync(join(stdlibFolder, `${id.slice(4)}.slm`), "utf8")}\nfn never_used(x: float) -> float = x + 1\n` } : null)
  assert.is(keyOf(opened(join(folder, "tiny.slm"), () => grown).checked), keyOf(checked))
}))

test("modules of files and of the web travel along as they are", () => inFolder(async (folder) => {
  mkdirSync(join(folder, "parts", "deep"), { recursive: true })
  writeFileSync(join(folder, "parts", "a.slm"), 'use "./deep/b.slm" { raw }\n/// Half.\nfn half(x: float) -> float = if raw == "x" then x / 2 else x\n')
  writeFileSync(join(folder, "parts", "deep", "b.slm"), 'let raw = """\n  one\n  """\n')
  writeFileSync(join(folder, "r.slm"), 'use "./parts/a.slm" { half }\nlet v = half(4.0)\nexpect v == 4\n')
  const { recipe, checked } = opened(join(folder, "r.slm"))
  const text = bundleRecipe(recipe, checked, null)
  assert.match(text, 'module "./parts/a.slm" """\nuse "./deep/b.slm" { raw }')
  mkdirSync(join(folder, "elsewhere"))
  writeFileSync(join(folder, "elsewhere", "s.slm"), text)
  assert.is(keyOf(opened(join(folder, "elsewhere", "s.slm"), () => () => null).checked), keyOf(checked))
}))

test("a bundle carries the lock of the last run, and a locked run elsewhere is held to it", () => inFolder(async (folder) => {
  writeTiny(folder)
  const options = { device: "reference", locked: false } as const
  assert.is((await run(join(folder, "tiny.slm"), options)).status, "done")
  const bundled = await slm(folder, "bundle", "tiny.slm", "--out", "elsewhere/tiny.slm")
  assert.equal([bundled.code, bundled.err], [0, ""])
  assert.match(bundled.out, "and its lock")
  writeTiny(join(folder, "elsewhere"), "unused.slm")
  const there = await run(join(folder, "elsewhere", "tiny.slm"), { ...options, locked: true })
  assert.equal([there.status, there.diagnostics.map(({ message }) => message)], ["done", []])
  writeFileSync(join(folder, "elsewhere", "lines.txt"), "other words\n".repeat(24))
  const changed = await run(join(folder, "elsewhere", "tiny.slm"), { ...options, locked: true })
  assert.equal([changed.status, changed.diagnostics.map(({ code }) => code)], ["failed", ["SLM3404"]])
}))

test("every default can be written out without another key; settings become params", () => {
  for (const name of ["01-quickstart.slm", "02-new-parts.slm"]) {
    const { recipe, checked } = opened(join(examples, name))
    const text = renderDefaults(recipe.source, checked)
    const again = check({ id: recipe.source.id, text }, { modules: moduleReader(recipe.folder), params: new Map(), facts: new Map() })
    assert.is(keyOf(again), keyOf(checked), name)
    assert.is(renderDefaults({ id: recipe.source.id, text }, again), text, "nothing is left to write out")
  }
  const { recipe } = opened(join(examples, "01-quickstart.slm"))
  const set = check(recipe.source, { modules: moduleReader(recipe.folder), params: new Map([["steps", "7"]]), facts: new Map() })
  const text = renderDefaults(recipe.source, set)
  assert.match(text, "param steps = 7")
  assert.match(text, /accumulate: 1[^]*seed: 0/)
  assert.match(text, /rope_base: 10000[^]*follows from it: kv_heads 4/)
})

test.run()
