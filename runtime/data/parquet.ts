/** Parquet as rows. The library is loaded where a recipe reads such a file; what a file says of its sizes is counted before it is believed. */
import * as fs from "node:fs"
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import type { AsyncBuffer, Compressors, FileMetaData } from "hyparquet"
import type { InputFile } from "../files.ts"
import { openRegular } from "../open-file.ts"
import { rowBuilder, type Fields, type RowBuilder } from "./fields.ts"
import { BadParquet, checkFooter, createPageCheck } from "./parquet-check.ts"
import { finished } from "./read.ts"
import { excerpt, failure, failuresShown, type Failure, type Result } from "./result.ts"
import type { Rows } from "./rows.ts"
import { snappyDecoded } from "./snappy.ts"

export interface ParquetOptions {
  readonly fields: Fields
  /** Told how many bytes a row group takes in memory before it is read; throws where that is too many. */
  readonly demand: (bytes: number) => void
}

export async function readParquet(files: readonly InputFile[], options: ParquetOptions): Promise<Result<Rows>> {
  const library = await import("hyparquet")
  const checkColumn = await createPageCheck(compressors)
  const builder = rowBuilder(options.fields)
  const failures: Failure[] = []
  for (const [index, file] of files.entries()) {
    if (failures.length >= failuresShown) break
    const handle = openRegular(file.path, file.identity)
    try {
      const buffer = bufferOf(handle, file.bytes)
      checkFooter((start, end) => sliceOf(handle, file.bytes, start, end), file.bytes)
      const metadata = await library.parquetMetadataAsync(buffer, { geoparquet: false })
      const missing = missingColumns(metadata, options.fields, file)
      failures.push(...missing)
      if (missing.length > 0) continue
      let start = 0
      for (const group of metadata.row_groups) {
        const count = Number(group.num_rows)
        const chunks = group.columns.flatMap(({ meta_data }) => (meta_data !== undefined && options.fields.has(meta_data.path_in_schema[0] ?? "") ? [meta_data] : []))
        let bytes = 0
        for (const chunk of chunks) bytes += checkColumn((start, end) => sliceOf(handle, file.bytes, start, end), metadata.schema, chunk, count, options.demand)
        options.demand(bytes)
        const rows = await library.parquetReadObjects({ file: buffer, metadata, columns: [...options.fields.keys()], rowStart: start, rowEnd: start + count, compressors, parsers, useOffsetIndex: false })
        if (rows.length !== count) throw new BadParquet(`a row group of ${count} rows has ${rows.length}`)
        for (const [i, row] of rows.entries()) {
          const failed = addRow(builder, row, file, index, start + i + 1)
          if (failed !== null) failures.push(failed)
          if (failures.length >= failuresShown) break
        }
        if (failures.length >= failuresShown) break
        start += count
      }
    } catch (error) {
      if (!isParquetError(error)) throw error
      failures.push(failure("SLM3118", `\`${file.name}\` cannot be read as Parquet: ${excerpt(error.message, 120)}`, "compressions are none, Snappy, GZIP and Brotli, encodings plain and by dictionary"))
    } finally {
      fs.closeSync(handle)
    }
  }
  return finished(builder, files, failures)
}

/** The library throws plain errors where a file is not what it should be; limits and the system have errors of their own. */
function isParquetError(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  return "code" in error ? String(error.code).startsWith("ERR_") : [BadParquet, Error, RangeError, TypeError, SyntaxError].some((kind) => error.constructor === kind)
}

function bufferOf(handle: number, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    slice(start, end = byteLength) {
      const bytes = sliceOf(handle, byteLength, start, end)
      return bytes.buffer
    },
  }
}

function sliceOf(handle: number, byteLength: number, start: number, end: number): Uint8Array<ArrayBuffer> {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start || end > byteLength) throw new BadParquet(`it refers to bytes ${start} to ${end} of ${byteLength}`)
  const bytes = new Uint8Array(end - start)
  for (let done = 0; done < bytes.length; ) {
    const n = fs.readSync(handle, bytes, done, bytes.length - done, start + done)
    if (n === 0) throw new BadParquet("the file became shorter")
    done += n
  }
  return bytes
}

function missingColumns(metadata: FileMetaData, fields: Fields, file: InputFile): readonly Failure[] {
  const names = new Set(metadata.row_groups.flatMap((group) => group.columns.map(({ meta_data }) => meta_data?.path_in_schema[0] ?? "")))
  if (metadata.row_groups.length === 0) return []
  const has = [...names].slice(0, 8).map((name) => `\`${excerpt(name, 30)}\``).join(", ")
  return [...fields.keys()].filter((name) => !names.has(name)).map((name) => failure("SLM3114", `\`${file.name}\` has no column \`${name}\``, `it has ${has || "none"}`))
}

const compressors: Compressors = {
  SNAPPY: snappyDecoded,
  GZIP: (input, length) => unpacked(() => gunzipSync(input, { maxOutputLength: Math.max(1, length) })),
  BROTLI: (input, length) => unpacked(() => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) })),
}

function unpacked(unpack: () => Uint8Array): Uint8Array {
  try {
    return unpack()
  } catch (error) {
    throw new BadParquet(`a page cannot be unpacked (${error instanceof Error ? error.message : String(error)})`)
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true })
const parsers = {
  stringFromBytes(bytes: Uint8Array | undefined): string | undefined {
    if (bytes === undefined) return undefined
    try {
      return utf8.decode(bytes)
    } catch {
      throw new BadParquet("a column of text holds bytes that are not UTF-8")
    }
  },
}

function addRow(builder: RowBuilder, row: Readonly<Record<string, unknown>>, file: InputFile, index: number, number: number): Failure | null {
  const misfit = builder.add([...builder.fields.keys()].map((name) => plainValue(row[name])), index, number)
  return misfit === null ? null : failure("SLM3115", `\`${misfit.field}\` should be ${misfit.misfit}`, null, { file: file.name, line: number, column: null, row: excerpt(shownRow(row)) })
}

/** Whole numbers of 64 bits as numbers, where they are such. */
function plainValue(value: unknown): unknown {
  return typeof value === "bigint" && value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}

function shownRow(row: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(row, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)) ?? ""
}
