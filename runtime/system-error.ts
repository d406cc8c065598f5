/** What the operating system refuses (no space, no permission, a folder in the way) is a mistake with a reason, not a crash. */
import * as fs from "node:fs"
import * as path from "node:path"
import { failure, type Failure } from "./data/result.ts"
import { UnfitFile } from "./open-file.ts"

const reasons: Readonly<Record<string, string>> = {
  EACCES: "access is denied", EPERM: "it is not permitted", EROFS: "the disk is read-only", ENOSPC: "no space is left on the disk",
  EDQUOT: "the disk quota is used up", EFBIG: "the file would be larger than allowed", EIO: "the disk reports an error", EISDIR: "it is a folder",
  ENOTDIR: "a file stands where a folder is needed", EEXIST: "something else of that name is in the way", ENOTEMPTY: "the folder is not empty",
  ENOENT: "there is no such file or folder", ENAMETOOLONG: "the name is too long", ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open", ENFILE: "too many files are open", EBUSY: "it is in use", EXDEV: "it lies on another disk",
}

const room = "make room and run again: finished stages are kept"
const elsewhere = "work in a copy of the folder that you may write to: runs/ and .slm/ are kept beside the recipe"
const helps: Readonly<Record<string, string>> = { ENOSPC: room, EDQUOT: room, EACCES: elsewhere, EPERM: elsewhere, EROFS: elsewhere }

/** The part of Node's errors from the operating system that is used here. */
interface SystemError extends Error { readonly code: string; readonly syscall: string; readonly path?: string }

/** Node's own mistakes (`ERR_…`) have a code too, but name no call of the system. */
export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "code" in error && typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code) && "syscall" in error
}

/** Why, in words: `no space is left on the disk`. */
export function reasonOf(error: unknown): string {
  if (isSystemError(error)) return reasons[codeOf(error)] ?? error.code
  return error instanceof Error ? error.message : String(error)
}

/** What to do about it, where there is something to do. */
export function helpFor(error: unknown): string | null {
  return isSystemError(error) ? (helps[codeOf(error)] ?? null) : null
}

/** Making folders one in another fails with ENOENT on a disk that is read-only: the folder above knows why. */
function codeOf({ code, syscall, path: wanted }: SystemError): string {
  if (code !== "ENOENT" || syscall !== "mkdir" || wanted === undefined) return code
  let above = path.dirname(wanted)
  while (!fs.existsSync(above) && path.dirname(above) !== above) above = path.dirname(above)
  try {
    fs.accessSync(above, fs.constants.W_OK)
    return code
  } catch (error) {
    return isSystemError(error) ? error.code : code
  }
}

/** A path as the user stands to it; whole where that is shorter. */
export function shownPath(file: string): string {
  const near = path.relative(process.cwd(), file)
  return near === "" ? "." : near.length <= file.length ? near : file
}

/** A path as it can be pasted into a shell. */
export function pasted(path: string): string {
  return /^[\w./:@%+,=-]+$/.test(path) && !path.startsWith("-") ? path : `'${path.replaceAll("'", "'\\''")}'`
}

const reading: ReadonlySet<string> = new Set(["open", "read", "stat", "lstat", "scandir", "access", "realpath"])
/** Files appear under a temporary name first; people know them by their own. */
const temporary = /\.([^/\\]+)\.[0-9a-f]{12}\.tmp/

/** The mistake that an error of the operating system, or a file that is not read, amounts to; null for any other error, which is a bug of ours. */
export function systemFailure(error: unknown): Failure | null {
  if (error instanceof UnfitFile) return failure("SLM3104", `${shownPath(error.file)} cannot be read: ${error.message}`)
  if (!isSystemError(error)) return null
  const given = error.path ?? null
  const code = codeOf(error)
  const writes = code === "ENOSPC" || code === "EDQUOT" || code === "EROFS" || !reading.has(error.syscall) || (given !== null && temporary.test(given))
  const what = given === null ? "a file" : shownPath(given.replace(temporary, "$1"))
  return failure(writes ? "SLM3105" : "SLM3104", `${what} cannot be ${writes ? "written" : "read"}: ${reasonOf(error)}`, writes ? helpFor(error) : null)
}
