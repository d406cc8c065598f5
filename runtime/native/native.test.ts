/** Stages written as C, built with gcc and clang, against the cpu device: the same bits and the same text. */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { check } from "../../compiler/check/check.ts"
import { familyFlags } from "../../compiler/render/c-flags.ts"
import { libraryHeader, librarySource } from "../../compiler/render/native/library.ts"
import { tokenizerFile, tokenizerHeader } from "../../compiler/render/native/tokenizer.ts"
import { cpuTargets } from "../../compiler/schedule/cpu.ts"
import { bpeTokenizer, byteTokenizer, charTokenizer } from "../data/tokenizers.ts"
import { expectGood } from "../data/result.ts"
import type { Tokenizer } from "../data/tokenizer.ts"
import { rowsOf } from "../data/testing.ts"
import { localFamily } from "../devices/cpu-build.ts"
import { openCpu } from "../devices/cpu.ts"
import { isUsable } from "../devices/open.ts"
import type { Device } from "../device.ts"
import { moduleReader } from "../library.ts"
import type { Ran, Workplace } from "../stages/testing.ts"
import { bookTokens, problemsOf, recipeOf, sentences, withFolder } from "../stages/testing.ts"
import type { Emitted } from "./emit.ts"
import { darwinHeaders } from "./darwin.fixture.ts"
import { emitNative } from "./emit.ts"
import { tablesOf } from "./generate.ts"

const compilers = ["gcc", "clang"].filter((command) => spawnSync(command, ["--version"]).status === 0)
// Without tiles: the C that is written is for whole families of processors.
const opened = await openCpu({ threads: 2, tiles: false })
const cpu: Device | null = isUsable(opened) && compilers.length > 0 ? opened : null
if (cpu === null) console.log("  skipped: there is no C compiler")

async function emitted(place: Workplace, recipe: string, name: string, out: string, device: Device, target = cpuTargets[localFamily()]): Promise<Emitted> {
  const source = { id: "recipe.slm", text: recipe }
  const stage = check(source, { modules: moduleReader(place.folder), params: new Map(), facts: new Map() }).recipe?.stages.find((s) => s.name === name)
  if (stage === undefined) throw new Error(`no stage ${name}`)
  return emitNative({
    recipe: { source, folder: place.folder, name: "recipe" }, params: new Map(), stage, target, form: "c", device, out,
    allowRead: [], signal: null, emit: () => {}, warn: () => {},
  })
}

/** Builds the folder and runs its program there; `more` asks for a quick build with these flags. */
function built(folder: string, cc: string, binary: string, args: readonly string[] = [], more: string | null = null): string {
  const flags = more === null ? [] : [`CFLAGS=-O0 -std=gnu11 -pthread -ffp-contract=off -fno-strict-aliasing ${familyFlags[localFamily()].join(" ")} -w ${more}`]
  execFileSync("make", ["-s", `CC=${cc}`, ...flags], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] })
  return execFileSync(path.join(folder, binary), args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
}

/** Has Clang translate a folder for an Apple processor, with declarations of macOS alone. A thread has half a megabyte of stack there. */
function builtForApple(place: Workplace, folder: string): void {
  if (!compilers.includes("clang") || spawnSync("clang", ["--print-targets"], { encoding: "utf8" }).stdout?.includes("aarch64") !== true) return console.log("  skipped: there is no clang that knows ARM")
  fs.mkdirSync(path.join(place.folder, "darwin", "sys"), { recursive: true })
  for (const [name, text] of darwinHeaders) place.write(`darwin/${name}`, text)
  const flags = /^CFLAGS = (.*) -w$/m.exec(fs.readFileSync(path.join(folder, "Makefile"), "utf8"))?.[1]?.split(" ") ?? []
  assert.not.ok(flags.some((flag) => /native|-f?openmp/.test(flag)), flags.join(" "))
  for (const file of fs.readdirSync(folder).filter((name) => name.endsWith(".c"))) {
    const strict = ["-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types", "-Werror=frame-larger-than=100000"]
    const { status, stderr } = spawnSync("clang", ["--target=arm64-apple-macos11", "-nostdlibinc", "-isystem", path.join(place.folder, "darwin"), ...flags, ...strict, "-c", "-o", path.join(place.folder, "apple.o"), file], { cwd: folder, encoding: "utf8" })
    assert.is(status, 0, `${file}: ${stderr}`)
  }
}

const stored = (ran: Ran, name: string, file = "weights.safetensors"): Uint8Array => fs.readFileSync(path.join(ran.out, "artifacts", name, file))
const samplesOf = (ran: Ran): string => ran.events.flatMap((e) => (e.event === "sample" && e.at === null ? [`${e.prompt}${e.text}\n`] : [])).join("")

test("a training in C ends with the file that the device keeps, and says the same losses", () => withFolder(async (place) => {
  if (cpu === null) return
  place.write("book.txt", sentences(40))
  // What stands beside rows goes into the folder, too.
  const recipe = recipeOf(`${bookTokens()}
fn twice(rows: Tokens) -> Tokens = beside(rows, { again: rows })
model Tiny = Llama(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 32)
result = train Tiny {
  data: twice(tokens.train), valid: { book: twice(tokens.valid), learned: twice(tokens.train) |> take(5) }, objective: row => next_token(row.again), batch: 4 sequences, optim: adamw(lr: 3e-2) |> clip_norm(1.0), steps: 7
}`)
  const ran = await place.run(recipe, { device: cpu })
  assert.equal(problemsOf(ran), [])
  const out = path.join(place.folder, "c")
  assert.equal((await emitted(place, recipe, "result", out, cpu)).diagnostics, [])
  const text = built(out, compilers[0] ?? "gcc", "train", [], "")
  assert.equal(new Uint8Array(fs.readFileSync(path.join(out, "weights.safetensors"))), new Uint8Array(stored(ran, "result")))
  const progress = ran.events.flatMap((e) => (e.event === "progress" ? [e] : []))
  assert.equal([...text.matchAll(/^step \d+ {2}loss (\S+) /gm)].map((m) => Math.fround(Number(m[1]))), progress.map((e) => Math.fround(e.loss)))
  assert.equal([...text.matchAll(/^step \d+ {2}valid (\S+)$/gm)].map((m) => Math.fround(Number(m[1]))), progress.map((e) => Math.fround(e.valid ?? NaN)))
  for (const set of ["book", "learned"]) assert.equal([...text.matchAll(new RegExp(`valid ${set} (\\S+)$`, "gm"))].map((m) => Math.fround(Number(m[1]))), progress.map((e) => Math.fround(e.losses?.[set] ?? NaN)))
  const chosen = await emitted(place, recipe.replace("valid: {", "best: valid => valid.book.loss, valid: {"), "result", path.join(place.folder, "chosen"), cpu)
  assert.equal(chosen.diagnostics.map(({ code, message }) => `${code} ${message}`), ["SLM3502 `result` chooses its weights by `best`, and the C that slm writes knows the loss alone"])
  const apple = path.join(place.folder, "apple")
  assert.equal((await emitted(place, recipe, "result", apple, cpu, cpuTargets.neon)).diagnostics, [])
  builtForApple(place, apple)
  // Who reads the C finds the lines of the recipe and the shapes.
  const main = fs.readFileSync(path.join(out, "main.c"), "utf8")
  assert.match(main, /from recipe\.slm, lines \d+ to \d+, written by slm:\n +\d+ \| result = train Tiny \{/)
  assert.match(main, /\{"beside\.again\.tokens", 0, I32, \d+L, 68L\}, \/\* i32\[4, 17\] \*\//)
}))

test("micro-batches, roles and a frozen teacher in C, built with another compiler", () => withFolder(async (place) => {
  if (cpu === null) return
  place.write("book.txt", sentences(40))
  const recipe = recipeOf(`${bookTokens()}
model Tiny = Llama(vocab: words.size, dim: 16, depth: 1, heads: 2, context: 32)
teacher = train Tiny { data: tokens.train, objective: next_token, batch: 4 sequences, optim: adamw(lr: 1e-2), steps: 2 }
result = distill teacher into Tiny { data: tokens.train, objective: next_token, batch: 2 sequences, accumulate: 3, optim: adamw(lr: 1e-2) |> clip_norm(1.0), steps: 4 }`)
  const out = path.join(place.folder, "c")
  const early = await emitted(place, recipe, "result", out, cpu)
  assert.equal(early.diagnostics.map(({ code, message }) => `${code} ${message}`), ["SLM3503 `result` needs `teacher`, which no run on cpu has made yet"])
  const half = await emitted(place, recipe.replace("steps: 2 }", "steps: 2, precision: f16 }"), "teacher", out, cpu)
  assert.equal(half.diagnostics.map(({ code, message }) => `${code} ${message}`), ["SLM3502 `teacher` has `precision: f16`, and the C that slm writes has no products of f16"])
  assert.not.ok(fs.existsSync(out))
  const ran = await place.run(recipe, { device: cpu })
  assert.equal(problemsOf(ran), [])
  assert.equal((await emitted(place, recipe, "result", out, cpu)).diagnostics, [])
  built(out, compilers.at(-1) ?? "gcc", "train", ["--threads", "1"])
  assert.equal(new Uint8Array(fs.readFileSync(path.join(out, "weights.safetensors"))), new Uint8Array(stored(ran, "result")))
  // A file that is not what it should be is named, not believed.
  for (const [bytes, problem] of [[Buffer.from("nonsense, of course"), /data\.safetensors is not a safetensors file/], [fs.readFileSync(path.join(out, "start.safetensors")), /start\.safetensors lacks order|data\.safetensors lacks order/]] as const) {
    fs.writeFileSync(path.join(out, "data.safetensors"), bytes)
    const failed = spawnSync(path.join(out, "train"), [], { cwd: out, encoding: "utf8" })
    assert.is(failed.status, 1)
    assert.match(failed.stderr, problem)
  }
  assert.is(spawnSync(path.join(out, "train"), ["--thread", "1"], { cwd: out }).status, 2)
}))

test("text written by C is the device's, letter by letter, and clean under sanitizers", () => withFolder(async (place) => {
  if (cpu === null) return
  place.write("book.txt", sentences(40))
  const recipe = recipeOf(`
book = text("book.txt") |> documents(by: paragraph) |> split(valid: 20%, unused: allow)
words = bpe(book.train, size: 280)
tokens = book |> encode(words) |> pack(length: 16)
model Tiny = Llama(vocab: words.size, dim: 16, depth: 2, heads: 2, context: 24)
result = train Tiny { data: tokens.train, objective: next_token, batch: 4 sequences, optim: adamw(lr: 1e-2), steps: 20 }
small = quantize result { format: q8_0 }
voices = generate small { prompts: ["the whale", "", "ship sails over, isn't it?"], tokens: 40, temperature: 0.9, top_k: 40, top_p: 0.95, seed: 5 }
greedy = generate result { prompts: ["the deep"], tokens: 9, temperature: 0, stop: [" sea"] }`)
  const ran = await place.run(recipe, { device: cpu })
  assert.equal(problemsOf(ran).filter((problem) => !/context/.test(problem)), [])
  const [voices, greedy] = [path.join(place.folder, "voices"), path.join(place.folder, "greedy")]
  assert.equal((await emitted(place, recipe, "voices", voices, cpu)).diagnostics, [])
  assert.equal((await emitted(place, recipe, "greedy", greedy, cpu)).diagnostics, [])
  const wanted = samplesOf(ran)
  const text = built(voices, compilers.at(-1) ?? "gcc", "generate", [], "-fsanitize=address,undefined -fno-sanitize-recover=all")
  assert.is(text + built(greedy, compilers[0] ?? "gcc", "generate"), wanted)
  // Prompts of one's own: several blocks of tokens, more prompts than rows, more than there is room for.
  const longer = execFileSync(path.join(voices, "generate"), ["--prompt", "the whale swims in the deep blue sea and the ship", "--tokens", "3", "--prompt", "the", "--prompt", "a", "--prompt", "b"], { cwd: voices, encoding: "utf8" })
  assert.match(longer, /^the whale swims in the deep blue sea and the ship[^]*\nthe[^]*\na[^]*\nb/)
  const refused = spawnSync(path.join(greedy, "generate"), ["--tokens", "900"], { cwd: greedy, encoding: "utf8" })
  assert.match(refused.stderr, /this program has room for \d+ tokens/)
  // What a training in C wrote fits as it is.
  fs.writeFileSync(path.join(greedy, "other.safetensors"), stored(ran, "result"))
  assert.is(execFileSync(path.join(greedy, "generate"), ["--weights", "other.safetensors"], { cwd: greedy, encoding: "utf8" }), samplesOf(ran).slice(text.length))
}))

test("windows keep rings in C, and rounded factors are rounded", () => withFolder(async (place) => {
  if (cpu === null) return
  place.write("book.txt", sentences(40))
  const recipe = recipeOf(`${bookTokens()}
model Narrow = Llama(vocab: words.size, dim: 16, depth: 2, heads: 2, context: 48, window: 5)
result = train Narrow { data: tokens.train, objective: next_token, batch: 4 sequences, optim: adamw(lr: 1e-2), steps: 4 }
voices = generate result { prompts: ["the whale swims in the deep", "", "a"], tokens: 14, temperature: 0.9, seed: 5, precision: bf16 }`)
  const ran = await place.run(recipe, { device: cpu })
  assert.equal(problemsOf(ran).filter((problem) => !/context/.test(problem)), [])
  const out = path.join(place.folder, "voices")
  assert.equal((await emitted(place, recipe, "voices", out, cpu)).diagnostics, [])
  assert.is(built(out, compilers[0] ?? "gcc", "generate", [], "-fsanitize=address,undefined -fno-sanitize-recover=all"), samplesOf(ran))
  assert.match(fs.readFileSync(path.join(out, "main.c"), "utf8"), /\{"cache\.0\.k", 1, BF16, \d+L, 240L\}, \/\* bf16\[3, 2, 5, 8\] \*\//)
  const apple = path.join(place.folder, "apple")
  assert.equal((await emitted(place, recipe, "voices", apple, cpu, cpuTargets.neon)).diagnostics, [])
  builtForApple(place, apple)
  const exact = path.join(place.folder, "exact")
  assert.equal((await emitted(place, recipe.replace(", precision: bf16", ""), "voices", exact, cpu)).diagnostics, [])
  const next = (folder: string): string => fs.readFileSync(path.join(folder, fs.readdirSync(folder).find((name) => /^next_.*\.c$/.test(name)) ?? ""), "utf8")
  assert.is.not(next(out), next(exact))
}))

const tokenizerMain = String.raw`
#include "tokenizer.h"
#include "slm.h"
#include <stdio.h>
#include <string.h>
/* Lines of text to lines of numbers and, after a bar, the text again. A line may hold anything but its end. */
int main(void) {
  static char line[1 << 16];
  while (fgets(line, sizeof line, stdin)) {
    id_list ids = {0};
    encode(&ids, line, strcspn(line, "\n"));
    for (size_t i = 0; i < ids.count; i++) printf("%d ", ids.ids[i]);
    size_t bytes;
    char *text = decode(ids.ids, ids.count, &bytes);
    putchar('|');
    fwrite(text, 1, bytes, stdout);
    putchar('\n');
  }
  /* Ids one by one: parts of characters are spelled as U+FFFD. */
  for (int32_t id = -1; id < 400; id++) {
    size_t bytes;
    char *text = decode(&id, 1, &bytes);
    for (size_t i = 0; i < bytes; i++) printf("%02x", (unsigned char)text[i]);
    putchar('\n');
  }
  return 0;
}
`

const awkward = [
  "", "the whale's tail isn't here, we'll see; I'd've thought: they're 're", "  two  blanks   and three ", "tabs\tand\u00a0no-break \u2003em", "12345 x2 3.14 ٣٤ Ⅷ ½",
  "naïve façade Übergröße ß Ελληνικά кириллица 漢字かな交じり文 한국어 עברית", "emoji 🐋🐋 👨‍👩‍👧 flags 🇩🇪", "a\u0301combining \u200bzero width\ufeff", "'s't're've'm'll'd 'S", "<|endoftext|>middle<|endoftext|>", "<|endoftext", "…—–“quotes”‘’", " ", "\u3000\u3000x", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈", "x".repeat(300),
]

test("a model that answers reads a text and writes another in C, as the device does", () => withFolder(async (place) => {
  if (cpu === null) return
  const recipe = `use std.optim { adamw }
use std.encodings { int8 }
use std.seq2seq { T5, pairs, rewriting }
rows = made(40, by: n => { prompt: "{n} and {n * 7 % 10}", answer: "{n * 7 % 10}" })
letters = char(rows |> each_row(row => { text: "{row.prompt}{row.answer}" }))
model Small = T5(vocab: letters.size, dim: 16, depth: 1, heads: 2, buckets: 8, furthest: 16)
there = train Small { data: pairs(rows, letters, length: 12, written: 4), objective: rewriting, batch: 8 sequences, steps: 12, optim: adamw(lr: 1e-2) }
small = quantize there { format: int8 }
talk = generate small { prompts: ["3 and 1", "", "29 and 3 and 29 and 3"], tokens: 6, temperature: 1.5 }
`
  const ran = await place.run(recipe, { device: cpu })
  assert.equal(problemsOf(ran), [])
  const answers = ran.events.flatMap((e) => (e.event === "sample" && e.at === null ? [`${e.text}\n`] : []))
  assert.ok(new Set(answers).size > 1)
  const out = path.join(place.folder, "c")
  assert.equal((await emitted(place, recipe, "talk", out, cpu)).diagnostics, [])
  assert.is(built(out, compilers[0] ?? "gcc", "generate"), answers.join(""))
  // Rows of a group that no prompt fills write nothing.
  assert.is(built(out, compilers[0] ?? "gcc", "generate", ["--prompt", "3 and 1", "--threads", "1"]), answers[0])
  assert.throws(() => built(out, compilers[0] ?? "gcc", "generate", ["--prompt", "1 and ".repeat(20)]), /reads texts of at most 32 tokens, and this one has 121/)
}))

test("tokenizers in C cut, merge and spell as they do here", () => withFolder(async (place) => {
  if (cpu === null) return
  const rows = rowsOf([...awkward.slice(1, 8), sentences(20)])
  const made: readonly Tokenizer[] = [expectGood(byteTokenizer(), "byte"), expectGood(charTokenizer(rows), "char").tokenizer, expectGood(bpeTokenizer(rows, { size: 400 }), "bpe").tokenizer]
  for (const [i, tokenizer] of made.entries()) {
    const tables = tablesOf(tokenizer)
    if (typeof tables === "string") throw new Error(tables)
    for (const [name, text] of [["slm.h", libraryHeader], ["slm.c", librarySource], ["tokenizer.h", tokenizerHeader], ["tokenizer.c", tokenizerFile(tables)], ["main.c", tokenizerMain]] as const) place.write(name, text)
    const cc = compilers[i % compilers.length] ?? "cc"
    execFileSync(cc, ["-std=gnu11", "-O0", "-g1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", "t", "main.c", "slm.c", "tokenizer.c"], { cwd: place.folder })
    const out = execFileSync(path.join(place.folder, "t"), { input: awkward.map((line) => `${line}\n`).join(""), encoding: "utf8", env: { ...process.env, ASAN_OPTIONS: "detect_leaks=0" } })
    const lines = out.split("\n")
    awkward.forEach((text, k) => {
      const ids = tokenizer.encode(text)
      assert.is(lines[k], `${[...ids].map((id) => `${id} `).join("")}|${tokenizer.decode(ids)}`, `${tokenizer.kind}: ${JSON.stringify(text)}`)
    })
    assert.equal(lines.slice(awkward.length, awkward.length + 401), Array.from({ length: 401 }, (_, id) => Buffer.from(tokenizer.decode([id - 1])).toString("hex")))
  }
}))

test.run()
