/** The commands about runs that were made, as a user meets them: plan, verify, diff, runs, gc, forget. */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { build, inFolder, objects, slm, tiny, writeTiny, type Ended } from "./process.fixture.ts"

const history = suite("history")
const reference = ["--device", "reference"] as const

let dispose = (): void => {}
history.before(async () => { dispose = (await build()).dispose })
history.after(() => dispose())

const last = (ended: Ended): Readonly<Record<string, unknown>> => objects(ended.out).at(-1) ?? {}

history("a run is planned, held to its plan, verified, compared, listed, tidied and forgotten", () => inFolder(async (cwd) => {
  writeTiny(cwd)
  const cache = join(cwd, "cache")
  const ask = (...args: readonly string[]): Promise<Ended> => slm(args, { cwd, env: { XDG_CACHE_HOME: cache } })
  assert.equal([(await ask("runs")).out, (await ask("gc")).code], ["there are no runs in .; `slm run RECIPE` makes one\n", 0])

  const planned = await ask("plan", "tiny.slm", "--out", "tiny.plan", ...reference)
  assert.is(planned.code, 0, planned.err)
  assert.match(planned.out, "written to tiny.plan; `slm run tiny.slm --plan tiny.plan` runs this and nothing else")
  assert.is((await ask("run", "tiny.slm", "--plan", "tiny.plan", ...reference)).code, 0)
  const refused = await ask("run", "tiny.slm", "--plan", "tiny.plan", "--set", "steps=4", ...reference)
  assert.is(refused.code, 1)
  assert.match(refused.err, /error\[SLM3405\]: `small`: `steps` was 3 and is 4[^]*help: undo the change, or plan anew/)
  const both = await ask("run", "tiny.slm", "--plan", "tiny.plan", "--locked")
  assert.equal([both.code, /--locked and --plan/.test(both.err)], [2, true])
  assert.is((await ask("run", "tiny.slm", "--checkpoint", "soon")).code, 2)

  const again = await ask("plan", "tiny.slm", "--set", "steps=4", ...reference)
  assert.match(again.out, /^~ {2}small [^]*?\n {5}steps 3 -> 4\n/m)
  const stages = objects((await ask("plan", "tiny.slm", "--set", "steps=4", "--json", ...reference)).out)
  assert.equal(stages.flatMap((o) => (o["event"] === "stage" && o["name"] === "small" ? [o["state"], o["why"]] : [])), ["changed", ["steps 3 -> 4"]])

  const verified = await ask("verify", "runs/tiny", "--steps", "2", ...reference)
  assert.equal([verified.code, verified.out], [0, "= small  train  2 steps\n1 of 1 results of runs/tiny agree, compared bit by bit (reference/f32/1)\n"])
  const json = await ask("verify", "runs/tiny", "--stage", "pocket", "--json", ...reference)
  assert.equal(objects(json.out), [
    { event: "verdict", stage: "pocket", kind: "quantize", equal: true, steps: null, message: null },
    { event: "verified", run: "runs/tiny", status: "equal", exact: true, device: "reference/f32/1", recorded: "reference/f32/1" },
  ])
  for (const [args, expected] of [[["nowhere"], "nowhere does not exist"], [["runs/tiny", "--stage", "smal"], "did you mean small?"], [["runs/tiny", "--steps", "0"], "--steps takes"], [["runs/tiny", "--stage", "pocket", "--steps", "1"], "is no training"]] as const) {
    const wrong = await ask("verify", ...args, ...reference)
    assert.is(wrong.code, 2, args.join(" "))
    assert.match(wrong.err, expected)
  }

  writeFileSync(join(cwd, "other.slm"), tiny.replaceAll("small", "little").replace("lr: 0.01", "lr: 0.02").replace("//! A recipe for tests.", "//! Another."))
  const recipes = await ask("diff", "tiny.slm", "other.slm")
  assert.is(recipes.code, 1)
  assert.match(recipes.out, /^~ little {2}train {2}was called small\n {4}optim\.lr {2}0\.01 -> 0\.02$/m)
  assert.match(recipes.out, /^~ pocket {2}quantize {2}follows from little$/m)
  assert.equal([(await ask("diff", "tiny.slm", "tiny.slm")).code, (await ask("diff", "tiny.slm", "missing.slm")).code, (await ask("diff", "tiny.slm")).code], [0, 2, 2])
  assert.is((await ask("run", "other.slm", "--out", "elsewhere/mine", ...reference)).code, 0)
  const runs = await ask("diff", "runs/tiny", "elsewhere/mine")
  assert.is(runs.code, 1)
  assert.match(runs.out, /little\.loss +[\d.]+ +[\d.]+ +[+-][\d.]+%\n[^]*little: loss by step, runs\/tiny •, elsewhere\/mine ×, both \*\n[^]*they part at step 2, are farthest apart at step \d /)
  assert.equal([last(await ask("diff", "runs/tiny", "runs/tiny", "--json"))["same"], (await ask("diff", "runs/tiny", "tiny.slm")).code], [true, 0])

  // The last run into the folder was refused; this one takes everything from the store.
  assert.is((await ask("run", "tiny.slm", "--locked", ...reference)).code, 0)
  const listed = objects((await ask("runs", "--json")).out)
  assert.equal(listed.map(({ folder, recipe, status }) => [folder, recipe, status]), [["runs/tiny", "tiny.slm", "done"], ["elsewhere/mine", "other.slm", "done"]])
  assert.match((await ask("runs")).out, /^run +recipe +status +ended +took +loss +size\nruns\/tiny +tiny\.slm +done /)
  assert.match((await ask("gc")).out, "there is nothing in .slm/store that no run needs")
  rmSync(join(cwd, "elsewhere"), { recursive: true })
  const program = join(cache, "slm", "cpu", "program.so")
  mkdirSync(join(cache, "slm", "cpu"), { recursive: true })
  writeFileSync(program, "object")
  utimesSync(program, 0, 0)
  const dry = await ask("gc")
  assert.match(dry.out, /train little [^]* 1 file of compiled programs that was not used for 30 days  6 B\n[^]*could be removed[^]*slm gc --yes/)
  assert.is(last(await ask("gc", "--json"))["removed"], false)
  assert.match((await ask("gc", "--yes")).out, " removed; results of the runs")
  assert.not.ok(existsSync(program))
  assert.match((await ask("plan", "tiny.slm", ...reference)).out, /^= {2}small /m)

  const nothing = await ask("forget", "other.txt")
  assert.equal([nothing.code, nothing.out], [1, ""])
  assert.match(nothing.err, "nothing in . was made from other.txt\nhelp: what is here was made from lines.txt")
  assert.match((await ask("forget", "lines.txt", "--dry-run")).out, "nothing was deleted")
  assert.ok(existsSync(join(cwd, "runs", "tiny", "recipe.json")))
  const forgotten = await slm(["forget", "lines.txt", "--in", "."], { cwd })
  assert.is(forgotten.code, 0, forgotten.err)
  assert.match(forgotten.out, /train small [^]*run runs\/tiny: recipe\.json, [^]*lock tiny\.lock[^]*are deleted/)
  assert.equal([existsSync(join(cwd, "runs", "tiny")), existsSync(join(cwd, "tiny.lock")), existsSync(join(cwd, "lines.txt"))], [false, false, true])
}))

history("two processes share the work of one store, and one that is killed at work is no obstacle", () => inFolder(async (cwd) => {
  writeTiny(cwd)
  const run = (out: string, call: Parameters<typeof slm>[1] = {}): Promise<Ended> => slm(["run", "tiny.slm", "--set", "steps=400", "--checkpoint", "0", "--out", out, "--json", ...reference], { cwd, ...call })
  let second: Promise<Ended> | null = null
  const first = await run("a", {
    watch(out, child) {
      if (second === null && out.includes('"event":"progress"')) second = run("b", { watch: (text) => { if (text.includes("is at work on `small`")) child.kill("SIGKILL") } })
    },
  })
  assert.is(first.signal, "SIGKILL", "it was killed while the other waited for it")
  const ended = await (second ?? run("b"))
  assert.is(ended.code, 0, ended.err)
  const resumed = objects(ended.out).find((o) => o["event"] === "resumed")
  assert.ok(Number(resumed?.["step"]) > 0, "it went on from what the killed one had saved")
  const both = await Promise.all([run("c"), run("d"), slm(["run", "tiny.slm", "--set", "steps=400", "--fresh", "--out", "e", "--json", ...reference], { cwd })])
  assert.equal(both.map(({ code }) => code), [0, 0, 0])
  const results = ["b", "c", "d", "e"].map((out) => readFileSync(join(cwd, out, "artifacts", "small", "weights.safetensors")).toString("base64"))
  assert.is(new Set(results).size, 1)
  assert.equal(readdirSync(join(cwd, ".slm", "store")).filter((name) => name.endsWith(".lock")), [])
}))

history("the record of a run grants nothing when it is verified", () => inFolder(async (cwd) => {
  mkdirSync(join(cwd, "recipe"))
  mkdirSync(join(cwd, "data"))
  writeTiny(join(cwd, "recipe"), "tiny.slm", tiny.replace('text("lines.txt")', 'text("../data/lines.txt")'))
  renameSync(join(cwd, "recipe", "lines.txt"), join(cwd, "data", "lines.txt"))
  assert.is((await slm(["run", "recipe/tiny.slm", "--allow-read", "data", ...reference], { cwd })).code, 0)
  const closed = await slm(["verify", "recipe/runs/tiny", ...reference], { cwd })
  assert.equal([closed.code, closed.out], [2, ""])
  assert.match(closed.err, "recipe/runs/tiny says that its run read data, and nobody allows that now\nhelp: if you know it to be so, add --allow-read data")
  assert.is((await slm(["verify", "recipe/runs/tiny", "--allow-read", "data", "--stage", "letters", ...reference], { cwd })).code, 0)
  // A copy elsewhere names a folder that does not know it.
  cpSync(join(cwd, "recipe", "runs", "tiny"), join(cwd, "copy", "of", "it"), { recursive: true })
  assert.match((await slm(["verify", "copy/of/it", "--allow-read", "data", ...reference], { cwd })).err, "copy/of/it says that its run read ")
}))

history("what differs is shown at its place, and the exit code says so", () => inFolder(async (cwd) => {
  writeTiny(cwd)
  assert.is((await slm(["run", "tiny.slm", ...reference], { cwd })).code, 0)
  const file = join(cwd, "lines.txt")
  writeFileSync(file, readFileSync(file, "utf8").replace("whale", "while"))
  const ended = await slm(["verify", "runs/tiny", ...reference], { cwd })
  assert.is(ended.code, 1)
  assert.match(ended.err, /error\[SLM3404\]: `lines\.txt` has other content/)
  assert.match(ended.out, "runs/tiny cannot be executed again as it was")
}))

history.run()
