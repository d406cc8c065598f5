/** `slm compile --emit web`: a generation as a folder that writes text on a page, on the visitor's GPU. */
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { numbersOf } from "../../compiler/graph/lower/context.ts"
import { intArgument, lowerGeneration, weightsOfSpec } from "../../compiler/graph/lower/forward.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { renderWgsl } from "../../compiler/render/wgsl.ts"
import { isRefused } from "../../compiler/schedule/gpu.ts"
import { smallestTarget } from "../../compiler/schedule/gpu-plans.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import { compileGpu } from "../devices/webgpu.ts"
import { signatureOf } from "../devices/webgpu-run.ts"
import { bytesOf, statesFile } from "../native/folder.ts"
import type { Files } from "../native/folder.ts"
import { expectData, memberOf } from "../stages/artifact.ts"
import { chatFrameOf, framed } from "../stages/chat-frame.ts"
import { givenTo } from "../stages/encoded.ts"
import { artifactArg, numberArg, required, textsArg, wholeNumbers } from "../stages/environment.ts"
import type { StageEnv } from "../stages/environment.ts"
import { tokenizerOf } from "../stages/generate.ts"
import { stopTokens } from "../stages/writer.ts"
import type { WebModel } from "./format.ts"
import { webProgram } from "./format.ts"
import { pageHtml, pageScript } from "./html.ts"

/** Places for tokens where the model sets no bound. */
const placesAtMost = 1024
/** Stands for the prompt where its frame is looked at. */
const mark = "\u0001"

/** What the browser runs: bundled with the command line, or by `npm run build` in the source tree. */
const script = [new URL("./web/slm.js", import.meta.url), new URL("../../dist/web/slm.js", import.meta.url)].map((url) => fileURLToPath(url)).find(existsSync)

export async function webFiles(stage: Stage, env: StageEnv): Promise<Files | readonly Diagnostic[]> {
  if (script === undefined) throw new Error("web: the page's script is missing; `npm run build` makes it")
  const model = required(artifactArg(stage, "model"), stage, "model")
  if (model.type.is !== "weights") throw new Error(`web: ${stage.name} generates with ${model.type.is}`)
  const { spec } = model.type
  const tokenizer = await tokenizerOf(model, env)
  if (tokenizer === null) return [diagnostic("SLM3304", stage.span, `there is no tokenizer for \`${model.stage.name}\``, { help: "put the `tokenizer.json` beside its weights" })]
  const programs = lowerGeneration(env.session, spec, tokenizer.size, stage.span, numbersOf(stage.args))
  if (typeof programs !== "function") return [programs]
  const context = intArgument(env.session, spec, "context")
  const capacity = context ?? placesAtMost
  const weights = memberOf(expectData(await env.input(model.stage), "weights").members, model.member)
  // Browsers have the smallest limits that WebGPU allows; packed weights stay packed.
  const given = givenTo({ ...env.device, computesFromStorage: true }, weights, weightsOfSpec(env.session, spec))
  const { program: made, caches } = programs(1, 1, capacity, true)
  const program = given.over(made)
  const scheduled = compileGpu(program, smallestTarget)
  if (isRefused(scheduled)) return [diagnostic("SLM3505", stage.span, `${scheduled.refused.what} needs ${scheduled.refused.needs}, and browsers promise no more than ${scheduled.refused.has} (${scheduled.refused.limit})`, { help: "make the model or its `context` smaller, or quantize it" })]
  const { program: plain, files } = webProgram(renderWgsl(scheduled))
  if (wholeNumbers(stage, "before", env).length > 0) return [diagnostic("SLM3505", stage.span, `\`${stage.name}\` puts ids before every prompt, and the page reads text`, { help: "leave `before` out" })]
  const frame = chatFrameOf(model.stage)
  const [before = "", after = ""] = framed(mark, frame).split(mark)
  const about: Omit<WebModel, "program"> = {
    title: model.stage.name, signature: signatureOf(program), caches: caches.map(({ args }) => args.name), capacity, context, before, after, stopIds: [...stopTokens(tokenizer, frame)],
    settings: {
      prompt: textsArg(stage, "prompts")[0] ?? "", tokens: numberArg(stage, "tokens", env) ?? 64, temperature: numberArg(stage, "temperature", env) ?? 0.8, topK: numberArg(stage, "top_k", env),
      topP: numberArg(stage, "top_p", env), seed: numberArg(stage, "seed", env) ?? 0, stop: textsArg(stage, "stop"),
    },
  }
  const hash = createHash("sha256").update(pageScript).digest("base64")
  return new Map<string, Uint8Array>([
    ["index.html", bytesOf(pageHtml(model.stage.name, frame !== null).replace("SCRIPT", hash))], ["slm.js", readFileSync(script)], ["model.json", bytesOf(JSON.stringify({ ...about, program: plain }))],
    ["tokenizer.json", bytesOf(tokenizer.json())], ["weights.safetensors", statesFile(given.states)], ["README.md", bytesOf(readme(stage.name))],
    ...[...files].map(([name, text]) => [name, bytesOf(text)] as const),
  ])
}

function readme(name: string): string {
  return `# ${name}

Written by \`slm compile --emit web\`. The folder needs no server program and loads nothing from elsewhere: any web server that serves files will do, for example

\`\`\`sh
npx http-server .        # or: python3 -m http.server
\`\`\`

Pages opened as files (\`file://\`) may not read the files beside them, so that a double click on index.html is not enough. \`slm.js\` can be used by other pages too: \`openModel(address, progress)\` gives a writer.
`
}
