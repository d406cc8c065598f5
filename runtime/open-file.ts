/** Opening files that a recipe names: regular files only, none that appeared in place of the one that was checked. */
import * as fs from "node:fs"

/** What makes a file that one file, whatever it is called: its device and number. */
export function identityOf(stat: fs.Stats): string {
  return `${stat.dev}:${stat.ino}`
}

/** A file that is not read: it is none, another one than was checked, or larger than whoever reads it can use. The message is the reason. */
export class UnfitFile extends Error {
  readonly file: string
  constructor(file: string, reason: string) {
    super(reason)
    this.file = file
  }
}

/**
 * A descriptor of a regular file. It does not wait for the other end of a pipe, follows no link in the last part of the path,
 * and is compared with what was checked before, so that nothing can be put in its place in between.
 */
export function openRegular(file: string, identity: string | null = null): number {
  const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = fs.constants
  const handle = fs.openSync(file, O_RDONLY | O_NONBLOCK | (identity === null ? 0 : O_NOFOLLOW))
  try {
    const stat = fs.fstatSync(handle)
    if (!stat.isFile()) throw new UnfitFile(file, "it is not a regular file")
    if (identity !== null && identityOf(stat) !== identity) throw new UnfitFile(file, "it was replaced while it was opened")
    return handle
  } catch (error) {
    fs.closeSync(handle)
    throw error
  }
}

/** The content of a regular file of at most `most` bytes: its size is asked before anything is allocated for it. Throws what the system says, or `UnfitFile`. */
export function readBounded(file: string, most: number): Uint8Array {
  const handle = openRegular(file)
  try {
    const { size } = fs.fstatSync(handle)
    if (size > most) throw new UnfitFile(file, `it has ${size} bytes, and at most ${most} are read`)
    return readFrom(handle, size)
  } finally {
    fs.closeSync(handle)
  }
}

/** The first bytes of a regular file, `most` of them or all that it has. */
export function readStart(file: string, most: number): Uint8Array {
  const handle = openRegular(file)
  try {
    return readFrom(handle, Math.min(most, fs.fstatSync(handle).size))
  } finally {
    fs.closeSync(handle)
  }
}

function readFrom(handle: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let done = 0
  for (let n = 1; n > 0 && done < size; done += n) n = fs.readSync(handle, bytes, done, size - done, null)
  return bytes.subarray(0, done)
}

/** The text of a regular file of at most `most` bytes. Throws as `readBounded` does, and where it is not UTF-8. */
export function readBoundedText(file: string, most: number): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readBounded(file, most))
}

/** The same; null: there is none to be read. */
export function readSmallText(file: string, most: number): string | null {
  try {
    return readBoundedText(file, most)
  } catch {
    return null
  }
}

/** What slm itself writes beside results: locks, records, lists. */
export const mostRecordBytes: number = 2 ** 28

/** JSON that slm wrote; null: it is not there, damaged, or no regular file. */
export function readRecordJson(file: string): unknown {
  try {
    return JSON.parse(readBoundedText(file, mostRecordBytes))
  } catch {
    return null
  }
}
