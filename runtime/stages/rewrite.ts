/** `rewrite`: a rule makes new numbers of matrices, on the host. */
import { isChosen } from "../../compiler/check/primitives/passes.ts"
import { seenBy } from "../../compiler/check/statistics.ts"
import { none } from "../../compiler/check/make.ts"
import type { Value } from "../../compiler/check/value.ts"
import type { Shape } from "../../compiler/graph/node.ts"
import { lowered } from "../../compiler/graph/lower/context.ts"
import { rowsOf } from "../../compiler/graph/lower/encoding.ts"
import type { HostLowering } from "../../compiler/graph/lower/host.ts"
import { createHostLowering } from "../../compiler/graph/lower/host.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { StoredTensor } from "../weights.ts"
import { plain } from "../weights.ts"
import { expectData, whole } from "./artifact.ts"
import type { Executor, StageEnv } from "./environment.ts"
import { artifactArg, done, failed, given, refOf, required } from "./environment.ts"
import { sourcesOf } from "./initial.ts"
import { countBytes, weightsInput } from "./weights-io.ts"

/** A rule of (w, seen) that is applied to one weight after the other. */
export interface Ruler {
  readonly host: HostLowering
  /** What the rule makes of the rows of a weight. */
  apply(path: string, tensor: StoredTensor, shape: Shape): Value
}

export async function createRuler(stage: Stage, by: Value, env: StageEnv): Promise<Ruler> {
  const sources = await sourcesOf(stage, env)
  const host = createHostLowering(env.session, (role, info) => {
    const tensor = sources.get(role)?.tensors.get(info.path)
    if (tensor === undefined) throw new Error(`stages: nothing holds ${role}.${info.path}`)
    return tensor.decoded()
  })
  const statistics = artifactArg(stage, "statistics")
  return {
    host,
    apply: (path, tensor, shape) => host.bounded(() => {
      const w = host.tensor(path, shape, () => tensor.decoded())
      const seen = statistics === null ? none : seenBy(statistics, path, host.machine)
      return lowered(host.machine.apply(by, [w, seen], stage.span), host.machine)
    }),
  }
}

export const rewriteStage: Executor = async (stage, env) => {
  const model = required(artifactArg(stage, "model"), stage, "model")
  const weights = await weightsInput(model.stage, model.member, env)
  const ruler = await createRuler(stage, required(given(stage, "by"), stage, "by"), env)
  const tensors = new Map<string, StoredTensor>()
  let rewritten = 0
  for (const [path, tensor] of weights.tensors) {
    if (env.signal?.aborted) return { is: "interrupted" }
    const chosen = isChosen(stage.args, path, tensor.shape.length)
    const shape = tensor.shape.length >= 2 ? rowsOf(tensor.shape) : tensor.shape
    const made = chosen ? ruler.host.numbers(ruler.apply(path, tensor, shape)) : null
    if (made !== null && made.shape.join() !== shape.join()) {
      return failed(diagnostic("SLM2102", stage.span, `the rule makes [${made.shape.join(", ")}] of \`${path}\`, which is [${shape.join(", ")}]`))
    }
    tensors.set(path, made === null ? tensor : plain(tensor.shape, made.data))
    if (chosen) rewritten++
    env.emit({ event: "work", stage: refOf(stage), done: tensors.size, total: weights.tensors.size, unit: "weights" })
  }
  const { tokenizer } = expectData(await env.input(model.stage), "weights")
  return done({ is: "weights", members: whole({ tensors }), tokenizer }, { rewritten, kept: tensors.size - rewritten, bytes: countBytes({ tensors }), zeros: zerosIn(tensors) })
}

/** The share of zeros among all numbers. */
function zerosIn(tensors: ReadonlyMap<string, StoredTensor>): number {
  let [zeros, all] = [0, 0]
  for (const tensor of tensors.values()) for (const x of tensor.decoded()) {
    all++
    if (x === 0) zeros++
  }
  return zeros / all
}
