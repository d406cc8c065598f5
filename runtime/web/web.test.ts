/** A page written by `--emit web`, opened in headless Chromium on its software adapter: the text is the device's. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../../compiler/check/check.ts"
import { cpuTargets } from "../../compiler/schedule/cpu.ts"
import { createReference } from "../devices/reference.ts"
import { moduleReader } from "../library.ts"
import { emitNative } from "../native/emit.ts"
import type { Ran } from "../stages/testing.ts"
import { problemsOf, recipeOf, sentences, withFolder } from "../stages/testing.ts"

const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => fs.existsSync(file))
const isBuilt = fs.existsSync(new URL("../../dist/web/slm.js", import.meta.url))
if (chromium === undefined) console.log("  skipped: there is no Chromium")
else if (!isBuilt) console.log("  skipped: dist/web/slm.js is missing; `npm run build` makes it")

/** Opens the emitted page in a frame, asks for a text as a visitor would, and tells this server what it shows. */
const visitor = `<!doctype html><iframe src="index.html"></iframe><script type="module">
const frame = document.querySelector("iframe"), until = async (done) => { while (!done()) await new Promise((go) => setTimeout(go, 50)) }
const part = (id) => frame.contentDocument?.getElementById(id)
await until(() => part("status") && !/^(Loading|Compiling|$)/.test(part("status").textContent))
if (!part("go").disabled) { part("form").requestSubmit(); await until(() => /tokens,|:/.test(part("status").textContent)) }
await fetch("/done", { method: "POST", body: JSON.stringify({ text: part("output").textContent, status: part("status").textContent }) })
</script>`

const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json" }

/** What the page shows when it is done. */
async function visit(browser: string, folder: string, profile: string): Promise<{ readonly text: string; readonly status: string }> {
  let finish: (shown: { text: string; status: string }) => void
  const shown = new Promise<{ text: string; status: string }>((done) => { finish = done })
  const server = createServer((request, response) => {
    if (request.url === "/done") return void request.toArray().then((chunks) => { response.end(); finish(JSON.parse(Buffer.concat(chunks as Buffer[]).toString()) as { text: string; status: string }) })
    const file = path.join(folder, request.url ?? "")
    const body = request.url === "/visitor.html" ? visitor : fs.existsSync(file) ? fs.readFileSync(file) : null
    response.writeHead(body === null ? 404 : 200, { "content-type": types[path.extname(file)] ?? "application/octet-stream" })
    response.end(body ?? "")
  }).listen(0, "127.0.0.1")
  await new Promise((done) => server.once("listening", done))
  const page = spawn(browser, [
    "--headless", "--no-sandbox", "--disable-gpu-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    `--user-data-dir=${profile}`, `http://127.0.0.1:${(server.address() as AddressInfo).port}/visitor.html`,
  ], { stdio: "ignore" })
  const late = new Promise<never>((_, fail) => { setTimeout(fail, 240_000, new Error("the page did not finish in four minutes")).unref() })
  try {
    return await Promise.race([shown, late])
  } finally {
    const gone = new Promise((done) => page.once("exit", done))
    page.kill()
    await gone
    server.close()
    server.closeAllConnections()
  }
}

const samplesOf = (ran: Ran): readonly { readonly text: string; readonly prompt: string }[] => ran.events.flatMap((e) => (e.event === "sample" ? [e] : []))

if (chromium !== undefined && isBuilt) {
  test("a page continues a text as the device does, from packed weights", () => withFolder(async (place) => {
    place.write("book.txt", sentences(40))
    const recipe = recipeOf(`
book = text("book.txt") |> documents(by: paragraph) |> split(valid: 20%, unused: allow)
words = bpe(book.train, size: 280)
tokens = book |> encode(words) |> pack(length: 16)
model Tiny = Llama(vocab: words.size, dim: 32, depth: 2, heads: 2, context: 24)
result = train Tiny { data: tokens.train, objective: next_token, batch: 4 sequences, optim: adamw(lr: 1e-2), steps: 20 }
small = quantize result { format: q8_0 }
told = generate small { prompts: ["the <deep> ship"], tokens: 12, temperature: 0, precision: bf16 }`)
    const device = createReference()
    const ran = await place.run(recipe, { device })
    assert.equal(problemsOf(ran).filter((problem) => !/context/.test(problem)), [])
    const source = { id: "recipe.slm", text: recipe }
    const stage = check(source, { modules: moduleReader(place.folder), params: new Map(), facts: new Map() }).recipe?.stages.find((s) => s.name === "told")
    if (stage === undefined) throw new Error("there is no stage told")
    const out = path.join(place.folder, "web")
    const emitted = await emitNative({
      recipe: { source, folder: place.folder, name: "recipe" }, params: new Map(), stage, target: cpuTargets.portable, form: "web", device, out, allowRead: [], signal: null, emit: () => {}, warn: () => {},
    })
    assert.equal(emitted.diagnostics, [])
    const model = JSON.parse(fs.readFileSync(path.join(out, "model.json"), "utf8")) as { signature: { inputs: { stored: string | null }[] }; program: { shaders: { file: string }[] } }
    assert.ok(model.signature.inputs.some(({ stored }) => stored === "i8"), "the weights are packed")
    assert.ok(model.program.shaders.every(({ file }) => fs.existsSync(path.join(out, file))))
    assert.ok(model.program.shaders.some(({ file }) => fs.readFileSync(path.join(out, file), "utf8").includes("narrow_bf16")), "factors are rounded")
    const { text, status } = await visit(chromium, out, path.join(place.folder, "profile"))
    assert.match(status, /^\d+ tokens, .* a second, on google swiftshader/)
    const [sample] = samplesOf(ran)
    assert.is(text, `${sample?.prompt}${sample?.text}`)
  }))
}

test.run()
