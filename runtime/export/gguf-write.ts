import { ALIGNMENT, MAGIC, TENSOR_TYPES, VALUE_TYPES, VERSION, aligned } from "./gguf.ts"
import type { GgufFile, GgufScalar, GgufTensor, GgufValue } from "./gguf.ts"

/** The bytes of a GGUF file, in the order given. */
export function writeGguf(file: GgufFile): Uint8Array {
  const head = new Writer()
  head.u32(MAGIC)
  head.u32(VERSION)
  head.u64(file.tensors.length)
  head.u64(file.metadata.size)
  for (const [key, value] of file.metadata) {
    head.string(key)
    writeValue(head, value)
  }
  let offset = 0
  for (const tensor of file.tensors) {
    writeInfo(head, tensor, offset)
    offset = aligned(offset + tensor.bytes.length, ALIGNMENT)
  }
  const start = aligned(head.length, ALIGNMENT)
  const out = new Uint8Array(start + offset)
  head.copyTo(out)
  let at = start
  for (const { bytes } of file.tensors) {
    out.set(bytes, at)
    at = aligned(at + bytes.length, ALIGNMENT)
  }
  return out
}

function writeInfo(to: Writer, tensor: GgufTensor, offset: number): void {
  const type = TENSOR_TYPES.find(({ encoding }) => encoding === tensor.encoding)
  if (type === undefined) throw new Error(`gguf: ${tensor.name} is encoded as ${tensor.encoding}`)
  if (new TextEncoder().encode(tensor.name).length >= 64) throw new Error(`gguf: the name ${tensor.name} is longer than llama.cpp reads`)
  to.string(tensor.name)
  to.u32(tensor.shape.length)
  for (const n of [...tensor.shape].reverse()) to.u64(n)
  to.u32(type.id)
  to.u64(offset)
}

function writeValue(to: Writer, value: GgufValue): void {
  to.u32(VALUE_TYPES.indexOf(value.type))
  if (value.type !== "array") {
    writeScalar(to, value.type, value.value)
    return
  }
  to.u32(VALUE_TYPES.indexOf(value.of))
  to.u64(value.values.length)
  for (const item of value.values) writeScalar(to, value.of, item)
}

function writeScalar(to: Writer, type: GgufScalar, value: number | string | boolean): void {
  if (type === "string") to.string(String(value))
  else to.number(type, Number(value))
}

const WIDTHS = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1, u64: 8, i64: 8, f64: 8 } as const

/** Bytes that grow, little-endian. */
class Writer {
  length = 0
  private bytes = new Uint8Array(1024)
  private view = new DataView(this.bytes.buffer)

  u32(value: number): void {
    this.number("u32", value)
  }

  u64(value: number): void {
    this.number("u64", value)
  }

  string(value: string): void {
    const utf8 = new TextEncoder().encode(value)
    this.u64(utf8.length)
    const at = this.room(utf8.length) // first: making room may replace the buffer
    this.bytes.set(utf8, at)
  }

  number(type: Exclude<GgufScalar, "string">, value: number): void {
    const at = this.room(WIDTHS[type])
    switch (type) {
      case "u8": case "bool": return this.view.setUint8(at, value)
      case "i8": return this.view.setInt8(at, value)
      case "u16": return this.view.setUint16(at, value, true)
      case "i16": return this.view.setInt16(at, value, true)
      case "u32": return this.view.setUint32(at, value, true)
      case "i32": return this.view.setInt32(at, value, true)
      case "f32": return this.view.setFloat32(at, value, true)
      case "u64": return this.view.setBigUint64(at, BigInt(value), true)
      case "i64": return this.view.setBigInt64(at, BigInt(value), true)
      case "f64": return this.view.setFloat64(at, value, true)
    }
  }

  copyTo(out: Uint8Array): void {
    out.set(this.bytes.subarray(0, this.length))
  }

  /** Makes room for `count` bytes and returns where they go. */
  private room(count: number): number {
    const at = this.length
    this.length += count
    if (this.length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.length, 2 * this.bytes.length))
      larger.set(this.bytes)
      this.bytes = larger
      this.view = new DataView(larger.buffer)
    }
    return at
  }
}
