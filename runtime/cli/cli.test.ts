import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { build, entry, inFolder, node, objects, slm, tiny, writeTiny, type Call, type Ended } from "./process.fixture.ts"

const reference = ["--device", "reference"] as const
const commands = suite("commands")
const light = suite("usage")

let dispose = (): void => {}
light.before(async () => { dispose = (await build()).dispose })

/** No mistake of a user's shows the inside of the program. */
function clean(ended: Ended): void {
  assert.not.match(ended.err + ended.out, /bug in slm|\n\s+at .*:\d+:\d+/)
}

light("help lists every command, each has a page, and the same in JSON", async () => {
  const all = await slm(["help"])
  assert.is(all.code, 0)
  const json = objects((await slm(["help", "--json"])).out)
  assert.ok(json.length >= 11)
  for (const { name } of json) assert.match(all.out, `slm ${String(name)} `)
  const page = await slm(["run", "-h"])
  assert.is(page.code, 0)
  assert.match(page.out, /usage: slm run \[options\] RECIPE/)
  assert.is((await slm(["help", "run"])).out, page.out)
  assert.match((await slm([])).out, "slm run")
})

light("wrong usage exits with 2, says what was meant and prints nothing else", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["chekc"], /there is no command "chekc"\nhelp: did you mean `slm check`\?/],
    [["x.slm"], /did you mean `slm run x\.slm`\?/],
    [["run", "x.slm", "--devcie", "tfjs"], /there is no option --devcie\nhelp: did you mean --device\?/],
    [["run"], /RECIPE is missing\nhelp: usage: slm run/],
    [["plan", "a.slm", "b.slm"], /unexpected argument "b\.slm"/],
    [["run", "x.slm", "--fresh=1"], /--fresh takes no value/],
    [["run", "x.slm", "--out"], /--out needs FOLDER/],
    [["check", "missing.slm"], /cannot read missing\.slm: there is no such file/],
    [["check", "."], /cannot read \.: it is a folder/],
    [["help", "rnu"], /did you mean `slm help run`\?/],
    [["explain", "SLM9999"], /there is no diagnostic SLM9999/],
    [["generate", "nowhere"], /nowhere does not exist/],
    [["generate", "."], /is not the folder of a run/],
    [["compile", "x.slm", "--emit", "rust"], /--emit cannot write "rust"\nhelp: it writes c/],
    [["compile", "x.slm", "--emit", "c", "--target", "avx"], /there is no instruction family "avx"\nhelp: did you mean avx2\?/],
    [["compile", "x.slm", "--emit", "c", "--after", "graph"], /give one of them/],
    [["compile", "x.slm", "--after", "c", "--roofline"], /--roofline belongs to --after kernels/],
    [["plan", "x.slm", "--device", "webgpu:best"], /there is no adapter "best"/],
    [["compile", "x.slm", "--out", "c"], /--out belongs to --emit/],
    [["new"], /which template\?\nhelp: slm new NAME, one of chat, classifier, npc, shrink/],
    [["new", "ncp"], /there is no template "ncp"\nhelp: did you mean npc\?/],
  ]
  await inFolder(async (cwd) => {
    for (const [args, expected] of cases) {
      const ended = await slm(args, { cwd })
      assert.is(ended.code, 2, args.join(" "))
      assert.is(ended.out, "", args.join(" "))
      assert.match(ended.err, expected)
      clean(ended)
    }
  })
})

light("explain shows the page of a code; check and explain agree on it", async () => {
  const page = await slm(["explain", "2001"])
  assert.is(page.code, 0)
  assert.match(page.out, /^SLM2001: /)
  const [entry] = objects((await slm(["explain", "slm2001", "--json"])).out)
  assert.is(entry?.["code"], "SLM2001")
  await inFolder(async (cwd) => {
    writeFileSync(join(cwd, "a.slm"), "let a = bpee\n")
    const ended = await slm(["check", "a.slm"], { cwd })
    assert.is(ended.code, 1)
    assert.match(ended.err, /error\[SLM2001\][^]* --> a\.slm:1:9/)
    const found = objects((await slm(["check", "a.slm", "--json"], { cwd })).out)
    assert.is(found[0]?.["code"], "SLM2001")
    assert.equal([found.at(-1)?.["event"], found.at(-1)?.["ok"]], ["checked", false])
  })
})

light("colour is for terminals: NO_COLOR and FORCE_COLOR decide elsewhere", async () => {
  const code = /\u001b\[/
  assert.not.match((await slm(["nothing"])).err, code)
  assert.match((await slm(["nothing"], { env: { FORCE_COLOR: "1" } })).err, code)
  assert.not.match((await slm(["nothing"], { env: { FORCE_COLOR: "1", NO_COLOR: "1" } })).err, code)
})

light("a full disk behind standard output is told", async () => {
  if (!existsSync("/dev/full")) return console.log("  skipped: there is no /dev/full here")
  const full = openSync("/dev/full", "w")
  const ended = await slm(["help"], { stdout: full })
  closeSync(full)
  assert.is(ended.code, 1)
  assert.match(ended.err, /^error: standard output cannot be written: no space is left on the disk/)
})

light("fmt rewrites once, --check writes nothing, and what is not understood stays as it is", async () => {
  await inFolder(async (cwd) => {
    const path = join(cwd, "a.slm")
    writeFileSync(path, "param   steps=3\nlet  a =  steps+1\n")
    const check = await slm(["fmt", "--check", "a.slm"], { cwd })
    assert.equal([check.code, check.out], [1, "a.slm is not in canonical layout\n"])
    const shown = await slm(["fmt", "--stdout", "a.slm"], { cwd })
    assert.equal([shown.code, shown.out], [0, "param steps = 3\nlet a = steps + 1\n"])
    assert.match(readFileSync(path, "utf8"), "param   steps=3")
    assert.equal(objects((await slm(["fmt", "a.slm", "--json"], { cwd })).out), [{ event: "formatted", file: "a.slm", changed: true, written: true }])
    assert.is(readFileSync(path, "utf8"), shown.out)
    assert.equal([(await slm(["fmt", "--check", "a.slm"], { cwd })).code, (await slm(["fmt", "a.slm"], { cwd })).out], [0, ""])
    writeFileSync(path, "let = = 3\n")
    assert.is((await slm(["fmt", "a.slm"], { cwd })).code, 1)
    assert.is(readFileSync(path, "utf8"), "let = = 3\n")
  })
})

light("new makes recipes that check, in a folder of any name, and never overwrites", async () => {
  await inFolder(async (cwd) => {
    const recipes: string[] = []
    for (const template of ["npc", "chat", "classifier", "shrink"]) {
      const folder = join("mein Spiel ü", template)
      const made = await slm(["new", template, folder], { cwd })
      assert.is(made.code, 0, made.err)
      recipes.push(join(folder, `${template}.slm`))
    }
    const checked = await slm(["check", ...recipes], { cwd })
    assert.is(checked.code, 0, checked.err)
    assert.equal(checked.out.match(/✓ .*\.slm: \d+ stages fit together/g)?.length, 4)
    assert.is((await slm(["fmt", "--check", ...recipes], { cwd })).code, 0)
    const recipe = join(cwd, "mein Spiel ü", "npc", "npc.slm")
    writeFileSync(recipe, "mine")
    const again = await slm(["new", "npc", join("mein Spiel ü", "npc")], { cwd })
    assert.is(again.code, 2)
    assert.match(again.err, "npc.slm exists already; nothing was written")
    assert.is(readFileSync(recipe, "utf8"), "mine")
  })
})

light("importing the library starts nothing", async () => {
  const script = `const busy = () => process.getActiveResourcesInfo().filter((name) => !name.includes("Req")).sort().join() // requests of the import itself aside
    const before = busy(), listeners = process.eventNames().length
    const slm = await import(${JSON.stringify(pathToFileURL(join(entry, "..", "index.js")).href)})
    console.log(Object.keys(slm).join(), busy() === before, process.eventNames().length === listeners)`
  const ended = await node(["--input-type=module", "--eval", script], {})
  assert.equal([ended.out, ended.err, ended.code], ["check,generate,openProgram,plan,render,run,version,whenStarted true true\n", "", 0])
})

light("doctor names the devices and the compiler; in JSON one object a line", async () => {
  const shown = await slm(["doctor"])
  assert.is(shown.code, 0)
  assert.match(shown.out, /✓ reference/)
  assert.match(shown.out, /C compiler/)
  const found = objects((await slm(["doctor", "--json"])).out)
  assert.ok(found.some((o) => o["event"] === "device" && o["name"] === "reference" && o["usable"] === true))
  assert.is(found[0]?.["event"], "machine")
})

// ---------------------------------------------------------------- commands on a recipe

commands("run, run again, generate, data, plan and compile work on one recipe", async () => {
  await inFolder(async (parent) => {
    const cwd = join(parent, "Rezept für Wale")
    mkdirSync(cwd)
    writeTiny(cwd)
    const before = objects((await slm(["plan", "tiny.slm", "--json", ...reference], { cwd })).out)
    assert.ok(before.slice(0, -1).every((stage) => stage["state"] === "new"))
    const first = await slm(["run", "tiny.slm", ...reference], { cwd })
    assert.is(first.code, 0, first.err)
    assert.match(first.out, /✓ small +train[^]*✓ expect perplexity\(small, tokens\.valid\) < 1000[^]*→ runs\/tiny\/small\/model\.safetensors/)
    for (const file of ["run.yaml", "events.jsonl", "report.html", "recipe.json", join("small", "model.safetensors")]) assert.ok(existsSync(join(cwd, "runs", "tiny", file)), file)
    const second = await slm(["run", join("Rezept für Wale", "tiny.slm"), "--json", ...reference], { cwd: parent })
    assert.is(second.code, 0, second.err)
    const events = objects(second.out)
    assert.equal(events.filter((e) => e["event"] === "stage-started").map((e) => (e["stage"] as { kind: string }).kind), ["export"])
    assert.equal([events[0]?.["event"], events.at(-1)?.["event"], events.at(-1)?.["status"]], ["run-started", "run-finished", "done"])
    const after = objects((await slm(["plan", "tiny.slm", "--json", ...reference], { cwd })).out)
    assert.equal(after.slice(0, -1).filter((stage) => stage["state"] === "new").map((stage) => stage["kind"]), ["export"])
    await writes(cwd)
    await shows(cwd)
  })
})

/** `generate` from the finished run. */
async function writes(cwd: string): Promise<void> {
  const folder = join("runs", "tiny")
  const prompted = await slm(["generate", folder, "--prompt", "the", "--tokens", "5", "--seed", "1", ...reference], { cwd })
  assert.is(prompted.code, 0, prompted.err)
  assert.match(prompted.out, /^the.+\n$/)
  assert.is((await slm(["generate", folder, "pocket", "--tokens", "5", "--seed", "1", ...reference], { cwd, input: "the\n" })).out, prompted.out)
  const [sample, other] = objects((await slm(["generate", folder, "small", "--prompt", "the", "--prompt", "", "--tokens", "5", "--temperature", "0", "--json", ...reference], { cwd })).out)
  assert.equal([sample?.["event"], sample?.["model"], sample?.["prompt"], other?.["prompt"]], ["sample", "small", "the", ""])
  assert.is(prompted.err, "")
  assert.match((await slm(["generate", folder, "--prompt", "the", "--tokens", "50", ...reference], { cwd })).err, "warning: a text ended because it reached the model's `context`")
  const wrong = await slm(["generate", folder, "smal", ...reference], { cwd })
  assert.equal([wrong.code, wrong.out], [2, ""])
  assert.match(wrong.err, /holds no model "smal"\nhelp: did you mean small\?/)
  assert.match((await slm(["generate", folder, "--temperature", "-1"], { cwd })).err, /--temperature takes a number of at least 0, not -1/)
  assert.match((await slm(["generate", folder, "--device", "tjfs"], { cwd })).err, /did you mean tfjs\?/)
}

/** `data`, `plan`, `compile` on the same recipe. */
async function shows(cwd: string): Promise<void> {
  const data = await slm(["data", "tiny.slm"], { cwd })
  assert.is(data.code, 0, data.err)
  assert.match(data.out, /documents by line +1 -> 24[^]*as the model sees it[^]*‹t›he/)
  assert.is(objects((await slm(["data", "tiny.slm", "--json"], { cwd })).out)[0]?.["event"], "data")
  const plan = await slm(["plan", "tiny.slm", "--set", "steps=5", "--args", ...reference], { cwd })
  assert.is(plan.code, 0, plan.err)
  assert.match(plan.out, /param steps = 5 {2}Steps of the training\.[^]*~ {2}small +train[^]*optim: adamw/)
  for (const [phase, shown] of [["parse", /"kind": "param"/], ["check", /small = train/], ["graph", /dot/], ["kernels", /kernels of small step/], ["c", /slm_step/], ["wgsl", /@compute @workgroup_size/]] as const) {
    const compiled = await slm(["compile", "tiny.slm", "--after", phase, "--stage", "small"], { cwd })
    assert.is(compiled.code, 0, compiled.err)
    assert.match(compiled.out, shown)
  }
  assert.equal([...new Set(objects((await slm(["compile", "tiny.slm", "--after", "fusion", "--json"], { cwd })).out).map((o) => o["event"]))], ["program"])
  assert.match((await slm(["compile", "tiny.slm", "--after", "grpah"], { cwd })).err, /did you mean graph\?/)
  assert.match((await slm(["compile", "tiny.slm", "--stage", "smal"], { cwd })).err, /did you mean small\?/)
}

commands("--set is checked like the recipe, and shows where it goes wrong", async () => {
  await inFolder(async (cwd) => {
    writeTiny(cwd)
    const cases: readonly (readonly [string, 1 | 2, RegExp])[] = [
      ["steps", 2, /--set takes NAME=VALUE/], ["=3", 2, /--set takes NAME=VALUE/], ["step=3", 1, /step[^]*did you mean `steps`/],
      ["steps=many", 1, /many/], ["steps=", 1, /steps/], ["steps=\"three\"", 1, /--set steps="three"` does not fit[^]*tiny\.slm:6:1/],
    ]
    for (const [text, code, expected] of cases) {
      const ended = await slm(["check", "tiny.slm", "--set", text], { cwd })
      assert.is(ended.code, code, `${text}: ${ended.err}`)
      assert.match(ended.err, expected, text)
      clean(ended)
    }
    assert.match((await slm(["check", "tiny.slm", "--set", "steps=1", "--set", "steps=2"], { cwd })).err, /steps is given twice/)
  })
})

commands("a recipe reads beside its folder only where it is allowed to", async () => {
  await inFolder(async (cwd) => {
    writeTiny(cwd)
    mkdirSync(join(cwd, "sub"))
    writeFileSync(join(cwd, "sub", "tiny.slm"), tiny.replace("lines.txt", "../lines.txt"))
    const refused = await slm(["data", join("sub", "tiny.slm")], { cwd })
    assert.is(refused.code, 1)
    assert.match(refused.err, /error\[SLM3102\][^]*--allow-read PATH/)
    assert.is((await slm(["data", join("sub", "tiny.slm"), "--allow-read", "."], { cwd })).code, 0)
  })
})

commands("a failed expectation exits with 1 and shows both values", async () => {
  await inFolder(async (cwd) => {
    writeTiny(cwd, "tiny.slm", tiny.replace("< 1000", "< 1.5"))
    const ended = await slm(["run", "tiny.slm", ...reference], { cwd })
    assert.is(ended.code, 1)
    assert.match(ended.out, /✗ expect perplexity\(small, tokens\.valid\) < 1\.5 {2}\(\d+\.\d+ < 1\.500\)/)
    assert.match(ended.err, /error\[SLM3307\][^]*tiny\.slm:\d+:1[^]*it is \d+\.\d+ < 1\.5/)
    assert.match(ended.out, /failed in .*0 of 1 expectations hold/)
    const json = await slm(["run", "tiny.slm", "--json", ...reference], { cwd })
    assert.is(json.code, 1)
    assert.is(json.err, "")
    assert.ok(objects(json.out).some((e) => e["event"] === "diagnostic" && e["code"] === "SLM3307"))
  })
})

commands("Ctrl-C stops between steps with 130; the next run reuses what was finished", async () => {
  await inFolder(async (cwd) => {
    writeTiny(cwd)
    const args = ["run", "tiny.slm", "--set", "steps=20000", "--json", ...reference]
    const stopped = await slm(args, { cwd, watch: interruptAfter(/"progress"/) })
    assert.equal([stopped.code, stopped.signal], [130, null])
    assert.match(stopped.err, /^stopping after this step; press Ctrl-C again to stop at once\n$/)
    const events = objects(stopped.out)
    assert.equal([events.at(-1)?.["event"], events.at(-1)?.["status"]], ["run-finished", "interrupted"])
    assert.match(readFileSync(join(cwd, "runs", "tiny", "run.yaml"), "utf8"), "status: interrupted")
    const plain = await slm(args.filter((a) => a !== "--json"), { cwd, watch: interruptAfter(/step \d+\/20000/) })
    assert.is(plain.code, 130)
    assert.match(plain.out, /= letters[^]*stopped after .*; finished stages are kept, run again to go on/)
    clean(plain)
  })
})

commands("a reader that closes early is no crash", async () => {
  await inFolder(async (cwd) => {
    writeTiny(cwd)
    const ended = await slm(["run", "tiny.slm", "--set", "steps=20000", "--json", ...reference], { cwd, watch: (_, child) => child.stdout?.destroy() })
    assert.equal([ended.code, ended.signal, ended.err], [0, null, ""])
  })
})

commands("the second Ctrl-C ends the process even while it computes", async () => {
  const script = `import { writeSync } from "node:fs"
    import { interruptible } from ${JSON.stringify(new URL("interrupt.ts", import.meta.url).href)}
    const stop = interruptible("stopping", { error: (text) => writeSync(2, text) })
    stop.signal.addEventListener("abort", () => { writeSync(1, "busy"); for (;;); })
    setInterval(() => {}, 1000)
    writeSync(1, "ready")`
  const ended = await node(["--import", import.meta.resolve("tsx"), "--input-type=module", "--eval", script], {
    watch(out, child) {
      if (out === "ready" || out === "readybusy") child.kill("SIGINT")
    },
  })
  assert.equal([ended.out, ended.err, ended.code, ended.signal], ["readybusy", "stopping", null, "SIGINT"])
})

function interruptAfter(pattern: RegExp): NonNullable<Call["watch"]> {
  let sent = false
  return (out, child) => {
    if (sent || !pattern.test(out)) return
    sent = true
    child.kill("SIGINT")
  }
}

commands("what the disk refuses is a mistake with a reason", async () => {
  await inFolder(async (cwd) => {
    writeTiny(cwd)
    const refused = async (expected: RegExp, call: Call = {}, ...more: string[]): Promise<void> => {
      const ended = await slm(["run", "tiny.slm", ...reference, ...more], { cwd, ...call })
      assert.is(ended.code, 1, ended.err)
      assert.match(ended.err, expected)
      clean(ended)
    }
    writeFileSync(join(cwd, "taken"), "")
    await refused(/error\[SLM3105\]: taken cannot be written: something else of that name is in the way/, {}, "--out", "taken")
    await refused(/taken\/deep.* cannot be written: a file stands where a folder is needed/, {}, "--out", "taken/deep")
    writeFileSync(join(cwd, ".slm"), "")
    await refused(/error\[SLM3105\]: .*\.slm\/store.* cannot be written: (a file stands where a folder is needed|something else)/)
    await refused(/error\[SLM3105\]: .* cannot be written: no space is left on the disk[^]*make room/, { node: ["--import", fullDisk] }, "--out", "fresh")
    const lines = await slm(["run", "tiny.slm", "--out", "taken", "--json", ...reference], { cwd })
    assert.equal([lines.code, lines.err], [1, ""])
    assert.ok(objects(lines.out).some((e) => e["code"] === "SLM3105"))
  })
})

/** Every write after the first few fails as on a full disk. */
const fullDisk = `data:text/javascript,${encodeURIComponent(`import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
fs.rmSync(".slm", { force: true })
const write = fs.writeSync
let left = 2000
fs.writeSync = (file, data, ...rest) => {
  left -= data.length
  if (left < 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", errno: -28, syscall: "write" })
  return write(file, data, ...rest)
}
syncBuiltinESMExports()`)}`

commands("a folder that may not be written, and a recipe that may not be read", async () => {
  const nobody = 65534
  const asUser = process.getuid?.() === 0 ? { uid: nobody } : {}
  if ((await slm(["--version"], asUser).catch(() => null))?.code !== 0) return console.log("  skipped: an unprivileged user cannot read the program here")
  await inFolder(async (cwd) => {
    writeTiny(cwd)
    writeFileSync(join(cwd, "secret.slm"), "let a = 1\n")
    chmodSync(join(cwd, "secret.slm"), 0o000)
    chmodSync(cwd, 0o555)
    const run = await slm(["run", "tiny.slm", ...reference], { cwd, ...asUser })
    assert.is(run.code, 1)
    assert.match(run.err, /error\[SLM3105\]: runs.* cannot be written: access is denied/)
    clean(run)
    const secret = await slm(["check", "secret.slm"], { cwd, ...asUser })
    assert.is(secret.code, 2)
    assert.match(secret.err, /cannot read secret\.slm: access is denied/)
    for (const args of [["new", "npc"], ["fmt", "tiny.slm"]]) {
      if (args[0] === "fmt") writeFileSync(join(cwd, "tiny.slm"), `${tiny}\n\n`)
      const ended = await slm(args, { cwd, ...asUser })
      assert.is(ended.code, 1, args.join(" "))
      assert.match(ended.err, /SLM3105.*cannot be written: access is denied/)
    }
    chmodSync(cwd, 0o755)
  })
})

commands("a mistake of ours exits with 70 and says so", async () => {
  const broken = `data:text/javascript,import os from "node:os"; import { syncBuiltinESMExports } from "node:module"; os.totalmem = () => { throw new TypeError("broken") }; syncBuiltinESMExports()`
  const ended = await slm(["doctor"], { node: ["--import", broken] })
  assert.is(ended.code, 70)
  assert.match(ended.err, /bug in slm: this is our mistake, not yours\.[^]*TypeError: broken/)
})

commands.after(() => dispose())

light.run()
commands.run()
