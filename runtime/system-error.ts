/** What the operating system refuses (no space, no permission, a folder in the way) is a mistake with a reason, not a crash. */
import * as path from "node:path"
import { failure, type Failure } from "./data/result.ts"

const reasons: Readonly<Record<string, string>> = {
  EACCES: "access is denied", EPERM: "it is not permitted", EROFS: "the disk is read-only", ENOSPC: "no space is left on the disk",
  EDQUOT: "the disk quota is used up", EFBIG: "the file would be larger than allowed", EIO: "the disk reports an error", EISDIR: "it is a folder",
  ENOTDIR: "a file stands where a folder is needed", EEXIST: "something else of that name is in the way", ENOTEMPTY: "the folder is not empty",
  ENOENT: "there is no such file or folder", ENAMETOOLONG: "the name is too long", ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open", ENFILE: "too many files are open", EBUSY: "it is in use", EXDEV: "it lies on another disk",
}

/** The part of Node's errors from the operating system that is used here. */
interface SystemError extends Error { readonly code: string; readonly syscall: string; readonly path?: string }

/** Node's own mistakes (`ERR_…`) have a code too, but name no call of the system. */
export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "code" in error && typeof error.code === "string" && /^E[A-Z0-9]+$/.test(error.code) && "syscall" in error
}

/** Why, in words: `no space is left on the disk`. */
export function reasonOf(error: unknown): string {
  if (isSystemError(error)) return reasons[error.code] ?? error.code
  return error instanceof Error ? error.message : String(error)
}

/** A path as the user stands to it; one that lies elsewhere is shown whole. */
export function shownPath(file: string): string {
  const near = path.relative(process.cwd(), file)
  return near === "" ? "." : near.startsWith(path.join("..", "..", "..")) ? file : near
}

const reading: ReadonlySet<string> = new Set(["open", "read", "stat", "lstat", "scandir", "access", "realpath"])
/** Files appear under a temporary name first; people know them by their own. */
const temporary = /\.([^/\\]+)\.[0-9a-f]{12}\.tmp/

/** The mistake that an error of the operating system amounts to; null for any other error, which is a bug of ours. */
export function systemFailure(error: unknown): Failure | null {
  if (!isSystemError(error)) return null
  const given = error.path ?? null
  const writes = error.code === "ENOSPC" || error.code === "EDQUOT" || error.code === "EROFS" || !reading.has(error.syscall) || (given !== null && temporary.test(given))
  const what = given === null ? "a file" : shownPath(given.replace(temporary, "$1"))
  const help = error.code === "ENOSPC" || error.code === "EDQUOT" ? "make room and run again: finished stages are kept" : null
  return failure(writes ? "SLM3105" : "SLM3104", `${what} cannot be ${writes ? "written" : "read"}: ${reasonOf(error)}`, help)
}
