/**
 * Keys of stages (spec 5.11): the SHA-256 of a canonical form in which names of bindings, comments, layout and the
 * order of fields do not occur. Functions enter as their code with bound names replaced, and the values they capture.
 */
import type { Scope, SpecValue, Value } from "../check/value.ts"
import { constantOf, keyOf as polyKey, symbolsOf } from "../check/poly.ts"
import type { CodeForm } from "./canonical.ts"
import { canonicalCode } from "./canonical.ts"
import { sha256 } from "./sha256.ts"
import type { Stage, StageKind } from "./stage.ts"

/** What a key needs of the evaluator. */
export interface KeySource {
  /** The value of a free name, or null where it is a bare word. */
  readonly lookup: (name: string, scope: Scope) => Value | null
  /** All arguments of a specification, defaults included. */
  readonly argsOf: (spec: SpecValue) => ReadonlyMap<string, Value>
  readonly stageOf: (key: string) => Stage | null
}

export interface Keys {
  /** A text that equal values share. */
  readonly of: (value: Value) => string
  /** The stages a value refers to, closures included, each once. */
  readonly stagesOf: (value: Value) => readonly Stage[]
}

/** Raised when the meaning of a stage kind changes, so that old results are not taken for new ones. */
const revisions: Readonly<Record<StageKind, number>> = {
  text: 1, jsonl: 1, csv: 1, parquet: 1, documents: 1, clean: 1, split: 1, take: 1, chat: 1, each_row: 1, instruct: 1, append: 1, filter: 1, distinct: 1, redact: 1, in_language: 1, write: 1, byte: 1, char: 1, bpe: 1, trim: 1, load_tokenizer: 1, entries: 1, encode: 1, pack: 1, rarity: 1, loss_of: 1,
  made: 1, continued: 1, noted: 2, reread: 1, beginnings: 1, beside: 1, respelled: 1, answered: 1, overlay: 1,
  lengths: 1, curriculum: 1, train: 1, load: 1, initial: 1, rewrite: 1, observe: 1, quantize: 2, evaluate: 1, generate: 1, ranking: 1, expect: 1, export: 1,
}

/** Kinds in which a model writes. */
const writing: ReadonlySet<StageKind> = new Set<StageKind>(["generate", "write", "answered", "continued"])

/**
 * A training over micro-batches adds up its counts and losses in f32 where the programs run: so it is since its revision 2. A model of encoded weights
 * keeps keys and values in f16: so it is since revision 2 of what it writes.
 */
function revisionOf(kind: StageKind, args: ReadonlyMap<string, Value>): number {
  const model = args.get("model")
  if (writing.has(kind) && model?.kind === "artifact" && model.type.is === "weights" && model.type.encodings.length > 0) return 2
  const accumulate = args.get("accumulate")
  const alone = accumulate?.kind !== "int" || constantOf(accumulate.poly) === 1
  return kind === "train" && !alone ? 2 : revisions[kind]
}

/** Raised when the meaning of a primitive changes; the others are at 1. It enters the key of whatever calls the primitive. */
const primitiveRevisions: ReadonlyMap<string, number> = new Map()

/** What a recipe may say, who may see what it reads, and how much memory it takes: none of it changes a result. */
export const permissions: ReadonlySet<string> = new Set(["unused", "private", "recompute", "max_memory", "zeros", "codes"])

/** Raised when the canonical form itself changes. */
const formVersion = 1

export function stageKey(kind: StageKind, args: ReadonlyMap<string, Value>, keys: Keys): { readonly key: string; readonly inputs: readonly Stage[] } {
  const parts = [...args].filter(([name]) => !permissions.has(name)).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `${name}=${keys.of(value)}`)
  const inputs = new Map<string, Stage>()
  for (const value of args.values()) for (const stage of keys.stagesOf(value)) inputs.set(stage.key, stage)
  return { key: sha256(`slm ${formVersion} ${kind} ${revisionOf(kind, args)}\n${parts.join("\n")}`), inputs: [...inputs.values()] }
}

interface Info { readonly key: string; readonly stages: readonly Stage[] }

export function createKeys(source: KeySource): Keys {
  const found = new WeakMap<Value, Info>()
  const code = new WeakMap<object, CodeForm>()
  const active = new Set<Value>()

  function info(value: Value): Info {
    const known = found.get(value)
    if (known !== undefined) return known
    if (active.has(value)) return { key: "itself", stages: [] }
    active.add(value)
    const made = describe(value)
    active.delete(value)
    found.set(value, made)
    return made
  }

  function join(tag: string, named: readonly (readonly [string, Info])[]): Info {
    const stages = new Map<string, Stage>()
    for (const [, i] of named) for (const s of i.stages) stages.set(s.key, s)
    const text = `${tag}(${named.map(([name, i]) => (name === "" ? i.key : `${name}:${i.key}`)).join(",")})`
    return { key: text.length > 100 ? sha256(text) : text, stages: [...stages.values()] }
  }

  const items = (values: readonly Value[]): (readonly [string, Info])[] => values.map((v) => ["", info(v)])
  const fields = (values: ReadonlyMap<string, Value>): (readonly [string, Info])[] =>
    [...values].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, v]) => [name, info(v)])
  const plain = (key: string, stages: readonly Stage[] = []): Info => ({ key, stages })

  /** Code with what its free names mean. */
  function closed(node: object, scope: Scope, more: readonly (readonly [string, Info])[] = []): Info {
    const form = code.get(node) ?? canonicalCode(node)
    code.set(node, form)
    const captured = form.free.map((name): readonly [string, Info] => {
      const value = source.lookup(name, scope)
      return [name, value === null ? plain(`word:${name}`) : info(value)]
    })
    // Names of free variables are not meaning; their order of occurrence is.
    return join(`code ${form.text}`, [...captured.map(([, i]): readonly [string, Info] => ["", i]), ...more])
  }

  function describe(value: Value): Info {
    switch (value.kind) {
      case "int": return plain(`i${polyKey(value.poly)}`, symbolsOf(value.poly).flatMap((s) => source.stageOf(s.id.split(".")[0] ?? "") ?? []))
      case "float": return value.value === null ? join("f?", value.pending.map((s) => ["", plain(s.key, [s])])) : plain(`f${Object.is(value.value, -0) ? "-0" : value.value}`)
      case "bool": return value.value === null ? join("b?", value.pending.map((s) => ["", plain(s.key, [s])])) : plain(`b${value.value}`)
      case "string": return plain(`s${JSON.stringify(value.value)}`)
      case "none": case "error": return plain(value.kind)
      case "symbol": return plain(`w${value.name}`)
      case "quantity": return plain(`q${value.value} ${value.unit}`)
      case "list": return join("list", items(value.items))
      case "record": return join("record", fields(value.fields))
      case "closure": return closed(value.code, value.scope)
      case "primitive": {
        const revision = primitiveRevisions.get(value.name)
        return plain(`primitive ${value.name}${revision === undefined ? "" : ` ${revision}`}`)
      }
      case "definition": case "template": case "format": return closed(value.code, value.scope)
      case "spec": return join("spec", [["", info(value.template)], ...fields(source.argsOf(value)), ...value.ats.flatMap((a) => items([a.address, a.replace])), ...items(value.given === undefined ? [] : [value.given])])
      case "instance": return join(`instance ${value.role} ${value.path}`, items([value.spec, ...(value.trained === undefined ? [] : [value.trained])]))
      case "optimizer": return join("optimizer", [["", closed(value.code, value.scope)], ...fields(value.args), ...items(value.transforms)])
      case "encoding": return join("encoding", [["", closed(value.code, value.scope)], ...fields(value.args)])
      case "curriculum": return closed(value.code, value.scope)
      case "artifact": return plain(`${value.stage.key}${value.member === null ? "" : `.${value.member}`}`, [value.stage])
      case "mix": return join("mix", value.items.flatMap((i) => items([i.share, i.data, ...(i.easiest === null ? [] : [i.easiest])])))
      case "address": return plain(`address ${JSON.stringify(value.segments)}`)
      case "init": return plain(`init ${value.how} ${value.a}`)
      case "unknown": return plain(`unknown ${value.type}`)
      case "tensor": case "loss": case "mask": return plain(value.kind)
    }
  }

  return { of: (value) => info(value).key, stagesOf: (value) => info(value).stages }
}
