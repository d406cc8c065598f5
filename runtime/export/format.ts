import { size } from "../../compiler/graph/node.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Problem, Result } from "./problem.ts"
import { backward, forward, stepShapes } from "./steps.ts"
import type { Step } from "./steps.ts"

/** One line of a format for one value of its indices: which of our weights become which foreign tensor, and how. */
export interface TensorMap {
  readonly ours: readonly string[] // concrete paths, in order; none where the weight is absent and `or_zeros` stands in
  readonly theirs: string
  readonly steps: readonly Step[]
}

/** A foreign tensor with its name. */
export interface NamedTensor {
  readonly name: string
  readonly tensor: StoredTensor
}

/** All weights under their foreign names, in the order of the maps. Every weight must be mapped exactly once. */
export function toForeign(format: string, maps: readonly TensorMap[], weights: Weights): Result<readonly NamedTensor[]> {
  const problems = [...repeated(format, maps), ...unmapped(format, maps, weights.tensors.keys())]
  const named: NamedTensor[] = []
  for (const map of maps) {
    const ours = map.ours.map((path) => weights.tensors.get(path))
    const absent = map.ours.filter((_, i) => ours[i] === undefined)
    if (absent.length > 0) {
      problems.push(lacking(format, map, absent))
      continue
    }
    const present = ours.filter((tensor) => tensor !== undefined)
    const shapes = stepShapes(map.steps, present.map((tensor) => tensor.shape))
    if (typeof shapes === "string") problems.push(impossible(format, map, shapes))
    else named.push({ name: map.theirs, tensor: forward(map.steps, present) })
  }
  return problems.length > 0 ? wrong(...problems) : fine(named)
}

/** What the reader of a foreign file is told of one tensor before its data is read. */
export interface ForeignHeader {
  readonly name: string
  readonly shape: Shape
}

/**
 * Whether a file with these tensors holds exactly the weights expected: every one of them and no other, but for the names to ignore
 * (`*` stands for any run of characters between dots).
 */
export function checkForeign(
  format: string, maps: readonly TensorMap[], expected: ReadonlyMap<string, Shape>, found: readonly ForeignHeader[], ignore: readonly string[] = [],
): readonly Problem[] {
  const problems = [...repeated(format, maps), ...unmapped(format, maps, expected.keys())]
  const headers = new Map(found.map((header) => [header.name, header.shape]))
  const claimed = new Set<string>()
  for (const map of maps) {
    claimed.add(map.theirs)
    const unknown = map.ours.filter((path) => !expected.has(path))
    if (unknown.length > 0) {
      problems.push(lacking(format, map, unknown))
      continue
    }
    const shape = headers.get(map.theirs)
    const shapes = stepShapes(map.steps, map.ours.map((path) => expected.get(path) ?? []))
    if (typeof shapes === "string") problems.push(impossible(format, map, shapes))
    else if (shape !== undefined) problems.push(...compared(map, shapes.at(-1)![0]!, shape))
    else if (map.ours.length > 0) problems.push(problem("SLM3203", `the file has no tensor \`${map.theirs}\`, which holds \`${map.ours.join("`, `")}\``))
  }
  const ignored = ignore.map(pattern)
  for (const { name, shape } of found) {
    if (claimed.has(name) || ignored.some((matches) => matches.test(name))) continue
    problems.push(problem("SLM3202", `the model has no place for \`${name}\` [${shape.join(", ")}] of the file`, {
      notes: [`format ${format} maps every tensor of a file, so that nothing is lost unseen.`],
      help: "check the sizes of the model against the file's config.json (layers, biases, tied embeddings)",
    }))
  }
  return problems
}

/** Our weights out of foreign tensors; their headers must have been checked by `checkForeign`. */
export function fromForeign(
  format: string, maps: readonly TensorMap[], expected: ReadonlyMap<string, Shape>, read: (name: string) => StoredTensor | null,
): Result<Weights> {
  const found = new Map<string, StoredTensor>()
  const problems: Problem[] = []
  for (const map of maps) {
    const theirs = read(map.theirs)
    if (theirs === null && map.ours.length === 0) continue
    const shapes = stepShapes(map.steps, map.ours.map((path) => expected.get(path) ?? []))
    if (theirs === null || typeof shapes === "string") throw new Error(`format ${format}: ${map.theirs} was not checked before it was read`)
    if (map.ours.length === 0) {
      if (theirs.decoded().some((value) => value !== 0)) problems.push(surplus(map.theirs))
      continue
    }
    backward(map.steps, shapes, theirs).forEach((tensor, i) => found.set(map.ours[i]!, tensor))
  }
  if (problems.length > 0) return wrong(...problems)
  return fine({ tensors: new Map([...expected.keys()].map((path) => [path, found.get(path)!])) })
}

// ---------------------------------------------------------------- problems

function* repeated(format: string, maps: readonly TensorMap[]): Iterable<Problem> {
  const ours = new Set<string>()
  const theirs = new Set<string>()
  for (const map of maps) {
    if (theirs.has(map.theirs)) yield problem("SLM3206", `format ${format} writes \`${map.theirs}\` twice`)
    theirs.add(map.theirs)
    for (const path of map.ours) {
      if (ours.has(path)) yield problem("SLM3206", `format ${format} maps the weight \`${path}\` twice`)
      ours.add(path)
    }
  }
}

function* unmapped(format: string, maps: readonly TensorMap[], paths: Iterable<string>): Iterable<Problem> {
  const mapped = new Set(maps.flatMap((map) => map.ours))
  for (const path of paths) {
    if (mapped.has(path)) continue
    yield problem("SLM3201", `format ${format} has no place for the weight \`${path}\``, {
      help: `add a line to the format: \`map ${path} => "its name there"\``,
    })
  }
}

function lacking(format: string, map: TensorMap, paths: readonly string[]): Problem {
  return problem("SLM3205", `format ${format} needs \`${paths.join("`, `")}\` for \`${map.theirs}\`, and the model has no such weight`)
}

function compared(map: TensorMap, wanted: Shape, shape: Shape): readonly Problem[] {
  if (wanted.length === shape.length && wanted.every((n, i) => n === shape[i])) return []
  const from = map.ours.length === 0 ? "the model" : `\`${map.ours.join("`, `")}\``
  const ratio = size(wanted) === size(shape) ? ["both have as many numbers: a transpose may be missing."] : []
  return [problem("SLM3204", `\`${map.theirs}\` is [${shape.join(", ")}] in the file, and ${from} makes it [${wanted.join(", ")}]`, { notes: ratio })]
}

function impossible(format: string, map: TensorMap, why: string): Problem {
  return problem("SLM3207", `format ${format} cannot make \`${map.theirs}\` of ${map.ours.length === 0 ? "no weight" : `\`${map.ours.join("`, `")}\``}: ${why}`)
}

function surplus(name: string): Problem {
  return problem("SLM3219", `\`${name}\` of the file is not zero, and the model has no such weight`, { help: "give the model its offsets: `bias: true`" })
}

function pattern(text: string): RegExp {
  return new RegExp(`^${text.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^.]*")}$`)
}
