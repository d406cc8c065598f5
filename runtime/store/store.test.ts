import builtin from "node:fs"
import * as fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import * as os from "node:os"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { sha256 } from "../files.ts"
import { systemFailure } from "../system-error.ts"
import { openStore } from "./store.ts"

const key = sha256("a stage")
const about = { kind: "bpe", name: "words", facts: { size: 512 } }
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)

function withStore(body: (store: ReturnType<typeof openStore>, root: string, warnings: string[]) => void): void {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "slm-store-"))
  const warnings: string[] = []
  try {
    body(openStore(path.join(root, "store"), (message) => warnings.push(message)), path.join(root, "store"), warnings)
  } finally {
    fs.rmSync(root, { recursive: true, force: true })
  }
}

test("what is put comes back, with what it taught", () => withStore((store, _, warnings) => {
  assert.is(store.has(key), false)
  assert.is(store.get(key), null)
  store.put(key, about, new Map([["a.bin", bytes(1, 2, 3)], ["empty", bytes()]]))
  assert.is(store.has(key), true)
  const entry = store.get(key)
  assert.equal(entry?.about, about)
  assert.equal([...(entry?.files.get("a.bin") ?? [])], [1, 2, 3])
  assert.is(entry?.files.get("empty")?.length, 0)
  assert.equal(warnings, [])
}))

test("numbers that JSON has no word for come back", () => withStore((store) => {
  store.put(key, { ...about, facts: { perplexity: Infinity, loss: NaN, rows: 3 } }, new Map())
  const facts = store.get(key)?.about.facts ?? {}
  assert.is(facts["perplexity"], Infinity)
  assert.ok(Number.isNaN(facts["loss"]))
  assert.is(facts["rows"], 3)
}))

test("a second put replaces the first as a whole", () => withStore((store, root) => {
  store.put(key, about, new Map([["a", bytes(1)], ["b", bytes(2)]]))
  store.put(key, about, new Map([["a", bytes(9)]]))
  assert.equal([...(store.get(key)?.files.keys() ?? [])], ["a"])
  assert.equal(fs.readdirSync(root), [key.slice(0, 16)])
}))

test("a changed byte, a missing file and a cut manifest are noticed", () => withStore((store, _, warnings) => {
  const damages: ((folder: string) => void)[] = [
    (folder) => fs.writeFileSync(path.join(folder, "a"), bytes(1, 2, 4)),
    (folder) => fs.rmSync(path.join(folder, "a")),
    (folder) => fs.writeFileSync(path.join(folder, "entry.json"), "{ \"version\": 1"),
    (folder) => fs.writeFileSync(path.join(folder, "entry.json"), "null"),
    (folder) => fs.writeFileSync(path.join(folder, "entry.json"), `{ "version": 1, "key": "${key}", "about": {}, "files": {} }`),
  ]
  damages.forEach((damage, i) => {
    store.put(key, about, new Map([["a", bytes(1, 2, 3)]]))
    damage(store.folder(key))
    assert.is(store.get(key), null)
    assert.is(warnings.length, i + 1)
    assert.match(warnings[i] ?? "", "is damaged; its stage runs again")
  })
}))

test("where the disk is full, nothing appears, what was there stays, and the mistake names the entry", () => withStore((store, root) => {
  store.put(key, about, new Map([["a", bytes(1)]]))
  const write = builtin.writeSync
  builtin.writeSync = () => { throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC", syscall: "write" }) }
  syncBuiltinESMExports()
  try {
    store.put(key, about, new Map([["a", bytes(2)]]))
    assert.unreachable()
  } catch (error) {
    assert.match(systemFailure(error)?.message ?? String(error), new RegExp(`${key.slice(0, 16)}/a cannot be written: no space is left on the disk`))
  } finally {
    builtin.writeSync = write
    syncBuiltinESMExports()
  }
  assert.equal(fs.readdirSync(root), [key.slice(0, 16)])
  assert.equal([...(store.get(key)?.files.get("a") ?? [])], [1])
}))

test("two keys that begin alike do not answer for each other", () => withStore((store) => {
  store.put(key, about, new Map([["a", bytes(1)]]))
  const other = key.slice(0, 16) + "0".repeat(48)
  assert.is(store.has(other), false)
}))

test("names that leave the entry are refused", () => withStore((store, root) => {
  assert.throws(() => store.put(key, about, new Map([["../x", bytes(1)]])), /not a name/)
  assert.throws(() => store.put(key, about, new Map([["entry.json", bytes(1)]])), /not a name/)
  assert.is(store.has(key), false)
  assert.equal(fs.readdirSync(root), [])
}))

test.run()
