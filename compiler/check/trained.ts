/** The results of trainings as parts: `teacher.blocks[2].attn.q.weight`. */
import { matches } from "./address.ts"
import { artifactRole } from "./forward.ts"
import { instantiate, weightsOf } from "./instance.ts"
import type { Machine } from "./machine.ts"
import { isTrained } from "./training-weights.ts"
import type { AddressValue, ArtifactValue, EncodingValue, ErrorValue, InstanceValue } from "./value.ts"

/** The instance behind trained weights, every part of which knows whose it is. Made once for each graph. */
export function trainedInstance(artifact: ArtifactValue, m: Machine): InstanceValue | ErrorValue {
  if (artifact.type.is !== "weights") throw new Error(`check: ${artifact.stage.name} is no model`)
  const known = m.session.trained.get(m.lowering?.builder ?? m.session) ?? new Map<string, InstanceValue | ErrorValue>()
  m.session.trained.set(m.lowering?.builder ?? m.session, known)
  const role = artifactRole(artifact)
  const found = known.get(role)
  if (found !== undefined) return found
  const made = instantiate(artifact.type.spec, role, artifact.origin ?? artifact.stage.span, m, artifact)
  known.set(role, made)
  return made
}

/** The encoding that holds a weight of trained weights; null: it is plain numbers. */
export function storedAs(artifact: ArtifactValue, path: string, rank: number, m: Machine): EncodingValue | null {
  if (artifact.type.is !== "weights" || artifact.type.encodings.length === 0) return null
  const { stage } = artifact
  const model = stage.args.get("model")
  switch (stage.kind) {
    case "quantize": {
      const [format, keep] = [stage.args.get("format"), stage.args.get("keep")]
      const kept = keep?.kind === "list" && keep.items.some((a): a is AddressValue => a.kind === "address" && matches(a, path, "below"))
      if (rank >= 2 && !kept && format?.kind === "encoding") return format
      return model?.kind === "artifact" ? storedAs(model, path, rank, m) : null
    }
    case "train": return model?.kind === "artifact" && !isTrained(stage.args, "model", path, false) ? storedAs(model, path, rank, m) : null
    case "initial": {
      const instance = trainedInstance(artifact, m)
      const start = instance.kind === "error" ? undefined : weightsOf(instance).find((w) => w.path === path)?.start
      return start?.is === "taken" ? storedAs(start.from, start.path, rank, m) : null
    }
    case "overlay": return model?.kind === "artifact" ? storedAs(model, path, rank, m) : null
    default: return null
  }
}
