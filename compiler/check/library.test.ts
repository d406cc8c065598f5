import { test } from "uvu"
import * as assert from "uvu/assert"
import { renderDiagnostics } from "../../grammar/render.ts"
import { checkModule } from "./check.ts"
import { primitives } from "./primitives/table.ts"
import { library } from "./check-text.fixture.ts"

test("every primitive of the prelude has a meaning, and every meaning a primitive", () => {
  const declared = (library.get("std.prelude")?.module?.items ?? []).flatMap((item) => (item.kind === "fn" && item.primitive ? [item.name.name] : []))
  assert.equal([...primitives.keys()].sort(), declared.sort())
})

for (const source of library.values()) {
  test(`the definitions of ${source.id} are right by themselves`, () => {
    const checked = checkModule(source, { modules: (id) => library.get(id) ?? null, params: new Map(), facts: new Map() })
    assert.is(renderDiagnostics(checked.diagnostics, checked.sources, { color: false }), "")
  })
}

test.run()
