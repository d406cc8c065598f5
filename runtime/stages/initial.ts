/** `initial`: the first weights of a model, drawn, taken from other weights as they are stored, or computed from them on the host. */
import { artifactRole } from "../../compiler/check/forward.ts"
import { instantiate, weightsOf } from "../../compiler/check/instance.ts"
import { applyRule } from "../../compiler/check/replace.ts"
import { createMachine } from "../../compiler/check/machine.ts"
import type { ArtifactValue, WeightInfo } from "../../compiler/check/value.ts"
import { lowered } from "../../compiler/graph/lower/context.ts"
import type { HostLowering } from "../../compiler/graph/lower/host.ts"
import { createHostLowering } from "../../compiler/graph/lower/host.ts"
import { initialValues, weightShape } from "../../compiler/graph/lower/initial.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { isPlain, plain } from "../weights.ts"
import { expectData, whole } from "./artifact.ts"
import type { Executor, StageEnv } from "./environment.ts"
import { done, given, numberArg, wordArg } from "./environment.ts"
import { countBytes, countParameters } from "./weights-io.ts"

/** Weights by the role under which they take part in a graph. */
type Sources = ReadonlyMap<string, Weights>

export const initialStage: Executor = async (stage, env) => {
  const spec = given(stage, "model")
  if (spec?.kind !== "spec") throw new Error(`stages: ${stage.name} makes weights of no specification`)
  const sources = await sourcesOf(stage, env)
  const machine = createMachine(env.session)
  const instance = lowered(instantiate(spec, "model", stage.span, machine), machine)
  if (instance.kind === "error") throw new Error(`stages: ${spec.name} has no instance`)
  const host = createHostLowering(env.session, (role, info) => taken(sources, role, info.path).decoded())
  const starts: Starts = { sources, host, seed: numberArg(stage, "seed", env) ?? 0, env }
  const tensors = new Map<string, StoredTensor>()
  for (const info of weightsOf(instance)) {
    const tensor = startOf(info, starts)
    tensors.set(info.path, wordArg(stage, "store") === "plain" && !isPlain(tensor) ? plain(tensor.shape, tensor.decoded()) : tensor)
    if (env.signal?.aborted) return { is: "interrupted" }
  }
  const weights: Weights = { tensors }
  return done({ is: "weights", members: whole(weights), tokenizer: await tokenizerOf(stage, env) }, { parameters: countParameters(weights), bytes: countBytes(weights) })
}

interface Starts { readonly sources: Sources; readonly host: HostLowering; readonly seed: number; readonly env: StageEnv }

function startOf(info: WeightInfo, starts: Starts): StoredTensor {
  const shape = weightShape(info, starts.env.session.environment.facts)
  const { start } = info
  if (start === undefined) return plain(shape, initialValues(info.init, shape, info.path, starts.seed))
  if (start.is === "taken") return taken(starts.sources, artifactRole(start.from), start.path)
  const { host } = starts
  return host.bounded(() => {
    const before = weightShape(start.of, starts.env.session.environment.facts)
    const old = host.tensor(info.path, before, () => startOf(start.of, starts).decoded())
    const { shape: made, data } = host.numbers(lowered(applyRule(start.rule, old, start.span, host.machine), host.machine))
    if (made.join() !== shape.join()) throw new Error(`stages: ${info.path} is [${made.join(", ")}] instead of [${shape.join(", ")}]`)
    return plain(shape, data)
  })
}

function taken(sources: Sources, role: string, path: string): StoredTensor {
  const tensor = sources.get(role)?.tensors.get(path)
  if (tensor === undefined) throw new Error(`stages: nothing holds ${role}.${path}`)
  return tensor
}

/** The weights among the inputs of a stage, by role. */
export async function sourcesOf(stage: Stage, env: StageEnv): Promise<Sources> {
  const found = new Map<string, Weights>()
  for (const input of stage.inputs) {
    if (input.type.is !== "weights" && input.type.is !== "roles" && input.type.is !== "statistics") continue
    for (const [member, weights] of expectData(await env.input(input), "weights").members) {
      const artifact: ArtifactValue = { kind: "artifact", stage: input, member: member === "" ? null : member, type: input.type, origin: null }
      found.set(artifactRole(artifact), weights)
    }
  }
  return found
}

/** Of the first weights that brought one along, from a folder. */
async function tokenizerOf(stage: Stage, env: StageEnv) {
  for (const input of stage.inputs) {
    const data = input.type.is === "weights" ? await env.input(input) : null
    if (data?.is === "weights" && data.tokenizer !== null) return data.tokenizer
  }
  return null
}
