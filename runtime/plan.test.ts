import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { inFolder, tiny, writeTiny } from "./cli/process.fixture.ts"
import { check, plan, run, type PlanSummary } from "./index.ts"

async function planOf(folder: string, set: Readonly<Record<string, number>> = {}): Promise<PlanSummary> {
  const report = await plan(join(folder, "tiny.slm"), { device: "reference", set })
  if (report.plan === null) throw new Error(report.diagnostics.map((d) => d.message).join("\n"))
  return report.plan
}

const named = ({ stages }: PlanSummary, name: string) => {
  const found = stages.find((stage) => stage.name === name)
  if (found === undefined) throw new Error(`no stage ${name}`)
  return found
}

test("before a run sizes are bounds with the stage that resolves them; after it they are known", () =>
  inFolder(async (folder) => {
    writeTiny(folder)
    const before = await planOf(folder)
    assert.equal(before.unknowns.map(({ name, taken, resolvedBy }) => [name, taken.is, resolvedBy]), [["letters.size", "about", "letters"], ["tokens.valid.tokens", "about", "tokens"]])
    assert.equal(named(before, "talk").tokens, { value: 4, is: "at most" })
    assert.equal(named(before, "small").tokens, { value: 3 * 2 * 8, is: "exact" })
    assert.ok(before.seconds > 0 && before.flops > 0)

    assert.is((await run(join(folder, "tiny.slm"), { device: "reference" })).status, "done")
    const after = await planOf(folder)
    assert.equal(after.unknowns, [])
    assert.equal(named(after, "evaluate small").tokens, { value: 18 * 8, is: "exact" })
    assert.is(named(after, "small").parameters, 1368)
    assert.is(named(after, "pocket").disk, 2016)
    assert.equal(after.stages.filter(({ state }) => state === "new").map(({ kind }) => kind), ["export"])
    assert.equal([after.flops, after.memory], [0, 0])

    // Another number of steps is another training; what it reads is still known.
    const longer = await planOf(folder, { steps: 6 })
    assert.equal(longer.unknowns, [])
    assert.is(named(longer, "small").tokens?.value, 2 * (named(after, "small").tokens?.value ?? 0))
    assert.ok(longer.stages.filter(({ state }) => state !== "cached").some(({ name }) => name === "small"))
  }))

test("what is allowed is shown, and what needs more is refused as a run would refuse it", () =>
  inFolder(async (folder) => {
    // How many characters there are is not known before the run, and nothing is refused for a guess.
    writeTiny(folder, "guessed.slm")
    assert.equal((await plan(join(folder, "guessed.slm"), { device: "reference", maxMemory: 20_000, maxParams: 1368 })).diagnostics, [])
    writeTiny(folder, "tiny.slm", tiny.replace("char(lines.train)", "bpe(lines.train, size: 260)"))
    const recipe = join(folder, "tiny.slm")
    const planned = async (limits: { readonly maxMemory?: number; readonly maxParams?: number }) => {
      const { plan: found, diagnostics } = await plan(recipe, { device: "reference", ...limits })
      return [found?.limits, diagnostics.map(({ code, message }) => `${code} ${message}`)] as const
    }
    assert.equal(await planned({ maxMemory: 1e9, maxParams: 6000 }), [{ memory: 1e9, params: 6000 }, []])
    const [, small] = await planned({ maxMemory: 20_000, maxParams: 100 })
    assert.match(small.join("\n"), /SLM3602 `Tiny` has \d+ parameters, and 100 are allowed/)
    assert.match(small.join("\n"), /SLM3601 `small` needs [\d.]+ kB at once, and 20\.0 kB are allowed/)
    const { status, diagnostics } = await run(recipe, { device: "reference", maxMemory: 20_000 })
    assert.equal([status, diagnostics.map(({ message }) => message)], ["failed", small.filter((line) => line.startsWith("SLM3601 `small`")).map((line) => line.slice(8))])

    assert.is((await run(recipe, { device: "reference" })).status, "done")
    const [, after] = await planned({ maxMemory: 20_000 })
    assert.equal(after, [], "what is done needs nothing any more")
  }))

test("epochs take the steps that the data will decide", () =>
  inFolder(async (folder) => {
    writeTiny(folder, "tiny.slm", tiny.replace("  steps: steps\n", "  epochs: 2.0\n").replace("/// Steps of the training.\nparam steps = 3\n", ""))
    const before = named(await planOf(folder), "small").tokens
    assert.is(before?.is, "about")
    assert.is((await run(join(folder, "tiny.slm"), { device: "reference" })).status, "done")
    assert.equal(named(await planOf(folder), "small").tokens, { value: 2 * 40 * 8, is: "exact" })
  }))

test("an input that is not there is told with its place, beside the plan", () =>
  inFolder(async (folder) => {
    writeTiny(folder, "tiny.slm", tiny.replace("lines.txt", "line.txt"))
    const report = await plan(join(folder, "tiny.slm"), { device: "reference" })
    assert.ok(report.plan !== null)
    assert.equal(report.diagnostics.map(({ code, span }) => [code, tiny.slice(span.start, span.start + 4)]), [["SLM3101", "text"]])
  }))

test("of packed rows as many are counted as are taken; of documents, that are taken before they are packed, at most all", () =>
  inFolder(async (folder) => {
    writeFileSync(join(folder, "book.txt"), "the whale swims in the deep blue sea\n\n".repeat(200))
    const tokensOf = async (data: string): Promise<unknown> => {
      const text = `use std.models { Llama }
tokens = text("book.txt") |> documents(by: paragraph)${data}
small = initial(Llama(vocab: byte().size, dim: 8, depth: 1, heads: 2))
expect perplexity(small, tokens) > 0
`
      const report = await plan({ text, folder }, { device: "reference" })
      if (report.plan === null) throw new Error(report.diagnostics.map((d) => d.message).join("\n"))
      return report.plan.stages.find(({ kind }) => kind === "evaluate")?.tokens
    }
    assert.equal(await tokensOf(" |> encode(byte()) |> pack(length: 8) |> take(5)"), { value: 40, is: "at most" })
    assert.equal(await tokensOf(" |> encode(byte()) |> pack(length: 8) |> take(5000)"), { value: 7600, is: "at most" })
    assert.equal(await tokensOf(" |> take(5) |> encode(byte()) |> pack(length: 8)"), { value: 7600, is: "at most" })
  }))

test("where a model writes, its texts are counted as far as they are known, and a model that answers reads them first", () =>
  inFolder(async (folder) => {
    const file = join(folder, "answers.slm")
    const small = "data: pairs(rows, letters, length: 8, written: 8), objective: rewriting, batch: 4 sequences, steps: 1, optim: sgd(lr: 0.1)"
    writeFileSync(file, `use std.optim { sgd }
use std.seq2seq { T5, pairs, rewriting }
rows = made(20, by: n => { prompt: "{n}", answer: "{n + 1}" })
letters = bpe(rows |> each_row(row => { text: row.prompt }), size: 260)
model Small = T5(vocab: letters.size, dim: 8, depth: 1, heads: 2, buckets: 4, furthest: 8)
there = train Small { ${small} }
talk = generate there { prompts: ["12", "and much more than that"], tokens: 5 }
more = write(there, rows |> take(6), count: 3, tokens: 4)
expect more.rows > 0
expect answered(there, data: rows, tokens: 6).exact >= 0
`)
    const { plan: found, diagnostics } = await plan(file, { device: "reference" })
    assert.equal(diagnostics, [])
    if (found === null) return
    const of = (name: string) => found.stages.filter((stage) => stage.kind === name).map(({ tokens, flops, memory, parameters, seconds }) => ({ tokens: [tokens?.value, tokens?.is], counted: [flops, memory].map((n) => n !== null && n > 0), parameters, seconds }))
    const parameters = named(found, "there").parameters
    const unknown = { counted: [false, false], parameters, seconds: null }
    assert.equal(of("generate"), [{ tokens: [10, "at most"], counted: [true, true], parameters, seconds: null }])
    assert.equal(of("write"), [{ tokens: [72, "at most"], ...unknown }])
    assert.equal(of("answered"), [{ tokens: [120, "at most"], ...unknown }])
  }))

test("mistakes of a recipe are values; those of a caller reject", async () => {
  const wrong = check({ text: "let a = bpee\n", folder: "." })
  assert.equal([wrong.ok, wrong.diagnostics.map(({ code }) => code)], [false, ["SLM2001"]])
  assert.equal(check("there/is/no.slm").diagnostics.map(({ code }) => code), ["SLM3104"])
  assert.is((await plan("there/is/no.slm", { device: "reference" })).plan, null)
  const unknown = { device: "abacus" } as unknown as Parameters<typeof plan>[1]
  await plan({ text: "let a = 1\n", folder: "." }, unknown).then(() => assert.unreachable(), (error: Error) => assert.match(error.message, "there is no device abacus"))
})

test.run()
