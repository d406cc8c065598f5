/** Weights that no training has made: the first ones of a model, drawn, taken from others, or computed from them. */
import type { Span } from "../../grammar/diagnostic.ts"
import { resolveSpec, weightsOf } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { error, int } from "./make.ts"
import { symbolsOf } from "./poly.ts"
import type { ArtifactType, ArtifactValue, EncodingValue, ErrorValue, SpecValue, Value, WeightInfo } from "./value.ts"

export interface FirstWeights {
  /** The weights that are changed. */
  readonly from?: ArtifactValue
  readonly seed?: Value
  /** Codes are decoded. */
  readonly plain?: boolean
}

/** The stage that makes the first weights of a specification. */
export function initialWeights(spec: SpecValue, { from, seed, plain = false }: FirstWeights, at: Span, m: Machine): ArtifactValue | ErrorValue {
  const instance = m.instantiate(spec, "model", at)
  if (instance.kind === "error") return error
  const weights = weightsOf(instance)
  const drawn = weights.some((w) => isDrawn(w))
  const args = new Map<string, Value>([["model", spec], ["seed", drawn ? seed ?? seedOf(from ?? null) : int(0)], ["store", { kind: "symbol", name: plain ? "plain" : "kept", origin: null }]])
  const sources = weights.flatMap((w) => sourceOf(w))
  const types = [...(from === undefined ? [] : [from]), ...sources].flatMap((a) => (a.type.is === "weights" ? [a.type] : []))
  const type: ArtifactType = { is: "weights", spec, encodings: plain ? [] : distinct(types.flatMap((t) => t.encodings), m), tokenizer: tokenizerOf(spec, m) ?? types.find((t) => t.tokenizer !== null)?.tokenizer ?? null }
  return m.stage("initial", args, type, at)
}

/** The tokenizer whose size is the model's vocabulary, where it says so; else it is that of the weights it goes on from. */
function tokenizerOf(spec: SpecValue, m: Machine): ArtifactValue | null {
  const vocab = resolveSpec(spec, m)?.args.get("vocab")
  const symbols = vocab?.kind === "int" ? symbolsOf(vocab.poly).filter((s) => s.vocabulary) : []
  const stage = symbols.length === 1 ? m.session.stages.get(symbols[0]?.id.split(".")[0] ?? "") : undefined
  return stage?.type.is === "tokenizer" ? { kind: "artifact", stage, member: null, type: stage.type, origin: null } : null
}

/** A specification that brings trained weights along becomes weights before it is trained. */
export function withFirstWeights(value: Value, seed: Value | undefined, at: Span, m: Machine): Value {
  if (value.kind !== "spec" || !m.session.keys.stagesOf(value).some((s) => s.type.is === "weights" || s.type.is === "roles")) return value
  return initialWeights(value, seed === undefined ? {} : { seed }, at, m)
}

function isDrawn(w: WeightInfo): boolean {
  return w.start === undefined || (w.start.is === "computed" && isDrawn(w.start.of))
}

function sourceOf(w: WeightInfo): readonly ArtifactValue[] {
  return w.start === undefined ? [] : w.start.is === "taken" ? [w.start.from] : sourceOf(w.start.of)
}

/** New parts of trained weights are drawn with the seed of the training. */
function seedOf(from: ArtifactValue | null): Value {
  const [seed, model] = [from?.stage.args.get("seed"), from?.stage.args.get("model")]
  return seed !== undefined && seed.kind === "int" ? seed : model?.kind === "artifact" ? seedOf(model) : int(0)
}

function distinct(encodings: readonly EncodingValue[], m: Machine): readonly EncodingValue[] {
  const keys = encodings.map((e) => m.session.keys.of(e))
  return encodings.filter((_, i) => keys.indexOf(keys[i] ?? "") === i)
}
