import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { extname, join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { createBuilder } from "../../compiler/graph/builder.ts"
import type { Node } from "../../compiler/graph/node.ts"
import * as g from "../../compiler/graph/ops.ts"
import type { Device, Runner } from "../device.ts"
import { checkDevice, conformanceCases, runCase } from "./conformance.ts"
import { coresAvailable, detectFamily, findToolchain } from "./cpu-build.ts"
import { layoutPath } from "./cpu-cache.ts"
import { checkMerged, merged } from "./cpu-testing.ts"
import type { CpuOptions } from "./cpu.ts"
import { openCpu } from "./cpu.ts"
import { f32, fiftySteps, plainCases, programOf, tradingPlaces, waves } from "./device.fixture.ts"
import { isUsable } from "./open.ts"
import { createReference } from "./reference.ts"

/** The device, or null after saying why there is none: a machine without a C compiler skips these tests. */
async function cpu(options: CpuOptions = {}): Promise<Device | null> {
  const device = await openCpu(options)
  if (isUsable(device)) return device
  console.log(`  skipped: ${device.reason}`)
  return null
}

test("every op and every gradient agrees with the reference", async () => {
  const device = await cpu()
  if (device === null) return
  assert.equal(await checkMerged(device, createReference(), plainCases()), [])
})

test("training steps agree with the reference", async () => {
  const device = await cpu()
  if (device === null) return
  assert.equal(await checkDevice(device, conformanceCases("training")), [])
})

test("one, two and three threads give the same bits", async () => {
  for (const item of [merged(plainCases()), ...conformanceCases("training")]) {
    const [one, two, three] = await Promise.all([cpu({ threads: 1 }), cpu({ threads: 2 }), cpu({ threads: 3 })])
    if (one === null || two === null || three === null) return
    const expected = await runCase(one, item)
    assert.equal(await runCase(two, item), expected)
    assert.equal(await runCase(three, item), expected)
  }
})

test("fifty steps of training stay beside the reference", async () => {
  const device = await cpu()
  if (device !== null) await fiftySteps(device)
})

test("products of large odd sizes, in every storage, with what follows them", async () => {
  const device = await cpu()
  if (device === null) return
  const item = waves({ absolute: 2e-5, relative: 1e-5 }, (input, b) => {
    const outputs: Record<string, Node> = {}
    for (const [m, k, n] of [[211, 401, 97], [97, 211, 401], [50, 777, 51], [1, 257, 131], [3, 64, 1000], [430, 130, 64]] as const) {
      for (const [ta, tb] of [[false, false], [false, true], [true, false], [true, true]] as const) {
        const y = g.dot(b, ta ? input(k, m) : input(m, k), tb ? input(n, k) : input(k, n), ta, tb)
        const scale = input(n)
        outputs[`${m}x${k}x${n} ${ta} ${tb}`] = g.layerNorm(b, g.geluTanh(b, y), scale, scale, 1e-5)
        outputs[`${m}x${k}x${n} ${ta} ${tb} columns`] = g.sum(b, g.mul(b, y, y), [0])
      }
    }
    return outputs
  })
  assert.equal(await checkDevice(device, [item]), [])
})

test("few rows with what follows them place by place, and what the same head puts and attends to", async () => {
  const item = waves({ absolute: 2e-5, relative: 1e-5 }, (input, b) => {
    const outputs: Record<string, Node> = {}
    for (const [m, k, n] of [[1, 64, 1030], [3, 37, 517], [7, 130, 24], [1, 5, 1]] as const) outputs[`${m}x${k}x${n}`] = g.gelu(b, g.add(b, g.dot(b, input(m, k), input(n, k), false, true), input(m, n)))
    for (const [batch, heads, places, depth] of [[1, 5, 19, 24], [3, 4, 7, 16]] as const) {
      const offset = g.cast(b, g.mul(b, g.reshape(b, g.slice(b, input(batch, 1), [0, 0], [batch, 1]), [batch]), 0), "i32")
      const put = (): Node => b.make("put", { axis: 2 }, [input(batch, heads, places, depth), input(batch, heads, 1, depth), g.add(b, offset, 4)])
      outputs[`attend ${batch} ${heads}`] = g.attend(b, input(batch, heads, 1, depth), put(), put(), { causal: true, offset: g.add(b, offset, 4) })
    }
    return outputs
  })
  const devices = await Promise.all([cpu({ threads: 1 }), cpu({ threads: 2 }), cpu({ threads: 3 })])
  const [one, ...others] = devices
  if (one === undefined || one === null) return
  assert.equal(await checkDevice(one, [item]), [])
  for (const other of others) if (other !== null) assert.equal(await runCase(other, item), await runCase(one, item))
})

test("states that trade places, and one that is also returned", async () => {
  const device = await cpu()
  if (device !== null) await tradingPlaces(device)
})

test("states are lent to another program, hashed where they lie, and zeros are zeros", async () => {
  const device = await cpu()
  if (device === null) return
  const load = async (): Promise<Runner & Required<Pick<Runner, "lend" | "take" | "hashes">>> => {
    const b = createBuilder()
    const [s, x] = [b.input("s", "state", "f32", [3]), b.input("x", "batch", "f32", [3])]
    const { lend, take, hashes, ...rest } = await device.load(programOf([s, x], { s: g.add(b, s, x), seen: g.mul(b, s, x) }))
    if (lend === undefined || take === undefined || hashes === undefined) throw new Error("the device lends nothing")
    return { ...rest, lend, take, hashes }
  }
  const [from, to] = [await load(), await load()]
  await from.write("s", f32([3], [0, -0, 0]))
  assert.equal(await from.read("s"), f32([3], [0, -0, 0]))
  await from.step({ x: f32([3], [1, 2, 3]) })
  await from.write("s", f32([3], [0, 0, 0]))
  assert.equal(await from.read("s"), f32([3], [0, 0, 0]), "zeros are written where something else was")
  assert.throws(() => to.lend("s"), /state s was never set/)
  await from.step({ x: f32([3], [1, 2, 3]) })
  to.take(new Map([["s", from.lend("s")], ["x", from.lend("s")]]))
  assert.equal((await to.step({}))["seen"], f32([3], [1, 4, 9]))
  assert.match(await to.step({}).then(() => "nothing", String), /lacks x/, "what was lent for a batch holds for one step")
  assert.equal(await from.read("s"), f32([3], [1, 2, 3]))
  assert.equal(await to.read("s"), f32([3], [2, 4, 6]))
  const [mine, other] = [await from.hashes(["s"]), await to.hashes(["s"])]
  await from.write("s", f32([3], [2, 4, 6]))
  assert.is.not(mine.get("s"), other.get("s"))
  assert.equal(await from.hashes(["s"]), other)
  assert.throws(() => to.take(new Map([["s", { name: "s", dtype: "f32", shape: [3] }]])), /lent by another device/)
  for (const runner of [from, to]) runner.dispose()
})

test("wrong calls are refused with the name of the input", async () => {
  const device = await cpu()
  if (device === null) return
  const b = createBuilder()
  const [s, x] = [b.input("s", "state", "f32", [2]), b.input("x", "batch", "f32", [2])]
  const runner = await device.load(programOf([s, x], { y: g.add(b, s, x) }))
  const refused = async (call: Promise<unknown>, pattern: RegExp): Promise<void> => {
    const problem = await call.then(() => "nothing", String)
    assert.match(problem, pattern)
  }
  await refused(runner.step({ x: f32([2], [1, 2]) }), /state s was never set/)
  await runner.write("s", f32([2], [1, 2]))
  await refused(runner.step({}), /lacks x/)
  await refused(runner.step({ x: f32([3], [1, 2, 3]) }), /x is f32\[3\] instead of f32\[2\]/)
  await refused(runner.write("x", f32([2], [1, 2])), /no state input x/)
  runner.dispose()
})

test("Node's loop goes on while a step runs", async () => {
  const device = await cpu({ threads: 1 })
  if (device === null) return
  const b = createBuilder()
  const x = b.input("x", "state", "f32", [1024, 1024])
  const runner = await device.load(programOf([x], { y: g.sum(b, g.dot(b, g.dot(b, x, x), x)) }))
  await runner.write("x", f32([1024, 1024], new Float32Array(1024 * 1024)))
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  for (let i = 0; i < 5; i++) await runner.step({})
  clearInterval(timer)
  assert.ok(turns > 0)
  runner.dispose()
})

test("a program is compiled once, and found again until its text or its generator changes", async () => {
  const toolchain = await findToolchain(process.env)
  if ("reason" in toolchain) return console.log(`  skipped: ${toolchain.reason}`)
  const b = createBuilder()
  const x = b.input("x", "batch", "f32", [3])
  const [one, two] = [programOf([x], { y: g.add(b, x, 1) }), programOf([x], { y: g.add(b, x, 2) })]
  assert.is(layoutPath(toolchain, one), layoutPath(toolchain, one))
  assert.is.not(layoutPath(toolchain, one), layoutPath(toolchain, two))
  assert.is.not(layoutPath(toolchain, one), layoutPath({ ...toolchain, version: "another" }, one))
  const folder = mkdtempSync(join(tmpdir(), "slm-cpu-"))
  // Without tiles: asking the system for them takes a program of its own.
  const device = await openCpu({ env: { ...process.env, XDG_CACHE_HOME: folder }, tiles: false })
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
  for (const wanted of [3, 3]) {
    const runner = await device.load(two)
    assert.equal((await runner.step({ x: f32([3], [1, 1, 1]) }))["y"], f32([3], [wanted, wanted, wanted]))
    runner.dispose()
    // The mark of the compiler that works; text, object and layout of the program. Nothing half made.
    assert.equal(readdirSync(join(folder, "slm", "cpu")).map((name) => extname(name)).sort(), [".c", ".gch", ".h", ".json", ".so", ".works"])
  }
  rmSync(folder, { recursive: true, force: true })
})

test("without a compiler the device is unusable, with a reason and a way out", async () => {
  const device = await openCpu({ env: { ...process.env, CC: "/nowhere/cc" } })
  assert.not.ok(isUsable(device))
  if (isUsable(device)) return
  assert.match(device.reason, /CC names, "\/nowhere\/cc", does not run/)
  assert.match(device.help, /install gcc or clang/)
})

test("a compiler that fails and a cache that cannot be written say so", async () => {
  const broken = await openCpu({ env: { ...process.env, CC: "false", XDG_CACHE_HOME: "/dev/null/nowhere" } })
  assert.ok("reason" in broken && /does not run/.test(broken.reason))
  if ((await cpu()) === null) return
  const full = await openCpu({ env: { ...process.env, XDG_CACHE_HOME: "/dev/null/nowhere" } })
  assert.ok("reason" in full && /could not be written/.test(full.reason), JSON.stringify(full))
})

test("the instruction family follows the processor's feature bits", () => {
  assert.is(detectFamily("flags\t\t: fpu avx2 fma avx512f avx512dq avx512bw avx512vl\n", "x64"), "avx512")
  assert.is(detectFamily("flags : fpu avx2 fma avx512f\n", "x64"), "avx2")
  assert.is(detectFamily("flags : fpu sse2\n", "x64"), "portable")
  assert.is(detectFamily(null, "arm64"), "neon")
  assert.ok(coresAvailable() >= 1)
})

test("the device says what it is", async () => {
  const device = await cpu({ threads: 2 })
  if (device === null) return
  assert.match(device.info.detail, /^generated C, \w+( and AMX)?, 2 threads, .*\d/)
  assert.match(device.info.numericsClass, /^cpu\/\w+(-amx)?\/f32\/\d+$/)
})

test.run()
