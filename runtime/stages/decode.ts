/** Writes text token by token: a prefill of all prompts at once, then one token per call over the key/value caches. */
import type { NodeOf, Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import type { Continued, Device, HostTensor, Runner } from "../device.ts"
import { ids, taken, zeros } from "./feeds.ts"
import type { Kept } from "./handed.ts"
import { keep } from "./handed.ts"
import type { Room, Sampling } from "./sample.ts"
import { nextToken, roomFor, stream } from "./sample.ts"

/**
 * One program of `tokens` new tokens for `rows` prompts, made on demand: (rows, tokens, capacity) -> program. Caches of the program for one
 * token may have fewer places than that, as rings: place p holds the last position that is p modulo their number.
 */
export interface Decoder {
  program(rows: number, tokens: number, capacity: number): { readonly program: Program; readonly caches: readonly NodeOf<"input">[] }
  /** Sets every other state of a program that was loaded. */
  fill(runner: Runner, program: Program): Promise<void>
  /** The most tokens the model can look at, prompt included; null where nothing bounds it. */
  readonly context: number | null
}

export interface DecodeOptions extends Sampling {
  /** At most so many new tokens for each prompt. */
  readonly tokens: number
  /** Ids that end a text; they are not part of it. */
  readonly stopIds: ReadonlySet<number>
  /** Whether the new tokens hold a stop text already. */
  readonly stopsAt: (ids: readonly number[]) => boolean
  readonly signal: AbortSignal | null
  /** The index of the first prompt, where a caller splits a long list. */
  readonly firstPrompt?: number
  /** How many prompts are written together, `rowsPerBatch` where nothing is said. */
  readonly atOnce?: number
  readonly onToken?: (prompt: number, id: number) => void
  /** After the last token of a prompt. */
  readonly onEnd?: (prompt: number) => void
}

export interface Decoded {
  readonly ids: readonly number[]
  readonly end: "stop" | "length" | "context"
}

interface Row {
  readonly prompt: readonly number[]
  readonly ids: number[]
  end: Decoded["end"] | null
}

/** Prompts that are written together. */
export const rowsPerBatch = 8

/**
 * Shorter prompts are taken as if they were so long: products of many rows add up in another order than those of few, and a text must not
 * depend on what is written beside it.
 */
const leastPrefill = 16

/** Places of the caches, and tokens of the prompts that one call takes, for prompts of at most `longest` tokens. */
export function decodingShape(longest: number, tokens: number, context: number | null): { readonly capacity: number; readonly prefill: number } {
  const capacity = Math.max(leastPrefill, Math.min(longest + tokens, Math.max(context ?? Infinity, longest)))
  let n = leastPrefill
  while (n < longest) n *= 2
  return { capacity, prefill: Math.min(n, capacity) }
}

/** Continues prompts of any lengths (at least one token each). */
export async function decode(device: Device, decoder: Decoder, prompts: readonly (readonly number[])[], options: DecodeOptions): Promise<Decoded[]> {
  const results: Decoded[] = []
  const atOnce = options.atOnce ?? rowsPerBatch
  for (let first = 0; first < prompts.length; first += atOnce) {
    if (options.signal?.aborted) return results
    const group = prompts.slice(first, first + atOnce)
    results.push(...await decodeGroup(device, decoder, group, options, (options.firstPrompt ?? 0) + first))
  }
  return results
}

async function decodeGroup(device: Device, decoder: Decoder, prompts: readonly (readonly number[])[], options: DecodeOptions, first: number): Promise<Decoded[]> {
  const limit = decoder.context ?? Infinity
  const rows = prompts.map((prompt): Row => ({ prompt, ids: [], end: prompt.length >= limit ? "context" : options.tokens === 0 ? "length" : null }))
  const longest = rows.reduce((n, row) => Math.max(n, row.prompt.length), 1)
  const { capacity, prefill: block } = decodingShape(longest, options.tokens, decoder.context)
  if (rows.every((row) => row.end !== null)) return rows.map(finished)
  const made = decoder.program(rows.length, 1, capacity)
  // Where rings are enough for the tokens that follow, the prompts need no more places than they have.
  const places = new Map(decoder.program(rows.length, block, capacity).caches.map((cache) => [cache.args.name, cache.shape.join()]))
  const isRing = made.caches.some((cache) => places.get(cache.args.name) !== cache.shape.join())
  const { logits, caches } = await prefill(device, decoder, rows, block, isRing ? block : capacity)
  const room = roomFor(logits.data.length / rows.length)
  choose(rows, logits, options, first, limit, room)
  const runner = await device.load(made.program)
  try {
    await decoder.fill(runner, made.program)
    await handOver(caches, made.caches, runner, rows, !isRing)
    const step = stepping(runner, made.program, rows)
    while (rows.some((row) => row.end === null) && !options.signal?.aborted) {
      const made = await runner.continue?.(continued(rows, options, first, limit)) ?? null
      if (made === null) choose(rows, await step(), options, first, limit, room)
      else for (const tokens of made) rows.forEach((row, i) => { if (row.end === null) accept(row, tokens[i] ?? 0, options, first + i, limit) })
    }
  } finally {
    runner.dispose()
  }
  return rows.map(finished)
}

function finished(row: Row): Decoded {
  return { ids: row.ids, end: row.end ?? "length" }
}

/** Caches of the prompts become those of the program that goes on: where they lie, if both have the same places, else through the host. */
async function handOver(caches: Kept, wanted: readonly NodeOf<"input">[], to: Runner, rows: readonly Row[], same: boolean): Promise<void> {
  if (same) await caches.give(to, new Map(wanted.map(({ args: { name } }) => [name, name])))
  else {
    const values = await caches.read()
    for (const { args } of wanted) await to.write(args.name, placed(values.get(args.name), args, rows))
  }
  caches.dispose()
}

/** The places of a cache as another program has them: as many as there are, the last positions of each prompt where there are fewer. */
function placed(from: HostTensor | undefined, { shape }: Pick<NodeOf<"input">["args"], "shape">, rows: readonly Row[]): HostTensor {
  if (from === undefined) throw new Error("generate: a cache of the step is none of the prompt's")
  const axis = shape.findIndex((n, i) => n !== from.shape[i])
  if (axis === -1) return from
  const to = zeros(from.dtype, shape, from.stored)
  // Caches in two bytes are moved as bytes.
  const [old = 1, places = 1, inner] = [from.shape[axis], shape[axis], size(shape.slice(axis + 1)) * (from.data.length / size(from.shape))]
  const lines = size(shape.slice(0, axis))
  for (let line = 0; line < lines; line++) {
    const { length } = rows[Math.floor((line * rows.length) / lines)]?.prompt ?? { length: 0 }
    for (let p = Math.max(0, length - places); p < length; p++) {
      const start = (line * old + p) * inner
      to.data.set(from.data.subarray(start, start + inner), (line * places + (p % places)) * inner)
    }
  }
  return to
}

/** Runs all prompts at once, padded to one length; returns the logits after each and the caches. */
async function prefill(device: Device, decoder: Decoder, rows: readonly Row[], n: number, capacity: number): Promise<{ logits: HostTensor; caches: Kept }> {
  const { program, caches } = decoder.program(rows.length, n, capacity)
  const runner = await device.load(program)
  try {
    await decoder.fill(runner, program)
    for (const { args } of caches) await runner.write(args.name, zeros(args.dtype, args.shape, args.stored))
    const grid = (f: (row: Row, i: number) => number): HostTensor => ids([rows.length, n], rows.flatMap((row) => Array.from({ length: n }, (_, i) => f(row, i))))
    const outputs = await runner.step(taken(program, {
      tokens: grid((row, i) => row.prompt[i] ?? 0),
      positions: grid((_, i) => i),
      segments: grid((row, i) => (i < row.prompt.length ? 0 : -1)),
      offset: ids([rows.length], rows.map(() => 0)),
      last: ids([rows.length], rows.map((row) => row.prompt.length - 1)),
    }))
    return { logits: logitsOf(outputs), caches: await keep(runner, caches.map(({ args }) => args.name)) }
  } finally {
    runner.dispose()
  }
}

/** Writes the last tokens of all rows, and says what follows. A row that has ended writes over its last place, which nobody reads. What the program is given is filled anew for each token. */
function stepping(runner: Runner, program: Program, rows: readonly Row[]): () => Promise<HostTensor> {
  const [tokens, positions, offset] = [new Int32Array(rows.length), new Int32Array(rows.length), new Int32Array(rows.length)]
  const column = (data: Int32Array): HostTensor => ({ shape: [rows.length, 1], dtype: "i32", data })
  const list = (data: Int32Array): HostTensor => ({ shape: [rows.length], dtype: "i32", data })
  const batch = taken(program, { tokens: column(tokens), positions: column(positions), segments: column(new Int32Array(rows.length)), offset: list(offset), last: list(new Int32Array(rows.length)) })
  return async () => {
    rows.forEach(({ prompt, ids: own }, i) => {
      tokens[i] = own.at(-1) ?? prompt.at(-1) ?? 0
      positions[i] = prompt.length + own.length - 1
    })
    offset.set(positions)
    return logitsOf(await runner.step(batch))
  }
}

/** Adds a token to every row that goes on. */
function choose(rows: readonly Row[], logits: HostTensor, options: DecodeOptions, first: number, limit: number, room: Room): void {
  const width = logits.data.length / rows.length
  rows.forEach((row, i) => {
    if (row.end !== null) return
    const own = (logits.data as Float32Array).subarray(i * width, (i + 1) * width)
    accept(row, nextToken(own, options, first + i, row.prompt.length + row.ids.length, room), options, first + i, limit)
  })
}

/** A token that was chosen for the prompt of that number. */
function accept(row: Row, id: number, options: DecodeOptions, prompt: number, limit: number): void {
  if (options.stopIds.has(id)) row.end = "stop"
  else {
    row.ids.push(id)
    options.onToken?.(prompt, id)
    if (options.stopsAt(row.ids)) row.end = "stop"
    else if (row.ids.length >= options.tokens) row.end = "length"
    else if (row.prompt.length + row.ids.length >= limit) row.end = "context"
  }
  if (row.end !== null) options.onEnd?.(prompt)
}

/** What a device is told that chooses tokens itself: no row comes to its length or the context within so many steps. One that comes to a stop text goes on until the call ends, and what it adds is dropped. */
function continued(rows: readonly Row[], options: DecodeOptions, first: number, limit: number): Continued {
  const left = rows.filter((row) => row.end === null).map(({ prompt, ids: own }) => Math.min(options.tokens - own.length, limit - prompt.length - own.length))
  return {
    texts: rows.map(({ prompt, ids: own, end }, i) => ({ token: own.at(-1) ?? prompt.at(-1) ?? 0, length: prompt.length + own.length, prompt: first + i, over: end !== null })),
    sampling: { ...options, stream }, stopIds: options.stopIds, most: Math.min(...left),
  }
}

function logitsOf(outputs: Readonly<Record<string, HostTensor>>): HostTensor {
  const logits = outputs["logits"]
  if (logits === undefined) throw new Error("generate: the program yields no logits")
  return logits
}
