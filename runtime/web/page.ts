/// <reference types="@webgpu/types" />
/** In the browser: opens a folder that `slm compile --emit web` wrote, and continues texts with its model. Bundled as `slm.js`. */
import type { WgslProgram } from "../../compiler/render/wgsl.ts"
import { loadTokenizer } from "../data/tokenizer-json.ts"
import type { HostTensor, Runner } from "../device.ts"
import { createRunner } from "../devices/webgpu-run.ts"
import type { Host } from "../devices/webgpu-host.ts"
import { createHost } from "../devices/webgpu-host.ts"
import { promptIds } from "../stages/prompt-ids.ts"
import { nextToken } from "../stages/sample.ts"
import { firstStop } from "../stages/stream.ts"
import type { WebModel } from "./format.ts"

export interface WebWriter {
  readonly model: WebModel
  /** What the adapter calls itself. */
  readonly adapter: string
  /** Continues the prompt; `onText` gets the whole text after each token, `stopped` is asked before each. */
  write(prompt: string, settings: WebModel["settings"], onText: (text: string) => void, stopped: () => boolean): Promise<{ readonly text: string; readonly tokens: number; readonly seconds: number }>
}

/** Opens the folder at `base`, an address that ends with a slash. What is missing is said in the error. */
export async function openModel(base: string, progress: (text: string) => void): Promise<WebWriter> {
  if (!("gpu" in navigator)) throw new Error("this browser has no WebGPU: Chrome and Edge have it since version 113, Safari since 26, Firefox since 141")
  progress("Loading the model …")
  const [model, tokenizerText, weights] = await Promise.all([read(base, "model.json").then((r) => r.json() as Promise<WebModel>), read(base, "tokenizer.json").then((r) => r.text()), read(base, "weights.safetensors").then((r) => r.arrayBuffer())])
  const shaders = await Promise.all(model.program.shaders.map(async ({ file, ...shader }) => ({ ...shader, text: await (await read(base, file)).text() })))
  const tokenizer = loadTokenizer(tokenizerText)
  if (!tokenizer.ok) throw new Error(tokenizer.failures[0]?.message ?? "tokenizer.json cannot be read")
  progress("Compiling shaders …")
  const host = await openHost(model)
  const runner = await createRunner(host, model.signature, { ...model.program, shaders } as WgslProgram)
  for (const [name, value] of states(model, weights)) await runner.write(name, value)
  progress("")
  return { model, adapter: host.adapter, write: (prompt, settings, onText, stopped) => writeText(runner, model, tokenizer.value, prompt, settings, onText, stopped) }
}

async function read(base: string, file: string): Promise<Response> {
  const response = await fetch(`${base}${file}`)
  if (!response.ok) throw new Error(`${file} cannot be read: ${response.status} ${response.statusText}`)
  return response
}

async function openHost({ program }: WebModel): Promise<Host> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" })
  if (adapter === null) throw new Error("this browser offers no GPU; chrome://gpu says why")
  const largest = Math.max(...program.parts)
  for (const limit of ["maxStorageBufferBindingSize", "maxBufferSize"] as const) {
    if (adapter.limits[limit] < largest) throw new Error(`the model needs ${largest} bytes in one piece, and this GPU's ${limit} is ${adapter.limits[limit]}`)
  }
  const gpu = await adapter.requestDevice({ requiredLimits: { maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize, maxBufferSize: adapter.limits.maxBufferSize } })
  const name = [adapter.info.vendor, adapter.info.architecture, adapter.info.description].filter((part) => part !== "").join(" ")
  return createHost(gpu, name === "" ? "this GPU" : name, adapter.limits.maxBufferSize)
}

/** Weights from the file (safetensors), zeros for the caches. */
function states({ signature, caches }: WebModel, file: ArrayBuffer): readonly (readonly [string, HostTensor])[] {
  const length = Number(new DataView(file).getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length))) as Readonly<Record<string, { readonly data_offsets: readonly [number, number] }>>
  const typed = (dtype: HostTensor["dtype"], bytes: ArrayBuffer): HostTensor["data"] => (dtype === "f32" ? new Float32Array(bytes) : dtype === "i32" ? new Int32Array(bytes) : new Uint8Array(bytes))
  return signature.inputs.filter(({ role }) => role === "state").map(({ name, dtype, shape, stored }) => {
    if (caches.includes(name)) return [name, { shape, dtype, data: typed(dtype, new ArrayBuffer(shape.reduce((x, y) => x * y, 1) * (dtype === "bool" ? 1 : 4))) }]
    const [from, to] = header[name]?.data_offsets ?? [0, -1] as const
    if (to < from) throw new Error(`weights.safetensors has no ${name}`)
    const bytes = file.slice(8 + length + from, 8 + length + to)
    return [name, stored === null || stored === undefined ? { shape, dtype, data: typed(dtype, bytes) } : { shape, dtype, stored, data: new Uint8Array(bytes) }]
  })
}

type Encoder = Extract<ReturnType<typeof loadTokenizer>, { ok: true }>["value"]

/** Token by token; earlier tokens are in the caches. */
async function writeText(runner: Runner, model: WebModel, tokenizer: Encoder, prompt: string, settings: WebModel["settings"], onText: (text: string) => void, stopped: () => boolean): Promise<{ text: string; tokens: number; seconds: number }> {
  const start = performance.now()
  const given = promptIds(tokenizer, `${model.before}${prompt}${model.after}`, model.context ?? model.capacity)
  const ids = [...given]
  const limit = Math.min(model.capacity, given.length + settings.tokens)
  let [text, logits] = ["", new Float32Array()]
  const inputs = new Set(model.signature.inputs.filter(({ role }) => role === "batch").map(({ name }) => name))
  const whole = (shape: readonly number[], value: number): HostTensor => ({ shape, dtype: "i32", data: Int32Array.of(value) })
  for (let place = 0; place < limit && !stopped(); place++) {
    if (place >= given.length) {
      const id = nextToken(logits, settings, 0, place)
      if (model.stopIds.includes(id)) break
      ids.push(id)
      const all = tokenizer.decode(ids.slice(given.length))
      const end = firstStop(all, settings.stop)
      text = all.slice(0, end ?? all.length)
      onText(text)
      if (end !== null || place + 1 >= limit) break
    }
    const batch = { tokens: whole([1, 1], ids[place] ?? 0), positions: whole([1, 1], place), segments: whole([1, 1], 0), offset: whole([1], place), last: whole([1], 0) }
    const out = await runner.step(Object.fromEntries(Object.entries(batch).filter(([name]) => inputs.has(name))))
    logits = out["logits"]?.data as Float32Array<ArrayBuffer>
  }
  return { text, tokens: ids.length - given.length, seconds: (performance.now() - start) / 1000 }
}

/** Fills the page that is written beside this file. */
export async function startPage(): Promise<void> {
  const part = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E
  const [status, form, output, go, stop] = [part("status"), part<HTMLFormElement>("form"), part("output"), part<HTMLButtonElement>("go"), part<HTMLButtonElement>("stop")]
  const tell = (text: string): void => { status.textContent = text }
  try {
    const writer = await openModel("./", tell)
    const { settings } = writer.model
    const field = (id: string): HTMLInputElement => part<HTMLInputElement>(id)
    field("prompt").value ||= settings.prompt
    field("tokens").value = String(settings.tokens)
    field("temperature").value = String(settings.temperature)
    field("seed").value = String(settings.seed)
    let stopped = false
    stop.onclick = () => { stopped = true }
    form.onsubmit = async (event) => {
      event.preventDefault()
      stopped = false
      go.disabled = true
      stop.disabled = false
      const prompt = field("prompt").value
      const chosen = { ...settings, tokens: Number(field("tokens").value), temperature: Number(field("temperature").value), seed: Number(field("seed").value) }
      const show = (text: string): void => { output.textContent = writer.model.before === "" ? prompt + text : text }
      show("")
      try {
        const { tokens, seconds } = await writer.write(prompt, chosen, show, () => stopped)
        tell(`${tokens} tokens, ${(tokens / seconds).toFixed(1)} a second, on ${writer.adapter}`)
      } catch (error) {
        tell(error instanceof Error ? error.message : String(error))
      }
      go.disabled = false
      stop.disabled = true
    }
    go.disabled = false
    tell(`ready, on ${writer.adapter}`)
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error))
  }
}
