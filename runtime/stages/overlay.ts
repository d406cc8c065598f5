/** `overlay`: weights of a file in the place of those of a model, the others as they are. So adapters are kept apart from the base that they belong to. */
import * as fs from "node:fs"
import { problem } from "../export/problem.ts"
import type { Problem } from "../export/problem.ts"
import type { StoredTensor, Weights } from "../weights.ts"
import { isPlain, readWeights } from "../weights.ts"
import { expectData, whole } from "./artifact.ts"
import { inputFiles } from "./data.ts"
import type { Executor } from "./environment.ts"
import { artifactArg, done, fromProblems, fromResult, required, textArg } from "./environment.ts"
import { countParameters, weightsInput } from "./weights-io.ts"

export const overlayStage: Executor = async (stage, env) => {
  const model = required(artifactArg(stage, "model"), stage, "model")
  const files = inputFiles(stage, env)
  if (!files.ok) return fromResult(files, stage, () => ({ is: "interrupted" }))
  const base = await weightsInput(model.stage, model.member, env)
  const tensors = new Map(base.tensors)
  let replaced = 0
  for (const { path } of files.value) {
    const read = readWeights(fs.readFileSync(path))
    if (!read.ok) return fromProblems(read.problems, stage)
    const problems = misfits(read.value, base, textArg(stage, "path") ?? path)
    if (problems.length > 0) return fromProblems(problems, stage)
    for (const [name, tensor] of read.value.tensors) tensors.set(name, tensor)
    replaced += countParameters(read.value)
  }
  const { tokenizer } = expectData(await env.input(model.stage), "weights")
  return done({ is: "weights", members: whole({ tensors }), tokenizer }, { parameters: countParameters({ tensors }), replaced })
}

/** Weights that the model does not have in this form. */
function misfits(found: Weights, base: Weights, file: string): readonly Problem[] {
  return [...found.tensors].flatMap(([name, tensor]): Problem[] => {
    const own = base.tensors.get(name)
    if (own === undefined) return [problem("SLM3202", `\`${name}\` of \`${file}\` is no weight of the model`, { help: "put the same parts around the base as where the file was made: `base with { at …: map => LoRA(map) }`" })]
    if (own.shape.join() !== tensor.shape.join()) return [problem("SLM3204", `\`${name}\` is ${shown(tensor)} in \`${file}\` and ${shown(own)} in the model`)]
    return own.encoding === tensor.encoding && isPlain(own) ? [] : [problem("SLM3211", `\`${name}\` is stored as ${tensor.encoding} in \`${file}\` and as ${own.encoding} in the model`, { help: "weights that are codes stay with their base: write numbers alone with `only`" })]
  })
}

const shown = ({ shape }: StoredTensor): string => `[${shape.join(", ")}]`
