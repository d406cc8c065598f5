/** A compiler that is broken and a cache that is full or may not be written: a reason, a way out, and another device. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node, NodeOf, Program } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import { findToolchain } from "./cpu-build.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const here = fs.mkdtempSync(path.join(tmpdir(), "slm-broken-"))
const compiler = await findToolchain(process.env)
if ("reason" in compiler) console.log(`  skipped: ${compiler.reason}`)

function script(name: string, text: string): string {
  const file = path.join(here, name)
  fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return file
}

test("a compiler that lies, hangs, crashes or writes nonsense is found out before anything depends on it", async () => {
  if ("reason" in compiler) return
  const cases: readonly (readonly [name: string, text: string, reason: RegExp])[] = [
    ["hangs", "sleep 60", /CC names, ".*hangs", does not run: it did not end within 1\.0 s/],
    ["hangs-later", 'case "$1" in --version) echo cc 1;; *) sleep 60;; esac', /could not compile a program of a few lines: it did not end within 1\.0 s/],
    ["crashes", 'case "$1" in --version) echo cc 1;; *) kill -SEGV $$;; esac', /could not compile a program of a few lines: it was stopped by SIGSEGV/],
    ["garbage", "echo '#$%&'; exit 0", /that .*garbage compiled does not run: there is no such program/],
    ["nonsense", 'case "$1" in --version) echo cc 1;; *) while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"; chmod +x "$2";; esac', /that .*nonsense compiled does not run/],
    ["wrong", `case "$1" in --version) echo cc 1;; *) while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh\\necho slm 41\\n' > "$2"; chmod +x "$2";; esac`, /it yields another number than it must/],
    ["complains", 'case "$1" in --version) echo cc 1;; *) echo "cc1: internal compiler error" >&2; exit 1;; esac', /a few lines: cc1: internal compiler error/],
  ]
  for (const [name, text, reason] of cases) {
    const device = await openCpu({ env: { ...process.env, CC: script(name, text), XDG_CACHE_HOME: path.join(here, `cache-${name}`) }, patience: 1 })
    assert.not.ok(isUsable(device), name)
    if (isUsable(device)) continue
    assert.match(device.reason, reason)
    assert.match(device.help, /install gcc or clang/)
    assert.equal(fs.existsSync(path.join(here, `cache-${name}`, "slm", "cpu")) ? fs.readdirSync(path.join(here, `cache-${name}`, "slm", "cpu")) : [], [], `${name} leaves nothing behind`)
  }
})

/** A program that adds up x as often as told. */
function times(count: number): Program {
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [2])
  const sum = Array.from({ length: count - 1 }).reduce((sum: Node) => g.add(b, sum, x), x)
  return { name: "times", inputs: [x] as readonly NodeOf<"input">[], outputs: [{ name: "y", node: sum }] }
}

test("the first program has the system's headers translated for the others; translations that are damaged or refused cost only time", async () => {
  if ("reason" in compiler) return
  const cache = path.join(here, "headers", "slm", "cpu")
  const log = path.join(here, "headers.log")
  const CC = script("logs", `echo "$@" >> "${log}"; exec ${compiler.command} "$@"`)
  const refuses = script("refuses", `case "$*" in *-include*) echo refused >> "${log}"; exit 1;; esac; exec "${CC}" "$@"`)
  const open = (command: string) => openCpu({ env: { ...process.env, CC: command, XDG_CACHE_HOME: path.join(here, "headers") } })
  const included = (): number => fs.readFileSync(log, "utf8").split("\n").filter((line) => line.includes("-include")).length
  const gives = async (command: string, count: number): Promise<void> => {
    const device = await open(command)
    assert.ok(isUsable(device))
    if (!isUsable(device)) return
    const runner = await device.load(times(count))
    assert.equal((await runner.step({ x: { shape: [2], dtype: "f32", data: Float32Array.of(1, 2) } }))["y"]?.data, Float32Array.of(count, 2 * count))
    runner.dispose()
  }
  await gives(CC, 2)
  const [translated = ""] = fs.readdirSync(cache).filter((name) => name.endsWith(".gch"))
  assert.ok(translated.endsWith(".h.gch") && included() === 0)
  await gives(CC, 3)
  assert.equal(included(), 1)
  await gives(refuses, 4)
  assert.match(fs.readFileSync(log, "utf8"), /refused/)
  fs.writeFileSync(path.join(cache, translated), "half a file")
  await gives(CC, 5)
  assert.equal(included(), 2)
})

test("a damaged object in the cache is made again", async () => {
  const cache = path.join(here, "damaged")
  const device = await openCpu({ env: { ...process.env, XDG_CACHE_HOME: cache } })
  if (!isUsable(device)) return
  const program = times(2)
  ;(await device.load(program)).dispose()
  const [object = ""] = fs.readdirSync(path.join(cache, "slm", "cpu")).filter((name) => name.endsWith(".so"))
  // Another file under the name: the one that is loaded stays as it is.
  fs.rmSync(path.join(cache, "slm", "cpu", object))
  fs.writeFileSync(path.join(cache, "slm", "cpu", object), "half a file")
  const runner = await device.load(program)
  assert.equal((await runner.step({ x: { shape: [2], dtype: "f32", data: Float32Array.of(1, 2) } }))["y"]?.data, Float32Array.of(2, 4))
  runner.dispose()
})

/** What a process of its own says, after these commands in a name space where they touch nobody else. */
function apart(commands: string, env: Readonly<Record<string, string>>): { readonly cpu: { readonly reason: string; readonly help: string } | null; readonly chosen: string; readonly passed: readonly string[] } | null {
  const run = `${commands} && exec "${process.execPath}" --import tsx runtime/devices/cpu-broken.fixture.ts`
  const ended = spawnSync("unshare", ["-rm", "sh", "-c", run], { cwd: root, encoding: "utf8", env: { ...process.env, ...env } })
  if (ended.status !== 0) {
    console.log(`  skipped: ${ended.error?.message ?? ended.stderr.trim().split("\n")[0] ?? ""}`)
    return null
  }
  return JSON.parse(ended.stdout)
}

test("a full disk and a folder that may not be written are told, and tfjs takes over", () => {
  if ("reason" in compiler) return
  const cache = path.join(here, "disk")
  fs.mkdirSync(cache)
  const full = apart(`mount -t tmpfs -o size=16k tmpfs "${cache}" && (head -c 12000 /dev/zero > "${cache}/filler")`, { XDG_CACHE_HOME: cache })
  if (full !== null) {
    assert.match(full.cpu?.reason ?? "", /no space is left on the disk|No space left on device/)
    assert.match(full.cpu?.help ?? "", /XDG_CACHE_HOME|free some disk space/)
    assert.equal([full.chosen, full.passed.at(-1)], ["tfjs", "cpu"])
  }
  const readOnly = apart(`mount -t tmpfs -o ro tmpfs "${cache}"`, { XDG_CACHE_HOME: cache })
  if (readOnly !== null) {
    assert.match(readOnly.cpu?.reason ?? "", /could not be written to .*: the disk is read-only/)
    assert.equal([readOnly.chosen, readOnly.passed.at(-1)], ["tfjs", "cpu"])
  }
})

test.after(() => fs.rmSync(here, { recursive: true, force: true }))
test.run()
