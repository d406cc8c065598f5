/** Opening files that a recipe names: regular files only, none that appeared in place of the one that was checked. */
import * as fs from "node:fs"

/** What makes a file that one file, whatever it is called: its device and number. */
export function identityOf(stat: fs.Stats): string {
  return `${stat.dev}:${stat.ino}`
}

/** The file is not the regular file that it was when it was checked. */
export class FileChanged extends Error {}

/**
 * A descriptor of a regular file. It does not wait for the other end of a pipe, follows no link in the last part of the path,
 * and is compared with what was checked before, so that nothing can be put in its place in between.
 */
export function openRegular(file: string, identity: string | null = null): number {
  const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = fs.constants
  const handle = fs.openSync(file, O_RDONLY | O_NONBLOCK | (identity === null ? 0 : O_NOFOLLOW))
  try {
    const stat = fs.fstatSync(handle)
    if (!stat.isFile()) throw new FileChanged(`${file} is not a regular file`)
    if (identity !== null && identityOf(stat) !== identity) throw new FileChanged(`${file} was replaced while it was opened`)
    return handle
  } catch (error) {
    fs.closeSync(handle)
    throw error
  }
}

/** The text of a regular file of at most `most` bytes; null: it is none, larger, or not UTF-8. */
export function readSmallText(file: string, most: number): string | null {
  let handle: number
  try {
    handle = openRegular(file)
  } catch {
    return null
  }
  try {
    const size = fs.fstatSync(handle).size
    if (size > most) return null
    const bytes = new Uint8Array(size)
    let done = 0
    for (let n = fs.readSync(handle, bytes); n > 0; n = fs.readSync(handle, bytes, done, size - done, null)) done += n
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, done))
  } catch {
    return null
  } finally {
    fs.closeSync(handle)
  }
}
