/** One recipe in two places: other folder, home, user, locale, time zone and number of threads; the same results byte for byte. */
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { availableParallelism } from "node:os"
import { spawnSync } from "node:child_process"
import { suite } from "uvu"
import * as assert from "uvu/assert"
import { sha256 } from "../files.ts"
import { build, entry, inFolder, node, objects, slm, tiny, writeTiny, type Ended } from "./process.fixture.ts"

const places = suite("places")
const nobody = 65534

interface Place { readonly folder: string; readonly env: Readonly<Record<string, string>>; readonly cores: 1 | null; readonly asNobody: boolean }

const here: Place = { folder: "here", env: { LC_ALL: "C", TZ: "UTC" }, cores: 1, asNobody: false }
const there: Place = { folder: "Ağ dı \u{1f40b}", env: { LC_ALL: "tr_TR.UTF-8", LANG: "tr_TR.UTF-8", TZ: "Asia/Kathmandu" }, cores: null, asNobody: true }

/** What Node itself says of each place, in order. */
const surroundings: (readonly unknown[])[] = []

let dispose = (): void => {}
places.before(async () => { dispose = (await build()).dispose })
places.after(() => dispose())

/** All files of the run without a clock in them, and the lock. */
async function yielded(root: string, place: Place, device: string): Promise<Readonly<Record<string, string>>> {
  const [folder, home] = [join(root, place.folder, device), join(root, place.folder, "home")]
  for (const made of [folder, home]) mkdirSync(made, { recursive: true })
  writeTiny(folder, "tiny.slm", tiny.replace("pocket = quantize small { format: int8 }", "pocket = quantize small { format: int8 }\nrare = train Tiny { data: mixed(tokens.train), objective: next_token, batch: 4 sequences, steps: 3, optim: adamw(lr: 0.01) }\nexpect perplexity(rare, tokens.valid) < 1000\ncurriculum mixed(t: Tokens) {\n  difficulty: rarity(t)\n  stage all { mix: easiest(t, 70%) }\n}"))
  const becomesNobody = process.getuid?.() === 0 && place.asNobody
  if (becomesNobody) for (const owned of [root, folder, home, join(root, place.folder), ...readdirSync(folder).map((name) => join(folder, name))]) chownSync(owned, nobody, nobody)
  if (becomesNobody) chmodSync(root, 0o755)
  const one = place.cores === 1 && spawnSync("taskset", ["-V"]).status === 0
  const call = { cwd: folder, env: { ...place.env, HOME: home, XDG_CACHE_HOME: join(home, "cache") }, ...(becomesNobody ? { uid: nobody } : {}) }
  const inPlace = (args: readonly string[]): Promise<Ended> => (one ? node(["-e", `process.exitCode = require("node:child_process").spawnSync("taskset", ["-c", "0", process.execPath, ...process.argv.slice(1)], { stdio: "inherit" }).status`, "--", ...args], call) : node(args, call))
  const around = await inPlace(["-p", "JSON.stringify([Intl.DateTimeFormat().resolvedOptions().locale, Intl.DateTimeFormat().resolvedOptions().timeZone, process.getuid?.(), os.availableParallelism(), os.homedir()])"])
  surroundings.push(JSON.parse(around.out) as readonly unknown[])
  const ended = await inPlace([entry, "run", "tiny.slm", "--device", device])
  assert.is(ended.code, 0, ended.err + ended.out)
  const run = join(folder, "runs", "tiny")
  const files = readdirSync(run, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(run, name)).isFile() && !/^(events.*\.jsonl|run\.yaml|report\.html)$/.test(name))
  return Object.fromEntries([...files.map((name) => [name, sha256(readFileSync(join(run, name)))]), ["lock", sha256(readFileSync(join(folder, "tiny.lock")))]].sort())
}

places("results do not depend on folder, home, user, locale, time zone and threads", () => inFolder(async (root) => {
  if (availableParallelism() < 2) console.log("  skipped: there is one processor here, so threads are not compared")
  const usable = objects((await slm(["doctor", "--json"])).out).flatMap((o) => (o["event"] === "device" && o["usable"] === true ? [String(o["name"])] : []))
  for (const device of ["cpu", "reference"].filter((name) => usable.includes(name))) {
    const [a, b] = [await yielded(root, here, device), await yielded(root, there, device)]
    assert.ok(Object.keys(a).length > 12, Object.keys(a).join())
    assert.equal(a, b, device)
  }
  // What is said to differ does: a locale that Node does not take, or a user that nobody became, would prove nothing.
  const [one = [], other = []] = surroundings
  const differ = ["locale", "time zone", "user", "threads", "home"].filter((_, i) => one[i] !== other[i])
  const expected = ["locale", "time zone", ...(process.getuid?.() === 0 ? ["user"] : []), ...(availableParallelism() > 1 && spawnSync("taskset", ["-V"]).status === 0 ? ["threads"] : []), "home"]
  assert.equal(differ, expected, JSON.stringify(surroundings))
}))

places.run()
