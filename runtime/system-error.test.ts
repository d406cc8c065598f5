import { mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { inFolder } from "./cli/process.fixture.ts"
import { shownPath, systemFailure } from "./system-error.ts"

function caught(body: () => unknown): unknown {
  try {
    body()
  } catch (error) {
    return error
  }
  throw new Error("nothing was thrown")
}

test("errors of the system name what was to be done, where and why", () =>
  inFolder(async (folder) => {
    const file = join(folder, "a")
    writeFileSync(file, "")
    const cases: readonly (readonly [() => unknown, string, RegExp])[] = [
      [() => readFileSync(join(folder, "none")), "SLM3104", /none cannot be read: there is no such file or folder$/],
      [() => readFileSync(folder), "SLM3104", /cannot be read: it is a folder$/],
      [() => readdirSync(file), "SLM3104", /a cannot be read: a file stands where a folder is needed$/],
      [() => mkdirSync(file), "SLM3105", /a cannot be written: something else of that name is in the way$/],
      [() => openSync(join(folder, ".model.gguf.0123456789ab.tmp", "x"), "wx"), "SLM3105", /model\.gguf.x cannot be written: there is no such file or folder$/],
    ]
    for (const [body, code, message] of cases) {
      const failure = systemFailure(caught(body))
      assert.is(failure?.code, code)
      assert.match(failure?.message ?? "", message)
    }
  }))

test("where writing is refused, the help says where results go; reading has no such help", () => {
  const denied = (syscall: string) => systemFailure(Object.assign(new Error("EACCES"), { code: "EACCES", syscall, path: join("x", ".slm") }))
  assert.match(denied("mkdir")?.help ?? "", /work in a copy of the folder/)
  assert.is(denied("scandir")?.help, null)
})

test("mistakes of ours stay what they are", () => {
  assert.is(systemFailure(new TypeError("x is undefined")), null)
  assert.is(systemFailure(caught(() => readFileSync(Symbol("no path") as unknown as string))), null)
  assert.is(systemFailure("text"), null)
})

test("paths are shown as the user stands to them", () => {
  assert.is(shownPath(process.cwd()), ".")
  assert.is(shownPath(join(process.cwd(), "runs", "npc")), join("runs", "npc"))
  assert.is(shownPath(join(process.cwd(), "..", "x")), join("..", "x"))
  assert.is(shownPath("/somewhere/else/entirely"), "/somewhere/else/entirely")
})

test.run()
