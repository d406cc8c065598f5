/**
 * Runs every `*.test.ts` of the project, each in a process of its own, a few at a time, and adds up what they say.
 * `npm test -- grammar check` runs the files whose path contains one of the words.
 */
import { spawn } from "node:child_process"
import { rmSync } from "node:fs"
import { bundle } from "./bundle.ts"
import { globSync } from "./glob.ts"
import { availableParallelism } from "node:os"

interface Result { readonly file: string; readonly passed: number; readonly failed: number; readonly skipped: number; readonly output: string; readonly seconds: number }

const words = process.argv.slice(2)
const files = globSync([".ci", "grammar", "compiler", "runtime", "stdlib", "examples", "spec"]).filter((file) => words.length === 0 || words.some((w) => file.includes(w)))
if (files.length === 0) {
  console.error(`no test file matches ${words.join(", ")}`)
  process.exit(2)
}

const folder = `.cache/tests-${process.pid}`
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
const scripts = await bundle(files, folder)

const results: Result[] = []
const queue = [...files]
await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, worker))
results.sort((a, b) => (a.file < b.file ? -1 : 1))
const total = { passed: 0, failed: 0, skipped: 0 }
for (const r of results) {
  total.passed += r.passed
  total.failed += r.failed
  total.skipped += r.skipped
}
const broken = results.filter((r) => r.failed > 0)
for (const r of broken) console.log(`\n──── ${r.file}\n${r.output.trim()}`)
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = broken.length > 0 ? 1 : 0

async function worker(): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const result = await runFile(file)
    results.push(result)
    console.log(`${result.failed > 0 ? "FAIL" : "ok  "} ${file}  ${result.passed} passed${result.skipped > 0 ? `, ${result.skipped} skipped` : ""}  ${result.seconds.toFixed(1)} s`)
    for (const line of result.output.split("\n")) if (/^\s*skipped: /.test(line)) console.log(`     ${line.trim()}`)
  }
}

function runFile(file: string): Promise<Result> {
  const start = performance.now()
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--enable-source-maps", scripts.get(file) ?? file], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, FORCE_COLOR: "0", NO_COLOR: "1" } })
    const chunks: Buffer[] = []
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk))
    child.on("close", (code) => {
      const output = Buffer.concat(chunks).toString("utf8")
      resolve({ file, output, seconds: (performance.now() - start) / 1000, ...count(output, code) })
    })
  })
}

/** Reads uvu's closing lines. A file that died or ran nothing counts as one failure. */
function count(output: string, code: number | null): { passed: number; failed: number; skipped: number } {
  const sum = (name: string): number => [...output.matchAll(new RegExp(`^\\s*${name}:\\s+(\\d+)`, "gm"))].reduce((n, m) => n + Number(m[1]), 0)
  const total = sum("Total")
  const passed = sum("Passed")
  const skipped = sum("Skipped") + [...output.matchAll(/^\s*skipped: /gm)].length
  const failed = Math.max(0, total - passed)
  return { passed, skipped, failed: code !== 0 || total + skipped === 0 ? Math.max(1, failed) : failed }
}
