import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { inFolder } from "./cli/process.fixture.ts"
import { hashOfSources } from "./compiler-hash.ts"
import { compilerHash } from "./version.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

test("sources that decide what is computed are in it; tests, printing and line ends are not", () => inFolder(async (folder) => {
  const put = (file: string, text: string): void => {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  for (const place of ["grammar/parse.ts", "compiler/check/check.ts", "runtime/data/bpe.ts", "runtime/devices/cpu.ts", "runtime/export/gguf.ts", "runtime/stages/train.ts", "runtime/weights.ts"]) put(place, `// ${place}\n`)
  for (const name of ["chevrotain", "csv-parse"]) put(`node_modules/${name}/package.json`, '{ "version": "1.0.0" }')
  const first = hashOfSources(folder)
  assert.match(first, /^[0-9a-f]{64}$/)
  const after = (file: string, text: string): string => {
    put(file, text)
    return hashOfSources(folder)
  }
  assert.is(after("runtime/cli/progress.ts", "// prints\n"), first)
  assert.is(after("compiler/check/check.test.ts", "// tests\n"), first)
  assert.is(after("compiler/check/check.ts", "// compiler/check/check.ts\r\n"), first)
  const seen = new Set([first])
  for (const [file, text] of [["compiler/check/check.ts", "// other\n"], ["compiler/check/more.ts", ""], ["runtime/weights.ts", "// other\n"], ["runtime/stages/train.ts", "// other\n"], ["node_modules/chevrotain/package.json", '{ "version": "1.0.1" }']] as const) seen.add(after(file, text))
  assert.is(seen.size, 6)
}))

test("run from its sources, slm has the hash of its sources", () => assert.is(compilerHash(), hashOfSources(root)))

test.run()
