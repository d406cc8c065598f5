/**
 * What a Parquet file says of itself, checked before the library believes it. The library ends on every file whose sizes and runs are true; a page that
 * announces two billion equal values in five bytes would keep it for minutes.
 */
import type { ColumnMetaData, Compressors, PageHeader, SchemaElement } from "hyparquet"

export class BadParquet extends Error {}

export type Slice = (start: number, end: number) => Uint8Array<ArrayBuffer>

const largestFooter = 2 ** 26
const largestPage = 2 ** 30
/** Of a page's header, statistics included. */
const largestHeader = 2 ** 16
/** A number of Thrift ends with the first byte below 128, and the longer it is, the longer is every step: none is so long. */
const longestRun = 4096

export function checkFooter(slice: Slice, bytes: number): void {
  if (bytes < 12) throw new BadParquet("it is too short")
  const end = slice(bytes - 8, bytes)
  const length = new DataView(end.buffer).getUint32(0, true)
  if (length > bytes - 8 || length > largestFooter) throw new BadParquet(`its description is said to take ${length} of ${bytes} bytes`)
  let run = 0
  for (const byte of slice(bytes - 8 - length, bytes - 8)) {
    run = byte >= 128 ? run + 1 : 0
    if (run > longestRun) throw new BadParquet("its description holds a number without end")
  }
}

export type ColumnCheck = (slice: Slice, schema: readonly SchemaElement[], chunk: ColumnMetaData, rows: number, demand: (bytes: number) => void) => number

const encodings: ReadonlySet<string> = new Set(["PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BYTE_STREAM_SPLIT"])

/** Checks the pages of a column, and yields the bytes that it takes in memory. */
export async function createPageCheck(compressors: Compressors): Promise<ColumnCheck> {
  const { parquetHeader } = await import("hyparquet/src/column.js")
  const { decompressPage } = await import("hyparquet/src/datapage.js")
  const { getMaxDefinitionLevel, getMaxRepetitionLevel, getSchemaPath } = await import("hyparquet/src/schema.js")
  return (slice, schema, chunk, rows, demand) => {
    const path = getSchemaPath([...schema], chunk.path_in_schema)
    const levels = { repetition: path.length > 1 ? getMaxRepetitionLevel(path) : 0, definition: getMaxDefinitionLevel(path) }
    const values = Number(chunk.num_values)
    const start = Number(chunk.dictionary_page_offset ?? chunk.data_page_offset)
    const compressed = Number(chunk.total_compressed_size)
    if (!(rows >= 0 && values >= rows && compressed >= 0 && values < 2 ** 31)) throw new BadParquet(`a column of ${rows} rows is said to have ${values} values in ${compressed} bytes`)
    demand(24 * values + compressed)
    const bytes = slice(start, start + compressed)
    let [memory, seen, at] = [24 * values, 0, 0]
    while (at < bytes.length - 1 && seen < values) {
      const reader = { view: new DataView(bytes.buffer, at, Math.min(largestHeader, bytes.length - at)), offset: 0 }
      const header = parquetHeader(reader)
      at += reader.offset
      const size = Number(header.uncompressed_page_size)
      if (!(header.compressed_page_size >= 0 && header.compressed_page_size <= bytes.length - at && size >= 0 && size <= largestPage)) throw new BadParquet(`a page is said to take ${header.compressed_page_size} bytes, and ${size} when it is unpacked`)
      memory += 2 * size
      demand(memory)
      const page = bytes.subarray(at, at + header.compressed_page_size)
      at += header.compressed_page_size
      const entries = header.type === "DICTIONARY_PAGE" ? (header.dictionary_page_header?.num_values ?? NaN) : 0
      if (!(entries >= 0 && entries <= size)) throw new BadParquet(`a dictionary of ${size} bytes is said to have ${entries} entries`)
      const count = valuesOf(header)
      seen += count
      if (!(count >= 0) || seen > values) throw new BadParquet(`a column of ${values} values has a page of ${count}`)
      if (header.type !== "DICTIONARY_PAGE") checkRuns(header, count, size, page, levels, chunk, (packed, length) => decompressPage(packed, length, chunk.codec, compressors))
    }
    return memory
  }
}

/** NaN where the header does not say. */
function valuesOf(header: PageHeader): number {
  switch (header.type) {
    case "DICTIONARY_PAGE": return header.dictionary_page_header === undefined ? NaN : 0
    case "DATA_PAGE": return header.data_page_header?.num_values ?? NaN
    case "DATA_PAGE_V2": return header.data_page_header_v2?.num_values ?? NaN
    default: return NaN
  }
}

interface Levels { readonly repetition: number; readonly definition: number }

/** Levels, indices into a dictionary and truth values are runs of equal or packed numbers: no more of them than the page has values. */
function checkRuns(header: PageHeader, count: number, size: number, page: Uint8Array, levels: Levels, chunk: ColumnMetaData, unpacked: (page: Uint8Array, length: number) => Uint8Array): void {
  const [first, second] = header.type === "DATA_PAGE" ? [header.data_page_header, undefined] : [undefined, header.data_page_header_v2]
  const encoding = first?.encoding ?? second?.encoding ?? ""
  if (!encodings.has(encoding)) throw new BadParquet(`values are encoded as ${encoding.toLowerCase()}`)
  let values: Uint8Array
  if (second !== undefined) {
    const [r, d] = [second.repetition_levels_byte_length, second.definition_levels_byte_length]
    if (!(r >= 0 && d >= 0 && r + d <= page.length && r + d <= size && second.num_rows >= 0 && second.num_rows <= count && second.num_nulls >= 0 && second.num_nulls <= count)) throw new BadParquet("a page has levels longer than itself")
    if (levels.repetition > 0) runs(page.subarray(0, r), bitsFor(levels.repetition), count)
    if (levels.definition > 0) runs(page.subarray(r, r + d), bitsFor(levels.definition), count)
    values = second.is_compressed === false ? page.subarray(r + d) : unpacked(page.subarray(r + d), size - r - d)
  } else {
    values = unpacked(page, size)
    for (const most of [levels.repetition, levels.definition]) {
      if (most === 0) continue
      const length = values.length < 4 ? Infinity : new DataView(values.buffer, values.byteOffset).getUint32(0, true)
      if (length > values.length - 4) throw new BadParquet("a page has levels longer than itself")
      runs(values.subarray(4, 4 + length), bitsFor(most), count)
      values = values.subarray(4 + length)
    }
  }
  if (encoding.endsWith("DICTIONARY")) {
    const width = values[0] ?? 0
    if (width > 32) throw new BadParquet(`a dictionary is indexed by ${width} bits`)
    if (width > 0) runs(values.subarray(1), width, count)
  }
  if (encoding === "RLE" && chunk.type === "BOOLEAN") runs(values.subarray(4), 1, count)
}

const bitsFor = (most: number): number => 32 - Math.clz32(most)

/** Runs of a number that is repeated, or of groups of 8 packed ones. The last group may be filled up. */
function runs(bytes: Uint8Array, width: number, count: number): void {
  for (let [at, left] = [0, count]; left > 0 && at < bytes.length; ) {
    let [header, shift] = [0, 1]
    for (let more = true; more; shift *= 128) {
      const byte = bytes[at++]
      if (byte === undefined || shift > 2 ** 28) throw new BadParquet("a run is cut off")
      header += (byte & 127) * shift
      more = byte >= 128
    }
    if (header >= 2 ** 31) throw new BadParquet("a run is longer than its page")
    const length = header % 2 === 1 ? 8 * ((header - 1) / 2) : header / 2
    if (length > left + 504) throw new BadParquet(`a run of ${length} values stands where ${left} are left`)
    at += header % 2 === 1 ? (length / 8) * width : Math.ceil(width / 8)
    left -= length
  }
}
