import { readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../compiler/check/check.ts"
import { parse } from "../grammar/parse.ts"
import { format } from "../grammar/print.ts"
import { renderDiagnostics } from "../grammar/render.ts"
import { plan } from "../runtime/index.ts"
import { moduleReader } from "../runtime/library.ts"

const root = fileURLToPath(new URL(".", import.meta.url))
const recipes = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".slm") && !/(^|\/)(\.|runs\/)/.test(name)).sort()

for (const name of recipes) {
  test(`${name} has no mistakes and its canonical layout`, () => {
    const source = { id: name, text: readFileSync(join(root, name), "utf8") }
    const checked = check(source, { modules: moduleReader(dirname(join(root, name))), params: new Map(), facts: new Map() })
    assert.is(renderDiagnostics(checked.diagnostics, checked.sources, { color: false }), "")
    assert.ok((checked.recipe?.expects.length ?? 0) > 0, "an example says what it shows with `expect`")
    assert.is(format(parse(source).module, source), source.text)
  })
}

test("the quickstart: a minute for two cores with a C compiler, and a size for WebAssembly alone", async () => {
  for (const [set, least, most] of [[{}, 5e12, 7e12], [{ steps: 250 }, 1e12, 1.5e12]] as const) {
    const report = await plan(join(root, "01-quickstart.slm"), { device: "reference", set })
    assert.equal(report.diagnostics, [])
    const flops = (report.plan?.stages ?? []).reduce((sum, stage) => sum + (stage.flops ?? 0), 0) // whether or not a run has left results
    assert.ok(flops > least && flops <= most, `${flops} operations`)
  }
})

test.run()
