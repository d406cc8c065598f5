/** For tests: small recipes in a folder of their own, run on the reference device. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Checked } from "../../compiler/check/check.ts"
import { check } from "../../compiler/check/check.ts"
import type { SpecValue } from "../../compiler/check/value.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { createReference } from "../devices/reference.ts"
import { moduleReader } from "../library.ts"
import type { RunOptions, RunResult } from "../run-state.ts"
import { run } from "../run.ts"
import { openStore } from "../store/store.ts"
import type { Event } from "./events.ts"

export interface Workplace {
  readonly folder: string
  write(name: string, text: string): void
  run(recipe: string, options?: Partial<RunOptions>): Promise<Ran>
}

export interface Ran extends RunResult {
  readonly events: readonly Event[]
  readonly out: string
}

/** Uses a temporary folder, which is gone afterwards. */
export async function withFolder<T>(body: (place: Workplace) => Promise<T>): Promise<T> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slm-run-"))
  try {
    return await body(workplace(folder))
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function workplace(folder: string): Workplace {
  return {
    folder,
    write: (name, text) => fs.writeFileSync(path.join(folder, name), text),
    async run(recipe, options = {}) {
      const events: Event[] = []
      const out = options.out ?? path.join(folder, "out")
      const result = await run({
        recipe: { id: "recipe.slm", text: recipe }, folder, modules: moduleReader(folder), params: new Map(), device: options.device ?? createReference(), out,
        store: openStore(path.join(folder, ".slm", "store"), (message) => events.push({ event: "warning", stage: null, message, help: null })),
        clock: () => 0, ...options, emit: (event) => { events.push(event); options.emit?.(event) },
      })
      return { ...result, events, out }
    },
  }
}

const library: Readonly<Record<string, readonly string[]>> = {
  "std.models": ["GPT", "Llama", "Classifier"], "std.layers": ["Linear", "Embedding"], "std.optim": ["adamw", "clip_norm", "cosine", "linear", "sgd"],
  "std.objectives": ["next_token", "classify"], "std.distill": ["distill", "follow_stored", "on_policy", "taught", "top_logits"], "std.preferences": ["dpo", "preferences", "preferred"], "std.metrics": ["accuracy", "bits_per_byte", "perplexity"],
  "std.encodings": ["q8_0", "int8", "int4", "int3", "kmeans"], "std.losses": ["cross_entropy", "kl", "reverse_kl"],
  "std.adapters": ["LoRA", "SoftPrompt", "detach", "merge", "prompted", "soft_ids"], "std.growth": ["deepen"],
  "std.quantization": ["second_moment"], "std.pruning": ["activity", "magnitude", "sparsegpt", "sparsify", "thin_blocks", "thin_features", "thin_heads", "thin_neurons", "two_of_four", "wanda"],
}

/** A recipe with the imports it needs: an import that is not used is a mistake. */
export function recipeOf(body: string): string {
  const uses = Object.entries(library).flatMap(([module, names]) => {
    const used = names.filter((name) => new RegExp(`(^|[^\\w.])${name}\\b(?!:)`).test(body))
    return used.length === 0 ? [] : [`use ${module} { ${used.join(", ")} }`]
  })
  return `${uses.join("\n")}\n${body}`
}

/** Bytes of `book.txt` in rows of `length`, split. */
export const bookTokens = (length = 16): string => `
book = text("book.txt") |> documents(by: paragraph) |> split(valid: 20%, unused: allow)
words = byte()
tokens = book |> encode(words) |> pack(length: ${length})
`

/** Sentences that a model of a few thousand weights can learn in a few steps. */
export function sentences(count: number): string {
  const words = "the whale swims in the deep blue sea and the ship sails over the waves".split(" ")
  let x = 7
  const next = (): string => {
    x = (x * 1103515245 + 12345) % 2147483648
    return words[Math.floor((x / 2147483648) * words.length)] ?? "the"
  }
  return Array.from({ length: count }, () => `${Array.from({ length: 6 }, next).join(" ")}.`).join("\n\n")
}

/** A checked recipe with sizes of tokenizers as facts: for tests of lowering, which read no files. */
export function checkedWith(recipe: string, facts: Readonly<Record<string, number>> = {}): Checked {
  const environment = { modules: moduleReader(os.tmpdir()), params: new Map<string, string>() }
  const first = check({ id: "recipe.slm", text: recipe }, { ...environment, facts: new Map() })
  const known = new Map<string, number>()
  for (const stage of first.session.stages.values()) if (stage.type.is === "tokenizer") known.set(`${stage.key}.size`, facts[stage.name] ?? 257)
  const checked = check({ id: "recipe.slm", text: recipe }, { ...environment, facts: known })
  // A model alone is not used by anything, and may be all a test needs.
  const wrong = checked.diagnostics.filter((d) => d.severity === "error" && d.code !== "SLM2010").map((d) => `${d.code} ${d.message}`)
  if (wrong.length > 0) throw new Error(wrong.join("\n"))
  return checked
}

/** The specification that the recipe calls so. */
export function specNamed(checked: Checked, name: string): SpecValue {
  const value = checked.session.modules.get("recipe.slm")?.entries.get(name)?.value
  if (value?.kind !== "spec") throw new Error(`no model ${name}`)
  return value
}

export function stageNamed(checked: Checked, name: string): Stage {
  const stage = checked.recipe?.stages.find((s) => s.name === name)
  if (stage === undefined) throw new Error(`no stage ${name} among ${checked.recipe?.stages.map((s) => s.name).join(", ")}`)
  return stage
}

export function problemsOf(ran: Ran): readonly string[] {
  return ran.diagnostics.filter((d) => d.severity === "error").map((d) => `${d.code} ${d.message}`)
}

/** The facts of a stage by its name. */
export function factsOf(ran: Ran, name: string): Readonly<Record<string, number>> {
  const found = ran.stages.find(({ stage }) => stage.name === name)
  if (found === undefined) throw new Error(`no stage ${name} among ${ran.stages.map(({ stage }) => stage.name).join(", ")}`)
  return found.facts
}

