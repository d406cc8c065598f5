import { ALIGNMENT, MAGIC, TENSOR_TYPES, VALUE_TYPES, aligned } from "./gguf.ts"
import type { GgufFile, GgufScalar, GgufTensor, GgufValue } from "./gguf.ts"
import { fine, problem, wrong } from "./problem.ts"
import type { Result } from "./problem.ts"

/** Reads a GGUF file of version 2 or 3. Nothing in it is believed: counts, lengths, types, bounds and overlaps are checked. */
export function readGguf(bytes: Uint8Array): Result<GgufFile> {
  try {
    return fine(new Reader(bytes).file())
  } catch (thrown) {
    if (thrown instanceof Damaged) return wrong(problem("SLM3209", `this is not a GGUF file: ${thrown.message}`))
    throw thrown
  }
}

/** What stands before the tensors, from the beginning of a file alone. */
export function readGgufMetadata(start: Uint8Array): Result<GgufFile["metadata"]> {
  try {
    return fine(new Reader(start).header().metadata)
  } catch (thrown) {
    if (thrown instanceof Damaged) return wrong(problem("SLM3209", `this is not a GGUF file: ${thrown.message}`))
    throw thrown
  }
}

export function isGguf(start: Uint8Array): boolean {
  return start.length >= 4 && new DataView(start.buffer, start.byteOffset).getUint32(0, true) === MAGIC
}

/** Leaves the reader at the first impossible thing; caught in `readGguf`, never seen outside. */
class Damaged extends Error {}

interface Info { readonly name: string; readonly shape: readonly number[]; readonly type: (typeof TENSOR_TYPES)[number]; readonly offset: number }

const MOST_AXES = 4

class Reader {
  private at = 0
  private readonly bytes: Uint8Array
  private readonly view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  header(): { readonly metadata: GgufFile["metadata"]; readonly tensorCount: number } {
    if (this.number("u32") !== MAGIC) throw new Damaged("it does not begin with GGUF")
    const version = this.number("u32")
    if (version !== 2 && version !== 3) throw new Damaged(`its version is ${version}`)
    const tensorCount = this.number("u64")
    const pairCount = this.number("u64")
    const metadata = new Map<string, GgufValue>()
    for (let i = 0; i < pairCount; i++) {
      const key = this.string()
      if (metadata.has(key)) throw new Damaged(`\`${key}\` stands in it twice`)
      metadata.set(key, this.value())
    }
    return { metadata, tensorCount }
  }

  file(): GgufFile {
    const { metadata, tensorCount } = this.header()
    const infos: Info[] = []
    for (let i = 0; i < tensorCount; i++) infos.push(this.info())
    return { metadata, tensors: this.tensors(infos, alignmentOf(metadata)) }
  }

  private value(): GgufValue {
    const type = this.type()
    if (type === "string") return { type, value: this.string() }
    if (type === "bool") return { type, value: this.number("u8") !== 0 }
    if (type !== "array") return { type, value: this.number(type) }
    const of = this.type()
    if (of === "array") throw new Damaged("it has arrays of arrays")
    const count = this.number("u64")
    const values: (number | string | boolean)[] = []
    for (let i = 0; i < count; i++) values.push(of === "string" ? this.string() : of === "bool" ? this.number("u8") !== 0 : this.number(of))
    return { type, of, values }
  }

  private type(): (typeof VALUE_TYPES)[number] {
    const id = this.number("u32")
    const type = VALUE_TYPES[id]
    if (type === undefined) throw new Damaged(`it has a value of the unknown type ${id}`)
    return type
  }

  private info(): Info {
    const name = this.string()
    const axes = this.number("u32")
    if (axes > MOST_AXES) throw new Damaged(`\`${name}\` has ${axes} axes`)
    const shape = Array.from({ length: axes }, () => this.number("u64")).reverse()
    const id = this.number("u32")
    const type = TENSOR_TYPES.find((known) => known.id === id)
    if (type === undefined) throw new Damaged(`\`${name}\` has tensor type ${id}, which slm does not read`)
    if ((shape.at(-1) ?? 1) % type.block !== 0) throw new Damaged(`the rows of \`${name}\` are not whole blocks of ${type.encoding}`)
    return { name, shape, type, offset: this.number("u64") }
  }

  private tensors(infos: readonly Info[], alignment: number): GgufTensor[] {
    const base = aligned(this.at, alignment)
    const seen = new Set<string>()
    let free = 0
    const ends = new Map<Info, number>()
    for (const info of [...infos].sort((a, b) => a.offset - b.offset)) {
      if (seen.has(info.name)) throw new Damaged(`\`${info.name}\` stands in it twice`)
      seen.add(info.name)
      const length = info.shape.reduce((n, d) => n * d, 1 / info.type.block) * info.type.bytes
      if (!Number.isSafeInteger(length) || base + info.offset + length > this.bytes.length) throw new Damaged(`\`${info.name}\` reaches beyond its end`)
      if (info.offset % alignment !== 0) throw new Damaged(`\`${info.name}\` is not aligned to ${alignment} bytes`)
      if (info.offset < free) throw new Damaged(`\`${info.name}\` overlaps another tensor`)
      free = info.offset + length
      ends.set(info, free)
    }
    return infos.map((info) => ({
      name: info.name, shape: info.shape, encoding: info.type.encoding,
      bytes: this.bytes.subarray(base + info.offset, base + ends.get(info)!),
    }))
  }

  private string(): string {
    const length = this.number("u64")
    const from = this.advance(length)
    return new TextDecoder().decode(this.bytes.subarray(from, from + length))
  }

  private number(type: Exclude<GgufScalar, "string" | "bool">): number {
    switch (type) {
      case "u8": return this.view.getUint8(this.advance(1))
      case "i8": return this.view.getInt8(this.advance(1))
      case "u16": return this.view.getUint16(this.advance(2), true)
      case "i16": return this.view.getInt16(this.advance(2), true)
      case "u32": return this.view.getUint32(this.advance(4), true)
      case "i32": return this.view.getInt32(this.advance(4), true)
      case "f32": return this.view.getFloat32(this.advance(4), true)
      case "f64": return this.view.getFloat64(this.advance(8), true)
      case "u64": return safe(this.view.getBigUint64(this.advance(8), true))
      case "i64": return safe(this.view.getBigInt64(this.advance(8), true))
    }
  }

  /** Steps over `count` bytes that must be there; counts that lie end here, before anything is allocated for them. */
  private advance(count: number): number {
    const from = this.at
    if (count > this.bytes.length - from) throw new Damaged("it ends in the middle of its header")
    this.at += count
    return from
  }
}

function safe(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw new Damaged(`it counts to ${value}`)
  return number
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const given = metadata.get("general.alignment")
  if (given === undefined) return ALIGNMENT
  if (given.type !== "u32" || given.value < 1 || given.value > 65536 || given.value % 8 !== 0) throw new Damaged("its alignment is impossible")
  return given.value
}
