/**
 * What a run leaves when it is killed, when the disk refuses, and when bits flip: never a result that is wrong, always a way on,
 * and in the end the bits of a run that was left alone. Moments are drawn with a seed that is printed: SLM_SEED repeats one.
 */
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { sha256 } from "../files.ts"
import { readEntry, readManifest } from "../store/entry.ts"
import { build, inFolder, objects, slm, writeTiny, type Ended } from "./process.fixture.ts"

const faults = suite("faults")
const preload = fileURLToPath(new URL("./faults.fixture.mjs", import.meta.url))
const seed = Number(process.env["SLM_SEED"] ?? 20_261_126)

const recipe = `use std.models { Llama }
use std.optim { adamw, clip_norm, cosine }

lines = text("lines.txt") |> documents(by: line) |> split(valid: 20%)
letters = char(lines.train)
tokens = lines |> encode(letters) |> pack(length: 8)
model Tiny = Llama(vocab: letters.size, dim: 32, depth: 1, heads: 2, context: 16)
teacher = train Tiny {
  data: tokens.train, valid: tokens.valid, objective: next_token, batch: 2 sequences, steps: 5, optim: adamw(lr: cosine(peak: 0.01)) |> clip_norm(1.0)
}
student = distill teacher into Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, steps: 5, optim: adamw(lr: 0.01) }
pocket = quantize student { format: q8_0 }
expect perplexity(pocket, tokens.valid) < 1000
export pocket { gguf: "pocket.gguf" }
`

interface Fault { readonly at: number; readonly how: "kill" | "ENOSPC" | "EIO" | "count"; readonly stays?: boolean }

function run(cwd: string, fault: Fault | null = null, killAfter: number | null = null): Promise<Ended> {
  const args = ["run", "tiny.slm", "--device", "reference", "--checkpoint", "0", "--json"]
  return slm(args, { cwd, ...(fault === null ? {} : { node: ["--import", preload], env: { SLM_FAULT: JSON.stringify(fault) } }), ...(killAfter === null ? {} : { killAfter }) })
}

/** Everything a run yields, by name; what has a clock in it, and the records of earlier runs, are left out. */
function yielded(cwd: string): Readonly<Record<string, string>> {
  const root = join(cwd, "runs", "tiny")
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(root, name)).isFile() && !/^(earlier[\\/].*|events.*\.jsonl|run\.yaml|report\.html)$/.test(name) && !name.endsWith(".tmp"))
  return Object.fromEntries([...files.map((name) => [name, sha256(readFileSync(join(root, name)))]), ["lock", sha256(readFileSync(join(cwd, "tiny.lock")))]].sort())
}

/** What bears its final name in the store is whole. */
function wholeStore(cwd: string): void {
  const root = join(cwd, ".slm", "store")
  for (const name of existsSync(root) ? readdirSync(root) : []) {
    if (!/^[0-9a-f]{16}$/.test(name)) continue
    const key = readManifest(join(root, name))?.key
    assert.ok(key !== undefined && readEntry(join(root, name), key) !== null, `${name} is damaged`)
  }
}

/** Numbers in [0, 1) that depend on the seed alone. */
function drawn(start: number): () => number {
  let x = start >>> 0
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return x / 2 ** 32
  }
}

const resumed = (ended: Ended): readonly unknown[] => objects(ended.out).flatMap((o) => (o["event"] === "resumed" ? [o["step"]] : []))
const warnings = (ended: Ended): string => ended.err + objects(ended.out).flatMap((o) => (o["event"] === "warning" ? [o["message"]] : [])).join("\n")

/** A run that was left alone: its folder, what it yielded, how many calls it made and how long it took. */
interface Undisturbed { readonly files: Readonly<Record<string, string>>; readonly calls: number; readonly milliseconds: number }
let undisturbed: Undisturbed = { files: {}, calls: 0, milliseconds: 0 }
let dispose = (): void => {}

faults.before(async () => {
  dispose = (await build()).dispose
  await inFolder(async (cwd) => {
    writeTiny(cwd, "tiny.slm", recipe)
    const start = performance.now()
    const ended = await run(cwd, { at: 0, how: "count" })
    assert.is(ended.code, 0, ended.err + ended.out)
    undisturbed = { files: yielded(cwd), calls: Number(/calls (\d+)/.exec(ended.err)?.[1]), milliseconds: performance.now() - start }
  })
  assert.ok(undisturbed.calls > 300 && Object.keys(undisturbed.files).length > 8, JSON.stringify(undisturbed))
})
faults.after(() => dispose())

/** Runs until it is done, being killed by chance; yields how often. */
async function killedUntilDone(cwd: string, random: () => number): Promise<number> {
  for (let kills = 0; ; kills++) {
    const inCall = random() < 0.6
    const at = 1 + Math.floor(random() * undisturbed.calls * 0.5)
    const ended = await (inCall ? run(cwd, { at, how: "kill" }) : run(cwd, null, 100 + random() * undisturbed.milliseconds * 0.7))
    wholeStore(cwd)
    if (ended.signal === "SIGKILL") continue
    assert.is(ended.code, 0, ended.err + ended.out)
    assert.not.match(warnings(ended), /damaged/)
    return kills
  }
}

faults("killed at 64 moments or more, in the middle of writes and between them, it ends with the bits of a run that was left alone", async () => {
  const random = drawn(seed)
  const laps = async (least: number): Promise<number> => {
    let kills = 0
    while (kills < least) {
      await inFolder(async (cwd) => {
        writeTiny(cwd, "tiny.slm", recipe)
        kills += await killedUntilDone(cwd, random)
        assert.equal(yielded(cwd), undisturbed.files)
        // A process that is killed between storing a result and releasing its hold leaves the hold: it is nobody's, and goes with the rest.
        assert.is((await slm(["gc", "--yes"], { cwd })).code, 0)
        assert.equal(readdirSync(join(cwd, ".slm", "store")).filter((name) => !/^[0-9a-f]{16}$|\.tmp$/.test(name)), [])
      })
    }
    return kills
  }
  const kills = (await Promise.all([laps(32), laps(32)])).reduce((sum, n) => sum + n, 0)
  console.log(`  ${kills} kills, seed ${seed}`)
})

faults("a disk that is full from some moment on, or fails once, ends a run with its reason, keeps what was good, and is made up for", async () => {
  const random = drawn(seed + 1)
  const cases = Array.from({ length: 16 }, (_, i) => ({ at: 1 + Math.floor(((i + random()) / 16) * undisturbed.calls), how: i % 2 === 0 ? "ENOSPC" : "EIO", stays: i % 4 < 2 }) as const)
  let refusals = 0
  const one = async (fault: Fault): Promise<void> => inFolder(async (cwd) => {
    writeTiny(cwd, "tiny.slm", recipe)
    const ended = await run(cwd, fault)
    const shown = `${JSON.stringify(fault)}\n${ended.err}${ended.out.slice(-2000)}`
    assert.ok(ended.code === 0 || ended.code === 1, shown)
    assert.not.match(ended.err + ended.out, /bug in slm|\n\s+at .*:\d+:\d+/)
    wholeStore(cwd)
    if (ended.code === 1) {
      refusals++
      const reasons = objects(ended.out).flatMap((o) => (o["event"] === "diagnostic" ? [`${String(o["code"])} ${String(o["message"])}`] : []))
      assert.ok(reasons.length > 0 && reasons.every((reason) => /^SLM3(105|104|501|604) .*(no space is left on the disk|the disk reports an error)/.test(reason)), `${reasons.join("\n")}\n${shown}`)
    }
    const checkpoints = existsSync(join(cwd, ".slm", "store")) ? readdirSync(join(cwd, ".slm", "store")).filter((name) => name.endsWith(".partial")) : []
    const good = checkpoints.some((name) => readdirSync(join(cwd, ".slm", "store", name)).some((step) => /^\d{12}$/.test(step)))
    const again = await run(cwd)
    assert.is(again.code, 0, shown + again.err + again.out)
    if (good) assert.ok(resumed(again).length > 0, `the last good checkpoint was not used\n${shown}`)
    assert.not.match(warnings(again), /damaged/)
    assert.equal(yielded(cwd), undisturbed.files)
  })
  const queue = [...cases]
  await Promise.all([0, 1].map(async () => { for (let next = queue.shift(); next !== undefined; next = queue.shift()) await one(next) }))
  assert.ok(refusals >= 8, `only ${refusals} of ${cases.length} runs were refused anything`)
})

faults("a disk that is really full says so, and with more room the run goes on", async () => inFolder(async (cwd) => {
  const disk = join(cwd, "disk")
  mkdirSync(disk)
  if (process.platform !== "linux" || spawnSync("mount", ["-t", "tmpfs", "-o", "size=160k", "none", disk]).status !== 0) return console.log("  skipped: no file system can be mounted here")
  try {
    writeTiny(disk, "tiny.slm", recipe)
    const ended = await run(disk)
    assert.is(ended.code, 1, ended.err + ended.out)
    assert.match(ended.out, /"code":"SLM3105"[^\n]*no space is left on the disk/)
    wholeStore(disk)
    assert.is(spawnSync("mount", ["-o", "remount,size=64m", disk]).status, 0)
    const again = await run(disk)
    assert.is(again.code, 0, again.err + again.out)
    assert.equal(yielded(disk), undisturbed.files)
  } finally {
    spawnSync("umount", [disk])
  }
}))

/** Flips one bit of a file. */
function flip(file: string, random: () => number): void {
  const bytes = readFileSync(file)
  const at = Math.floor(random() * bytes.length)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
  writeFileSync(file, bytes)
}

faults("a flipped bit in any kind of stored result is noticed, named, and healed by the stage that made it", async () => inFolder(async (cwd) => {
  writeTiny(cwd, "tiny.slm", recipe)
  assert.is((await run(cwd)).code, 0)
  const random = drawn(seed + 2)
  const root = join(cwd, ".slm", "store")
  for (const name of readdirSync(root).filter((entry) => readdirSync(join(root, entry)).length > 1)) {
    const files = readdirSync(join(root, name)).sort()
    const file = files[Math.floor(random() * files.length)] ?? ""
    const kind = readManifest(join(root, name))?.about.name
    flip(join(root, name, file), random)
    const ended = await run(cwd)
    assert.is(ended.code, 0, ended.err + ended.out)
    assert.match(warnings(ended), new RegExp(`the stored result .*${name} is damaged; its stage runs again`), file)
    assert.equal(objects(ended.out).flatMap((o) => (o["event"] === "stage-finished" && (o["stage"] as { kind: string }).kind !== "export" ? [(o["stage"] as { name: string }).name] : [])), [kind], `${name}/${file}`)
    assert.equal(yielded(cwd), undisturbed.files)
  }
}))

faults("a flipped bit in a checkpoint is noticed and named, and the one before is used", async () => inFolder(async (cwd) => {
  writeTiny(cwd, "tiny.slm", recipe)
  const random = drawn(seed + 3)
  const root = join(cwd, ".slm", "store")
  const steps = (partial: string): readonly string[] => readdirSync(join(root, partial)).filter((name) => /^\d+$/.test(name)).sort()
  const half = (): string | undefined => (existsSync(root) ? readdirSync(root).find((name) => name.endsWith(".partial") && steps(name).length === 2) : undefined)
  for (let at = Math.floor(undisturbed.calls * 0.4); half() === undefined && at < undisturbed.calls; at += 9) {
    rmSync(join(cwd, ".slm"), { recursive: true, force: true })
    await run(cwd, { at, how: "kill" })
  }
  const partial = half() ?? ""
  const newest = steps(partial).at(-1) ?? ""
  const saved = join(cwd, "saved")
  cpSync(root, saved, { recursive: true })
  for (const file of readdirSync(join(saved, partial, newest))) {
    rmSync(root, { recursive: true })
    cpSync(saved, root, { recursive: true })
    flip(join(root, partial, newest, file), random)
    const ended = await run(cwd)
    assert.is(ended.code, 0, ended.err + ended.out)
    assert.match(warnings(ended), new RegExp(`the checkpoint .*${newest} is damaged; the one before is used`), file)
    assert.equal(resumed(ended)[0], Number(newest) - 1)
    assert.equal(yielded(cwd), undisturbed.files)
  }
}))

faults.run()
