// The first recipe on the device at hand: all of its steps where they take a minute, a quarter of them elsewhere. It says what it runs.
import { execFileSync, spawnSync } from "node:child_process"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))))
const slm = "dist/slm.js"

/** Lines of `slm doctor --json`: which devices can be used here, and why others cannot. */
function devices() {
  const lines = execFileSync(process.execPath, [slm, "doctor", "--json"], { encoding: "utf8" }).trim().split("\n")
  return lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "device")
}

const found = devices()
const cpu = found.find(({ name }) => name === "cpu")
const given = process.argv.slice(2)
const asked = given.join(" ").match(/--device[ =](\S+)/)?.[1]
const fast = (name) => name === "cpu" || name === "webgpu"
const short = asked === undefined ? !found.some(({ name, usable }) => usable && fast(name)) : !fast(asked)
if (short && asked !== undefined) console.log(`This is a quarter of the training, for ${asked}.`)
else if (short) console.log(`The device cpu cannot be used here: ${cpu?.about ?? "it is not there"}.\nSo this is a quarter of the training, for WebAssembly. For all of it in about a minute: ${cpu?.to_use_it ?? "install a C compiler"}.`)
const args = ["run", "examples/01-quickstart.slm", ...(short ? ["--set", "steps=250"] : [])]
console.log(`$ slm ${[...args, ...given].join(" ")}`)
process.exit(spawnSync(process.execPath, [slm, ...args, ...given], { stdio: "inherit" }).status ?? 1)
