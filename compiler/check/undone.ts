/** Trainings that would undo what an earlier pass did: codes of a grid, zeros that a pruning left. */
import { diagnostic } from "../../grammar/diagnostic.ts"
import { parsePath } from "./address.ts"
import { weightsOf } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { isChosen } from "./primitives/passes.ts"
import { storedAs, trainedInstance } from "./trained.ts"
import { isTrained } from "./training-weights.ts"
import type { Roles } from "./training.ts"
import type { ArtifactValue, CallSite, InstanceValue, Value } from "./value.ts"

type Args = ReadonlyMap<string, Value>

const saysWord = (args: Args, name: string, word: string): boolean => {
  const value = args.get(name)
  return value?.kind === "symbol" && value.name === word
}

/** `codes: lose`, `zeros: lose` say that it is meant. */
export function checkNothingUndone(args: Args, roles: Roles, site: CallSite, m: Machine): void {
  const several = args.get("roles")?.kind === "record"
  for (const { name, instance } of roles.subjects) {
    const from = several ? memberOf(args.get("roles"), name) : args.get("model")
    if (from?.kind !== "artifact" || from.type.is !== "weights") continue
    const at = site.args.get(several ? "roles" : "model") ?? site.span
    const trained = weightsOf(instance).filter(({ path }) => isTrained(args, name, path, several))
    const coded = saysWord(args, "codes", "lose") ? undefined : trained.find(({ path, shape }) => storedAs(from, path, shape.length, m) !== null)
    if (coded !== undefined) {
      const format = storedAs(from, coded.path, coded.shape.length, m)?.code.name.name ?? ""
      m.report(diagnostic("SLM2217", at, `\`${coded.path}\` is stored as \`${format}\`, and this training would make plain numbers of its codes`, {
        help: "`freeze` what is stored as codes and train small parts beside it (`LoRA`), or train what `dequantize` yields and quantise after it",
      }))
      continue
    }
    const zeros = saysWord(args, "zeros", "lose") ? undefined : trained.find(({ path, shape }) => hasZeros(from, path, shape.length, m) && !keepsZeros(instance, path))
    if (zeros === undefined) continue
    m.report(diagnostic("SLM2217", at, `\`${zeros.path}\` was pruned, and this training would fill its zeros again`, {
      help: "put a part around it that keeps them, `with { at blocks[*].attn.{q, k, v, out}: Sparse }`, or say `zeros: lose`",
    }))
  }
}

function memberOf(roles: Value | undefined, name: string): Value | undefined {
  return roles?.kind === "record" ? roles.fields.get(name) : undefined
}

/** Whether the zeros of a weight are there because a pass made them and meant them to stay. */
function hasZeros(artifact: ArtifactValue, path: string, rank: number, m: Machine): boolean {
  const { stage } = artifact
  const model = stage.args.get("model")
  const before = (): boolean => model?.kind === "artifact" && model.type.is === "weights" && hasZeros(model, path, rank, m)
  switch (stage.kind) {
    case "rewrite": return saysWord(stage.args, "zeros", "hold") && isChosen(stage.args, path, rank) ? true : before()
    case "quantize": return before()
    case "train": return !saysWord(stage.args, "zeros", "lose") && before()
    case "initial": {
      const instance = trainedInstance(artifact, m)
      const start = instance.kind === "error" ? undefined : weightsOf(instance).find((w) => w.path === path)?.start
      return start?.is === "taken" && hasZeros(start.from, start.path, rank, m)
    }
    default: return false
  }
}

/** Whether a layer around the weight says `let keeps_zeros = true`: a number of it that is zero has no gradient. */
function keepsZeros(instance: InstanceValue, path: string): boolean {
  let now: Value | undefined = instance
  for (const segment of parsePath(path)) {
    if (now?.kind === "instance" && isTrue(now.members.get("keeps_zeros"))) return true
    now = "index" in segment ? (now?.kind === "list" ? now.items[segment.index] : undefined)
      : now?.kind === "instance" ? now.members.get(segment.name) : now?.kind === "record" ? now.fields.get(segment.name) : undefined
  }
  return false
}

function isTrue(value: Value | undefined): boolean {
  return value?.kind === "bool" && value.value === true
}
