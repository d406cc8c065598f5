/** Curricula and mixtures: which tokens a training sees, in which order. Both become one stage of kind `curriculum`. */
import type { Curriculum, FieldExpr } from "../../grammar/ast.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Span } from "../../grammar/diagnostic.ts"
import type { Bound } from "./arguments.ts"
import type { Site } from "./calls.ts"
import { display, kindOf } from "./describe.ts"
import { evaluate } from "./evaluate.ts"
import type { Machine } from "./machine.ts"
import { error, list, none, record, string, unknown } from "./make.ts"
import { didYouMean, listed } from "./suggest.ts"
import { sameFields } from "./row-fields.ts"
import { coerce } from "./types.ts"
import type { ArtifactType, ArtifactValue, MixValue, Scope, Value } from "./value.ts"

const typed = (name: string, span: Span) => ({ kind: "named", name, dims: null, span }) as const

export function curriculumOf(code: Curriculum, scope: Scope, bound: Bound, site: Site, m: Machine): Value {
  const difficulty = fieldValue(code.fields, "difficulty", ["difficulty"], "Difficulty", scope, m)
  const stages = code.stages.map((stage, i) => {
    const until = fieldValue(stage.fields, "until", ["until", "mix"], "steps", scope, m)
    const mix = fieldValue(stage.fields, "mix", ["until", "mix"], "Mix", scope, m)
    if (mix.kind === "none") return m.report(diagnostic("SLM2015", stage.name.span, `stage \`${stage.name.name}\` needs \`mix\``))
    const last = i === code.stages.length - 1
    if (!last && until.kind === "none") {
      const next = code.stages[i + 1]
      return m.report(diagnostic("SLM2204", next?.name.span ?? stage.name.span, `stage \`${next?.name.name ?? ""}\` is never reached`, {
        labels: [{ span: stage.name.span, message: "this stage goes on to the end" }], help: "give the stage before it an `until`: `until: 200 steps`",
      }))
    }
    return record(new Map<string, Value>([["name", string(stage.name.name)], ["until", until], ["mix", mix]]), stage.span)
  })
  if (code.stages.length === 0) return m.report(diagnostic("SLM2015", code.name.span, `curriculum \`${code.name.name}\` has no stage`))
  if (!rising(code, stages, m) || difficulty.kind === "error" || stages.some((s) => s.kind === "error" || (s.kind === "record" && [...s.fields.values()].some((v) => v.kind === "error")))) return error
  if ([...bound.args.values()].some((v) => v.kind === "unknown") || stages.some((s) => s.kind === "record" && s.fields.get("mix")?.kind === "unknown")) return unknown("TrainingData", site.span)
  const mixes = stages.map((s) => (s.kind === "record" ? s.fields.get("mix") : undefined)).filter((v): v is MixValue => v?.kind === "mix")
  if (difficulty.kind === "none" && mixes.some((mix) => mix.items.some((i) => i.easiest !== null))) {
    return m.report(diagnostic("SLM2015", code.name.span, `\`easiest\` needs to know what is easy`, { help: "give the curriculum a `difficulty`: `difficulty: rarity(prose)`" }))
  }
  if (!hasEffect(difficulty, mixes, m) || !ranksWhatIsChosen(difficulty, mixes, m)) return error
  return staged(difficulty, stages, mixes, site.span, m)
}

/** A difficulty that chooses nothing, and a choice of everything. */
function hasEffect(difficulty: Value, mixes: readonly MixValue[], m: Machine): boolean {
  const chosen = mixes.flatMap((mix) => mix.items).flatMap((i) => (i.easiest === null ? [] : [i.easiest]))
  if (difficulty.kind === "artifact" && chosen.length === 0) {
    m.report(diagnostic("SLM2202", difficulty.origin ?? difficulty.stage.span, "the difficulty has no effect: no stage chooses by it", { help: "`mix: easiest(prose, 30%)` takes the easiest rows" }))
    return false
  }
  const all = mixes.map((mix) => mix.items.flatMap((i) => (i.easiest === null ? [] : [i.easiest]))).every((items) => items.every((share) => (constantOf(share, m) ?? 0) >= 1))
  const [first] = chosen
  if (first === undefined || !all) return true
  m.report(diagnostic("SLM2202", first.origin ?? difficulty.origin ?? { source: m.session.entry, start: 0, end: 0 }, "the easiest 100% are all rows: the difficulty has no effect", { help: "take less of them, or a share that grows: `linear(30%, 100%)`" }))
  return false
}

/** A share that is the same at every step. */
function constantOf(share: Value, m: Machine): number | null {
  if (share.kind === "float") return share.value
  if (share.kind === "int") return m.known(share.poly)
  const inner = share.kind === "closure" && share.code.kind === "lambda" && share.code.body.kind === "name" && share.scope.names.size === 1 ? share.scope.names.get(share.code.body.name) : undefined
  return inner === undefined ? null : constantOf(inner, m)
}

/** Difficulties belong to the rows they were measured on. */
function ranksWhatIsChosen(difficulty: Value, mixes: readonly MixValue[], m: Machine): boolean {
  const ranked = difficulty.kind === "artifact" ? difficulty.stage.args.get("data") : undefined
  if (ranked?.kind !== "artifact") return true
  const wrong = mixes.flatMap((mix) => mix.items).find((i) => i.easiest !== null && (i.data.stage.key !== ranked.stage.key || i.data.member !== ranked.member))
  if (wrong === undefined) return true
  m.report(diagnostic("SLM2110", wrong.easiest?.origin ?? wrong.data.origin ?? difficulty.origin ?? ranked.stage.span, `the difficulty is one of \`${display(ranked, m) ?? ""}\`, and does not rank \`${display(wrong.data, m) ?? ""}\``, {
    labels: difficulty.origin === null ? [] : [{ span: difficulty.origin, message: "the difficulty" }], help: "measure the data that `easiest` chooses from",
  }))
  return false
}

function fieldValue(fields: readonly FieldExpr[], name: string, names: readonly string[], type: string, scope: Scope, m: Machine): Value {
  for (const f of fields) {
    if (!names.includes(f.name.name)) m.report(diagnostic("SLM2014", f.name.span, `there is no field \`${f.name.name}\` here`, { help: didYouMean(f.name.name, names) ?? `there are ${listed(names)}` }))
  }
  const field = fields.find((f) => f.name.name === name)
  if (field === undefined) return none
  return coerce(evaluate(field.value, scope, m), typed(type, field.span), { name, what: `\`${name}\``, at: field.value.span, scope, axes: new Map() }, m)
}

/** Every stage ends after the one before it. */
function rising(code: Curriculum, stages: readonly Value[], m: Machine): boolean {
  let before = 0
  for (const [i, stage] of stages.entries()) {
    const until = stage.kind === "record" ? stage.fields.get("until") : undefined
    const at = until?.kind === "int" ? m.known(until.poly) : null
    const name = code.stages[i]?.name
    if (at === null || name === undefined) continue
    if (at <= before) {
      m.report(diagnostic("SLM2204", name.span, `stage \`${name.name}\` is never reached`, { notes: [`it would end at step ${at}, and the stage before it ends at step ${before}`] }))
      return false
    }
    before = at
  }
  return true
}

/** Whether a training of so many steps (null: not known) comes to every stage; a mixture has no epochs. */
export function reachesAll(data: ArtifactValue, steps: number | null, epochs: Value | undefined, at: Span, m: Machine): boolean {
  const stages = data.stage.kind === "curriculum" ? data.stage.args.get("stages") : undefined
  if (stages?.kind !== "list") return true
  if (epochs !== undefined && epochs.kind !== "none") {
    m.report(diagnostic("SLM2203", at, "a mixture has no epochs", { notes: ["it draws from several sources, so that there is no number of rows that would be one epoch."], help: "say how long to train in `steps` or `tokens`" }))
    return false
  }
  const ends = stages.items.map((s) => {
    const until = s.kind === "record" ? s.fields.get("until") : undefined
    return until?.kind === "int" ? m.known(until.poly) : null
  })
  const last = ends.findIndex((end) => end !== null && steps !== null && end >= steps)
  const next = stages.items[last + 1]
  const name = next?.kind === "record" ? next.fields.get("name") : undefined
  if (last < 0 || next === undefined || name?.kind !== "string") return true
  m.report(diagnostic("SLM2204", at, `stage \`${name.value ?? ""}\` is never reached`, {
    label: `${steps} steps`, labels: next.origin === null ? [] : [{ span: next.origin, message: `begins after step ${ends[last]}` }], help: "train for longer, or let the stages end earlier",
  }))
  return false
}

/** A mixture used as it is: one stage to the end. */
export function mixed(mix: MixValue, at: Span, m: Machine): Value {
  if (mix.items.some((i) => i.easiest !== null)) return m.report(diagnostic("SLM2015", at, "`easiest` needs to know what is easy", { help: "use it in a `curriculum`, which has a `difficulty`" }))
  const stage = record(new Map<string, Value>([["name", string("all")], ["until", none], ["mix", mix]]), at)
  return staged(none, [stage], [mix], at, m)
}

function staged(difficulty: Value, stages: readonly Value[], mixes: readonly MixValue[], at: Span, m: Machine): Value {
  const items = mixes.flatMap((mix) => mix.items)
  const [first] = items
  if (first === undefined) return error
  for (const mix of mixes) if (!sharesAreWhole(mix, at, m)) return error
  for (const i of items) if (!sameTokens(first.data, i.data, at, m)) return error
  const type: ArtifactType = first.data.type
  return m.stage("curriculum", new Map<string, Value>([["difficulty", difficulty], ["stages", list(stages)]]), type, at)
}

function sharesAreWhole(mix: MixValue, at: Span, m: Machine): boolean {
  const nothing = mix.items.find((i) => i.share.kind === "float" ? i.share.value === 0 : i.share.kind === "int" && m.known(i.share.poly) === 0)
  if (nothing !== undefined) {
    m.report(diagnostic("SLM2202", nothing.share.origin ?? nothing.data.origin ?? at, `0% of \`${display(nothing.data, m) ?? "it"}\` has no effect`, { help: "leave it out of the mixture" }))
    return false
  }
  const shares = mix.items.map((i) => (i.share.kind === "float" ? i.share.value : i.share.kind === "int" ? m.known(i.share.poly) : null))
  const total = shares.reduce((sum: number | null, s) => (sum === null || s === null ? null : sum + s), 0)
  if (total === null || Math.abs(total - 1) < 1e-6) return true
  m.report(diagnostic("SLM2303", mix.origin ?? at, `the shares of this mixture add up to ${Number((100 * total).toFixed(4))}%, not 100%`))
  return false
}

function sameTokens(a: ArtifactValue, b: ArtifactValue, at: Span, m: Machine): boolean {
  if (a.type.is !== "tokens" || b.type.is !== "tokens") return false
  for (const x of [a, b]) if (x.type.is === "tokens" && x.type.parts !== null) {
    m.report(diagnostic("SLM2110", x.origin ?? at, `a mixture is made of one part of the data, not of ${kindOf(x, m)}`, { help: `choose one: \`.${x.type.parts[0] ?? "train"}\`` }))
    return false
  }
  return sameRows(a, b, { tokens: "a mixture of tokens of two tokenizers", rows: "a mixture of rows", at: b.origin ?? at }, m)
}

interface Together { readonly tokens: string; readonly rows: string; readonly at: Span }

/** Whether rows can stand in one batch: tokens of one tokenizer, one length, the same beside them. */
export function sameRows(a: ArtifactValue, b: ArtifactValue, together: Together, m: Machine): boolean {
  const { at } = together
  if (a.type.is !== "tokens" || b.type.is !== "tokens") return false
  if (a.type.tokenizer.stage.key !== b.type.tokenizer.stage.key) {
    m.report(diagnostic("SLM2104", at, together.tokens, {
      labels: [a, b].flatMap((x) => (x.type.is === "tokens" ? [{ span: x.type.tokenizer.stage.span, message: `tokens of \`${x.type.tokenizer.stage.name}\`` }] : [])), help: "encode both with one tokenizer",
    }))
    return false
  }
  const different = (how: string, help: string): boolean => {
    m.report(diagnostic("SLM2102", at, `${together.rows} ${how}`, { labels: a.origin === null ? [] : [{ span: a.origin, message: "these rows are different" }], help }))
    return false
  }
  if (!sameFields(a.type.fields, b.type.fields, m)) return different("that differ in what stands beside them", "put the same `beside` both")
  const [p, q] = [a.type.length, b.type.length]
  if ((p === null) !== (q === null) || (p?.kind === "int" && q?.kind === "int" && m.compare(p.poly, q.poly) === "different")) return different("of different lengths", "pack both to one length")
  return (a.type.labels === null) === (b.type.labels === null) || different("of which only some have classes", "give both a field of type `class`, or neither")
}
