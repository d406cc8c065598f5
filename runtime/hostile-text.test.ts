/** Nothing of a recipe steers a terminal, runs in a page, ends a comment of generated code, or grants a path that was not typed. */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import fc from "fast-check"
import { createBuilder } from "../compiler/graph/builder.ts"
import type { Program } from "../compiler/graph/node.ts"
import * as g from "../compiler/graph/ops.ts"
import { fuse } from "../compiler/kernel/fuse.ts"
import { orderKernels } from "../compiler/kernel/order.ts"
import { renderC } from "../compiler/render/c.ts"
import { renderWgsl } from "../compiler/render/wgsl.ts"
import { cpuTargets, scheduleCpu } from "../compiler/schedule/cpu.ts"
import { usualTarget } from "../compiler/schedule/gpu-plans.ts"
import { isRefused, scheduleGpu } from "../compiler/schedule/gpu.ts"
import { accessOf, grantedBy } from "./access.ts"
import { inFolder } from "./cli/process.fixture.ts"
import { harmless } from "./cli/text.ts"
import { resolveInput } from "./files.ts"
import { parseSize } from "./limits.ts"
import { reportPage } from "./report.ts"
import { pasted } from "./system-error.ts"

const pieces = ["*/", "/*", "//", "\\", "\\\n", "`", "${x}", "$(touch owned)", "'", '"', "<script>x</script>", "</style>", "<img src=x onerror=x>", "&", "\u001b[2J", "\u001b]0;x\u0007", "\u009b31m", "\r", "\n", "\u202e", "\u2066", "\u200b", "\ufeff",
  "\u2028", "\udb40\udc41", "\ud800", "\u0000", "??/", "#include <x>", "; rm -rf ~", "-x", "é", "漢字", "😀", "\u0301"]
const hostile = fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string()), { maxLength: 8 }).map((parts) => parts.join(""))
const steers = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\udb40[\udc00-\udfff]/

test("what reaches a terminal cannot steer it; JSON means the same, and our own colours stay", () => {
  fc.assert(fc.property(hostile, (text) => {
    assert.not.match(harmless(text, false), steers)
    assert.equal(JSON.parse(harmless(JSON.stringify({ text }), false)), JSON.parse(JSON.stringify({ text })))
    assert.not.match(harmless(text, true).replace(/\u001b\[(?:0|1|2|3[1-9]|22|1;3[1-9])m/g, ""), steers)
  }))
  assert.is(harmless("\u001b[31mred\u001b[39m \u001b[8mhidden", true), "\u001b[31mred\u001b[39m \\u001b[8mhidden")
  assert.is(harmless("می‌خواهم 👩‍🚀", false), "می‌خواهم 👩‍🚀", "joiners that languages need stay")
})

test("a page shows texts and runs none of them", () => {
  fc.assert(fc.property(hostile, hostile, (name, text) => {
    const stage = { key: name, name, kind: "generate" } as const
    const page = reportPage({
      recipe: name, models: [], writers: new Map(), events: [
        { event: "run-started", recipe: name, device: text, numericsClass: "", stages: [stage] }, { event: "warning", stage, message: text, help: name }, { event: "sample", stage, at: null, prompt: name, text },
        { event: "expect", text, holds: true, operator: "<", left: 1, right: 2 }, { event: "exported", stage, file: `${text}.gguf`, bytes: 1 }, { event: "stage-finished", stage, seconds: 1, facts: { [name]: NaN } },
      ],
    })
    assert.equal([...page.matchAll(/<(script|img|iframe|link|object|form|a|base)\b/gi)], [], "no element of a recipe")
    assert.not.match(page, /[\u202a-\u202e\u2066-\u2069]/)
    assert.is(page.match(/<\/style>/g)?.length, 1)
  }), { numRuns: 60 })
})

test("a path is pasted into a shell as one word that means itself", () => {
  const word = hostile.filter((text) => text !== "" && !text.includes("\0"))
  fc.assert(fc.property(word, (text) => {
    if (!/^[\u0001-\u007f]*$/.test(text)) return
    assert.is(execFileSync("/bin/sh", ["-c", `printf %s ${pasted(text)}`], { encoding: "utf8" }), text)
  }), { numRuns: 25 })
})

/** Two products and a sum, with these names. */
function program(name: string, input: string, state: string, output: string): Program {
  const b = createBuilder()
  const x = b.input(input, "batch", "f32", [8, 16])
  const w = b.input(state, "state", "f32", [16, 32])
  const y = g.exp(b, g.dot(b, x, w))
  return { name, inputs: [x, w], outputs: [{ name: output, node: g.sum(b, y, [1]) }, { name: state, node: g.add(b, w, w) }] }
}

function shaders(of: Program): readonly string[] {
  const scheduled = scheduleGpu(orderKernels(fuse(of)), usualTarget)
  if (isRefused(scheduled)) throw new Error("the program does not fit a GPU")
  return renderWgsl(scheduled).shaders.map(({ text }) => text)
}

test("names become neither C nor WGSL nor the end of a comment", () => {
  const code = (of: Program): string => renderC(scheduleCpu(orderKernels(fuse(of)), cpuTargets.portable)).replace(/\/\*[^]*?\*\//g, "").replace(/\/\/.*$/gm, "")
  const tame = code(program("p", "x", "w", "y"))
  const tameShaders = shaders(program("p", "x", "w", "y"))
  fc.assert(fc.property(hostile, hostile, hostile, (name, state, output) => {
    if (state === "x" || output === state || output === "x") return
    const named = program(name, "x", state, output)
    assert.is(code(named), tame)
    assert.equal(shaders(named), tameShaders)
  }), { numRuns: 40 })
})

test("a number becomes one literal that stands for it, and nothing else", () => {
  const times = (n: number): Program => {
    const b = createBuilder()
    const x = b.input("x", "batch", "f32", [8, 16])
    return { name: "p", inputs: [x], outputs: [{ name: "y", node: g.mul(b, x, n) }] }
  }
  const cLiteral = /(?<=const f32v t1 = )set_f32\((-?\d+(?:\.\d+)?(?:e[+-]?\d+)?f|\(-?1e30f \* 1e30f\)|\(0\.0f \/ 0\.0f\))\)/
  const shaderLiteral = /\(t0 \* (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?f|\(-\d+(?:\.\d+)?(?:e[+-]?\d+)?f\)|\(?-?(?:inf|nan)\(\)\)?)\)/
  const valueOf = (text: string): number => (text.includes("inf") || text.includes("*") ? (text.includes("-") ? -Infinity : Infinity) : text.includes("nan") || text.includes("/") ? NaN : Math.fround(Number(text.replace(/[f()]/g, ""))))
  const code = (of: Program): string => renderC(scheduleCpu(orderKernels(fuse(of)), cpuTargets.portable)).replace(/\/\*[^]*?\*\//g, "").replace(/\/\/.*$/gm, "")
  const shader = (of: Program): string => shaders(of).join("\n").replace(/\/\/.*\n/g, "").replace(/^(?:var<private> (?:inf|nan)_bits|fn (?:inf|nan)\(\)).*\n/gm, "")
  const rest = { c: code(times(2.5)).replace(cLiteral, "#"), shader: shader(times(2.5)).replace(shaderLiteral, "#") }
  assert.ok(rest.c.includes("#") && rest.shader.includes("#"))
  const numbers = fc.oneof(fc.double(), fc.float(), fc.integer(), fc.constantFrom(-0, NaN, Infinity, -Infinity, 1e300, -1e300, 5e-324, 1e-42, 3.4028234663852886e38, 16777217)).filter((n) => n !== 0 && n !== 1 && n !== -1 && !Object.is(n, -0))
  fc.assert(fc.property(numbers, (n) => {
    const [c, wgsl] = [code(times(n)), shader(times(n))]
    for (const [text, literal, without] of [[c, cLiteral, rest.c], [wgsl, shaderLiteral, rest.shader]] as const) {
      assert.is(text.replace(literal, "#"), without, String(n))
      assert.ok(Object.is(valueOf(literal.exec(text)?.[1] ?? ""), Math.fround(n)), `${n} became ${literal.exec(text)?.[1]}`)
    }
  }), { numRuns: 200 })
})

test("a path that the user types as a value is granted, a default of the recipe is not", () => inFolder(async (home) => {
  const [recipe, corpora] = [join(home, "recipe"), join(home, "corpora")]
  for (const folder of [recipe, corpora]) mkdirSync(folder)
  for (const name of ["a.txt", "b.txt"]) writeFileSync(join(corpora, name), name)
  const reads = (wanted: string, params: Readonly<Record<string, string>>): boolean => {
    const { allowRead } = accessOf({ allowRead: [], params: new Map(Object.entries(params)), maxMemory: null, maxParams: null }, recipe)
    return resolveInput(wanted, recipe, { allowRead }).ok
  }
  const file = join(corpora, "a.txt")
  assert.not(reads(file, {}))
  assert.ok(reads(file, { data: file }))
  assert.not(reads(join(corpora, "b.txt"), { data: file }), "that file, not its neighbours")
  assert.ok(reads("../corpora/a.txt", { data: "../corpora/a.txt" }))
  assert.ok(reads(join(corpora, "b.txt"), { data: corpora }), "a folder, and what is below it")
  assert.ok(reads(`${corpora}/*.txt`, { data: `${corpora}/*.txt` }))
  assert.equal(grantedBy(["3e-3", "paragraph", "a.txt", "/nowhere/at/all", ""], recipe), [], "other values grant nothing")
}))

test("sizes as people write them", () => {
  assert.equal(["8G", "500 MB", "1e9", "1_000", "2.5k", "3T", "12"].map(parseSize), [8e9, 500e6, 1e9, 1000, 2500, 3e12, 12])
  assert.equal(["", "G", "-3", "8GG", "0", "1e999", "eight"].map(parseSize), [null, null, null, null, null, null, null])
})

test.run()
