import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { openHashes, type FileHashes } from "./file-hashes.ts"
import { sha256 } from "./files.ts"

const old = new Date("2020-01-01T00:00:00Z")

/** Runs with a file, and a way to look at it as the next run would. */
function withFile(body: (file: string, open: (verify?: boolean) => FileHashes, place: string) => void): void {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slm-hashes-"))
  const [file, place] = [path.join(folder, "a.txt"), path.join(folder, ".slm", "hashes.json")]
  try {
    fs.writeFileSync(file, "one")
    fs.utimesSync(file, old, old)
    body(file, (verify = false) => openHashes(place, verify), place)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

/** Pretends that everything in the cache was read long after its files were last touched. */
function age(place: string): void {
  const text = fs.readFileSync(place, "utf8")
  fs.writeFileSync(place, text.replaceAll(/"at": (\d+)/g, (_, at: string) => `"at": ${Number(at) + 60_000}`))
}

test("what did not change is not read again, unless it is to be verified", () => withFile((file, open, place) => {
  const hashes = open()
  assert.is(hashes.of(file), sha256("one"))
  hashes.save()
  age(place)
  // A lie in the cache shows that it is used.
  fs.writeFileSync(place, fs.readFileSync(place, "utf8").replace(sha256("one"), sha256("lie")))
  assert.is(open().of(file), sha256("lie"))
  const verified = open(true)
  assert.is(verified.of(file), sha256("one"))
  verified.save()
  assert.is(open().of(file), sha256("one"))
}))

test("another size, another time and another file of the same name are read", () => withFile((file, open, place) => {
  const learn = (): void => { const hashes = open(); hashes.of(file); hashes.save(); age(place) }
  learn()
  fs.writeFileSync(file, "two")
  fs.utimesSync(file, old, old) // the content's time is as before; that of its attributes cannot be set
  assert.is(open().of(file), sha256("two"))
  learn()
  fs.writeFileSync(`${file}.new`, "six")
  fs.utimesSync(`${file}.new`, old, old)
  fs.renameSync(`${file}.new`, file)
  assert.is(open().of(file), sha256("six"))
}))

test("a file that was read in the moment it was written is read again", () => withFile((file, open, place) => {
  const hashes = open()
  hashes.of(file)
  hashes.save()
  // Its attributes changed a moment ago, so nothing is believed.
  fs.writeFileSync(place, fs.readFileSync(place, "utf8").replace(sha256("one"), sha256("lie")))
  assert.is(open().of(file), sha256("one"))
}))

test("a damaged cache is as good as none, and forgets files that are gone", () => withFile((file, open, place) => {
  fs.mkdirSync(path.dirname(place), { recursive: true })
  for (const text of ["", "{", '{"version":1,"files":{"a":3}}', '{"version":9,"files":{}}', "null"]) {
    fs.writeFileSync(place, text)
    assert.is(open().of(file), sha256("one"))
  }
  const [hashes, other] = [open(), `${file}.2`]
  fs.writeFileSync(other, "x")
  hashes.of(file)
  hashes.of(other)
  fs.rmSync(other)
  hashes.save()
  assert.not.match(fs.readFileSync(place, "utf8"), other)
}))

test.run()
