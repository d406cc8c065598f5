/** A program that is used again stays in the cache: `slm gc` goes by the last use. */
import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { unusedPrograms } from "../store/tidy.ts"
import { recall, remember } from "./cpu-cache.ts"

test("using a program marks its layout, object and text as used", () => {
  const folder = mkdtempSync(join(tmpdir(), "slm-cache-"))
  const [layout, object, text] = ["program.json", "step.so", "step.c"].map((name) => join(folder, name)) as [string, string, string]
  const wanted = { object, arena: 64, again: 0, inputs: { x: 0 }, outputs: {} }
  remember(layout, wanted)
  for (const file of [object, text]) writeFileSync(file, "")
  const longAgo = new Date(Date.now() - 40 * 86_400_000)
  for (const file of [layout, object, text]) utimesSync(file, longAgo, longAgo)
  assert.is(unusedPrograms(folder).length, 3)
  assert.equal(recall(layout), wanted)
  assert.equal(unusedPrograms(folder), [])
  // Within a day nothing is written.
  const { mtimeMs } = statSync(object)
  recall(layout)
  assert.is(statSync(object).mtimeMs, mtimeMs)
  rmSync(object)
  assert.is(recall(layout), null)
  rmSync(folder, { recursive: true })
})

test.run()
