/** The foreign programs that check what slm writes, with as much of their types as the tests use. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface LlamaSequence {
  evaluate(tokens: readonly number[], options: { readonly temperature: 0; readonly yieldEogToken: true }): AsyncIterable<number>
  controlledEvaluate(
    input: readonly (readonly [number, { readonly generateNext: { readonly probabilities: true; readonly options: object } }])[],
  ): Promise<readonly ({ readonly next: { readonly probabilities?: ReadonlyMap<number, number> } } | undefined)[]>
  clearHistory(): Promise<void>
  dispose(): Promise<void>
}
export interface LlamaModel {
  readonly trainContextSize: number
  readonly tokens: { readonly bos: number | null; readonly eos: number | null; readonly eot: number | null }
  readonly fileInfo: { readonly metadata: { readonly general: { readonly architecture: string } } }
  tokenize(text: string, specialTokens?: boolean): readonly number[]
  detokenize(tokens: readonly number[], specialTokens?: boolean): string
  isEogToken(token: number): boolean
  createContext(options: object): Promise<{ getSequence(): LlamaSequence; dispose(): Promise<void> }>
  dispose(): Promise<void>
}
export interface Llama {
  loadModel(options: { readonly modelPath: string; readonly checkTensors: true; readonly useMmap?: boolean }): Promise<LlamaModel>
  dispose(): Promise<void>
}

export interface GgufParse {
  readonly metadata: Readonly<Record<string, unknown>>
  readonly typedMetadata: Readonly<Record<string, { readonly value: unknown; readonly type: number; readonly subType?: number }>>
  readonly tensorInfos: readonly { readonly name: string; readonly shape: readonly bigint[]; readonly dtype: number; readonly offset: bigint }[]
  readonly tensorDataOffset: bigint
}

export interface Tools {
  /** llama.cpp on the CPU, as npm delivers it. */
  readonly llama: () => Promise<Llama>
  /** Whether llama.cpp has put matrices of a model loaded so far into its buffer for AMX, whose kernels round otherwise. */
  readonly usesAmx: () => boolean
  /** `@huggingface/gguf`. */
  readonly parseGguf: (path: string) => Promise<GgufParse>
}

/** The programs, installed on the first call; or why they cannot be had here. */
export async function verifyTools(): Promise<Tools | string> {
  const setup = new URL("./setup.mjs", import.meta.url).href
  const program = (name: string): string => new URL(`./node_modules/${name}`, import.meta.url).href
  try {
    await ((await import(setup)) as { setup(): Promise<void> }).setup()
    const { getLlama } = (await import(program("node-llama-cpp/dist/index.js"))) as { getLlama(options: object): Promise<Llama> }
    const { gguf } = (await import(program("@huggingface/gguf/dist/index.mjs"))) as { gguf(path: string, options: object): Promise<GgufParse> }
    let amx = false
    const logger = (level: string, message: string): void => {
      if (/\bAMX model buffer size/.test(message)) amx = true
      if (level === "error" || level === "fatal") console.error(message)
    }
    const options = { build: "never", gpu: false, skipDownload: true, progressLogs: false, logLevel: "info", logger }
    return { llama: () => getLlama(options), usesAmx: () => amx, parseGguf: (path) => gguf(path, { allowLocalFile: true, typedMetadata: true }) }
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}

/** Calls `use` with a new folder that is gone afterwards. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "slm-verify-"))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
