import { readPieces, type InputFile } from "../files.ts"
import { bad, excerpt, failure, good, type Failure, type Result } from "./result.ts"

export type TextEncodingName = "utf8" | "gb18030" | "latin1"

/** Longest line or document: JavaScript's longest string is a little longer. */
export const maxTextBytes = 500_000_000

/** What a reader says after each piece: go on, or that it has seen enough. */
export type Next = "more" | "stop"

/**
 * Decodes a file in blocks of whole lines and calls `use` with each and the number (from 1) of its first line. A byte
 * order mark is dropped. Ends at the first byte that is not in the encoding.
 */
export function readBlocks(file: InputFile, encoding: TextEncodingName, use: (text: string, line: number) => Next): Failure | null {
  let carry: Uint8Array[] = []
  let carried = 0
  let offset = 0 // of the first carried byte
  let line = 1
  let found: Failure | null = null
  let next: Next = "more"
  const flush = (bytes: Uint8Array): void => {
    if (bytes.length === 0 || found !== null || next === "stop") return
    const text = decode(bytes, encoding)
    if (text === null) {
      found = locate(file, bytes, encoding, offset, line)
      return
    }
    next = use(offset === 0 && text.startsWith("\ufeff") ? text.slice(1) : text, line)
    offset += bytes.length
    line += countLines(bytes)
  }
  try {
    readPieces(file, (piece) => {
      if (found !== null || next === "stop") return
      // 0x0a is a line end in all three encodings and never part of another character.
      const end = piece.lastIndexOf(10) + 1
      if (carried + piece.length > maxTextBytes && end === 0) {
        const place = { file: file.name, line, column: null, row: "" }
        found = failure("SLM3104", `${file.name} has a line of more than ${maxTextBytes / 1e6} MB`, null, place)
        return
      }
      if (end > 0) {
        flush(joined([...carry, piece.subarray(0, end)]))
        carry = []
        carried = 0
      }
      carry.push(piece.slice(end))
      carried += piece.length - end
    })
  } catch (error) {
    return failure("SLM3104", `${file.name} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
  flush(joined(carry))
  return found
}

/** A whole file as one string. */
export function readWhole(file: InputFile, encoding: TextEncodingName): Result<string> {
  if (file.bytes > maxTextBytes) {
    const help = "cut it into several files and read them with a pattern: `text(\"parts/*.txt\")`"
    return bad(failure("SLM3104", `${file.name} has ${file.bytes} bytes; one text holds at most ${maxTextBytes}`, help))
  }
  const blocks: string[] = []
  const found = readBlocks(file, encoding, (text) => {
    blocks.push(text)
    return "more"
  })
  return found === null ? good(blocks.join("")) : bad(found)
}

/** Calls `use` with each line (without its end) of a file and its number from 1. */
export function readLines(file: InputFile, encoding: TextEncodingName, use: (text: string, line: number) => Next): Failure | null {
  return readBlocks(file, encoding, (block, first) => {
    let line = first
    for (let start = 0; start < block.length; line++) {
      const found = block.indexOf("\n", start)
      const end = found < 0 ? block.length : found
      if (use(block.slice(start, end > start && block[end - 1] === "\r" ? end - 1 : end), line) === "stop") return "stop"
      start = end + 1
    }
    return "more"
  })
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces)
}

function countLines(bytes: Uint8Array): number {
  let n = 0
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) n++
  return n
}

/** What bytes 0x80 to 0x9f mean in files called Latin-1 (windows-1252, as in the WHATWG encoding standard). */
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

/** The text, or null where a byte does not belong to the encoding. `more`: the bytes may end inside a character. */
function decode(bytes: Uint8Array, encoding: TextEncodingName, more = false): string | null {
  if (encoding === "latin1") {
    // Node's own decoder differs between versions in 0x80 to 0x9f.
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")
    return text.replace(/[\u0080-\u009f]/g, (c) => windows1252[c.charCodeAt(0) - 0x80] ?? c)
  }
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes, { stream: more })
  } catch {
    return null
  }
}

/** Finds the first byte that does not fit, by halving: a prefix fails exactly when it holds that byte. */
function locate(file: InputFile, bytes: Uint8Array, encoding: TextEncodingName, offset: number, firstLine: number): Failure {
  let ok = 0
  let fails = bytes.length + 1 // a file that ends inside a character fails only at its end
  while (fails - ok > 1) {
    const middle = (ok + fails) >> 1
    if (decode(bytes.subarray(0, middle), encoding, true) === null) fails = middle
    else ok = middle
  }
  let start = Math.min(fails - 1, bytes.length) // back to the character that byte was read in
  while (start > 0 && decode(bytes.subarray(0, start), encoding) === null) start--
  const lineStart = bytes.lastIndexOf(10, start - 1) + 1
  const lineEnd = bytes.indexOf(10, start)
  const lossy = new TextDecoder(encoding)
  const before = start > 0 ? lossy.decode(bytes.subarray(lineStart, start)) : ""
  const row = lossy.decode(bytes.subarray(lineStart, lineEnd < 0 ? bytes.length : lineEnd))
  const byte = (bytes[start] ?? 0).toString(16).toUpperCase().padStart(2, "0")
  const name = encoding === "utf8" ? "UTF-8" : encoding.toUpperCase()
  const help = encoding === "utf8"
    ? "name its encoding, `encoding: latin1` (Western) or `encoding: gb18030` (Chinese), or convert the file"
    : "is it UTF-8? leave `encoding` out"
  return failure("SLM3111", `${file.name} is not ${name}: byte 0x${byte} at offset ${offset + start}`, help, {
    file: file.name,
    line: firstLine + countLines(bytes.subarray(0, lineStart)),
    column: Array.from(before).length + 1,
    row: excerpt(row),
  })
}
