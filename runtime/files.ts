/** Safe paths, atomic writes and hashes: the only way from a recipe's words to files. */
import { createHash, randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { matchFiles, mostLooked } from "./data/glob.ts"
import { bad, failure, good, type Failure, type Result } from "./data/result.ts"
import { identityOf, openRegular } from "./open-file.ts"
import { isSystemError, helpFor, reasonOf, shownPath } from "./system-error.ts"

/** A file a recipe may read. */
export interface InputFile {
  /** Absolute, symbolic links resolved. */
  readonly path: string
  /** As people know it: relative to the recipe's folder, or `npm:pkg/file`. */
  readonly name: string
  readonly bytes: number
  /** Which file this was when it was checked. */
  readonly identity: string
}

export interface ResolveOptions {
  /** Folders, and single files, outside the recipe's that the user allowed to be read. */
  readonly allowRead?: readonly string[]
  /** The largest input, in bytes (default 4 GiB). */
  readonly maxBytes?: number
}

const packagePath = /^npm:((?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*)\/(.+)$/i

/**
 * The files that `wanted` of a recipe in `folder` names: one file, all that match a glob (sorted), or a file of an
 * installed package. Never empty when ok.
 */
export function resolveInput(wanted: string, folder: string, options: ResolveOptions = {}): Result<readonly InputFile[]> {
  if (wanted === "" || wanted.includes("\0")) return bad(failure("SLM3106", `\`${wanted.replaceAll("\0", "\\0")}\` is not a path`))
  if (wanted.startsWith("npm:")) return resolvePackage(wanted, folder, options)
  const root = realFolder(folder)
  if (root === null) return bad(failure("SLM3101", `the folder ${folder} does not exist`))
  const allowed = [root, ...granted(options)]
  if (/[*?]/.test(wanted)) return resolveGlob(wanted, root, allowed, options)
  return inputFile(path.resolve(root, wanted), wanted, allowed, options, notFound(wanted, root))
}

function granted({ allowRead = [] }: ResolveOptions): readonly string[] {
  return allowRead.map((place) => realPlace(path.resolve(place))).filter((place) => place !== null)
}

function resolveGlob(pattern: string, root: string, allowed: readonly string[], options: ResolveOptions): Result<readonly InputFile[]> {
  const fixed = pattern.split("/").findIndex((part) => /[*?]/.test(part))
  const base = path.resolve(root, pattern.split("/").slice(0, fixed).join("/") || ".")
  const realBase = realFolder(pattern.startsWith("/") && fixed <= 1 ? "/" : base)
  if (realBase === null) return bad(failure("SLM3101", `no file matches \`${pattern}\``, `the folder ${path.dirname(pattern)} does not exist`))
  if (!isBelow(realBase, allowed)) return bad(outside(pattern))
  const names = matchFiles(realBase, pattern.split("/").slice(fixed))
  if (names === null) return bad(failure("SLM3603", `\`${pattern}\` looks through more than ${mostLooked.toLocaleString("en")} files`, "name a folder nearer to the files"))
  if (names.length === 0) return bad(failure("SLM3101", `no file matches \`${pattern}\``, "`*` matches within a folder, `**/` any number of folders"))
  const files: InputFile[] = []
  const failures: Failure[] = []
  const prefix = pattern.split("/").slice(0, fixed).join("/")
  for (const name of names) {
    const shown = prefix === "" ? name : `${prefix}/${name}`
    const one = inputFile(path.join(realBase, name), shown, allowed, options, failure("SLM3101", `\`${shown}\` vanished`))
    if (one.ok) files.push(...one.value)
    else failures.push(...one.failures)
  }
  return failures.length > 0 ? { ok: false, failures } : good(files)
}

function resolvePackage(wanted: string, folder: string, options: ResolveOptions): Result<readonly InputFile[]> {
  const match = packagePath.exec(wanted)
  const [, name, file] = match ?? []
  if (name === undefined || file === undefined) return bad(failure("SLM3106", `\`${wanted}\` is not a package path`, "write `npm:name/file` or `npm:@scope/name/file`"))
  for (const start of [path.resolve(folder), path.dirname(fileURLToPath(import.meta.url))]) {
    const found = findPackage(name, start)
    if (found === null) continue
    // A link in `node_modules` may lead to where package managers keep packages, but not out of the project.
    if (!isBelow(found.home, [found.project, ...granted(options)])) return bad(outside(wanted))
    const missing = failure("SLM3101", `the package ${name} has no file \`${file}\``, `its files are in ${path.join("node_modules", name)}`)
    return inputFile(path.resolve(found.home, file), wanted, [found.home], options, missing)
  }
  return bad(failure("SLM3103", `the package ${name} is not installed`, `run \`npm install ${name}\` in the recipe's folder`))
}

/** Name and version of the package that a file of a package path belongs to; null for other files. */
export function packageOf(wanted: string, file: string): string | null {
  const name = packagePath.exec(wanted)?.[1]
  for (let folder = path.dirname(file); name !== undefined && path.dirname(folder) !== folder; folder = path.dirname(folder)) {
    const about = packageIn(folder)
    if (about?.name === name) return `${name} ${about.version}`
  }
  return null
}

function packageIn(folder: string): { readonly name: string; readonly version: string } | null {
  try {
    const about: unknown = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"))
    if (typeof about !== "object" || about === null || !("name" in about) || !("version" in about)) return null
    return { name: String(about.name), version: String(about.version) }
  } catch {
    return null
  }
}

/** The folder of an installed package, the first `node_modules/name` upward from `start`, and the folder whose `node_modules` that is. */
function findPackage(name: string, start: string): { readonly home: string; readonly project: string } | null {
  for (let folder = start; ; folder = path.dirname(folder)) {
    const home = realFolder(path.join(folder, "node_modules", name))
    if (home !== null) return { home, project: realFolder(folder) ?? folder }
    if (path.dirname(folder) === folder) return null
  }
}

function inputFile(file: string, name: string, allowed: readonly string[], options: ResolveOptions, missing: Failure): Result<readonly InputFile[]> {
  try {
    // A path that leaves the folder by its words is refused before the disk is asked whether it exists.
    const parent = nearestReal(file)
    if (!isBelow(parent, allowed)) return bad(outside(name))
    const real = fs.realpathSync(file)
    if (!isBelow(real, allowed)) return bad(outside(name))
    // These are no files, though some say so: what they hold is the state of the machine.
    if (process.platform === "linux" && isBelow(real, ["/proc", "/sys", "/dev"])) return bad(failure("SLM3104", `\`${name}\` is a part of the system, not a file of data`))
    const stat = fs.statSync(real)
    if (!stat.isFile()) return bad(failure("SLM3104", `\`${name}\` is ${stat.isDirectory() ? "a folder" : "not a regular file"}`, stat.isDirectory() ? `name its files: \`${name.replace(/\/$/, "")}/*.txt\`` : null))
    const limit = options.maxBytes ?? 4 * 2 ** 30
    if (stat.size > limit) return bad(failure("SLM3104", `\`${name}\` has ${stat.size} bytes, more than the limit of ${limit}`))
    fs.accessSync(real, fs.constants.R_OK)
    return good([{ path: real, name, bytes: stat.size, identity: identityOf(stat) }])
  } catch (error) {
    const code = errorCode(error)
    if (code === "ENOENT" || code === "ENOTDIR") return bad(missing)
    return bad(failure("SLM3104", `\`${name}\` cannot be read (${code})`))
  }
}

/** The real place of the deepest existing folder of a path, with what does not exist appended as words. */
function nearestReal(file: string): string {
  let rest = ""
  for (let at = file; ; at = path.dirname(at)) {
    const real = realFolder(at)
    if (real !== null) return path.join(real, rest)
    if (path.dirname(at) === at) return file
    rest = path.join(path.basename(at), rest)
  }
}

function realPlace(place: string): string | null {
  try {
    return fs.realpathSync(place)
  } catch {
    return null
  }
}

function realFolder(folder: string): string | null {
  const real = realPlace(folder)
  return real !== null && fs.statSync(real).isDirectory() ? real : null
}

export function isBelow(file: string, folders: readonly string[]): boolean {
  return folders.some((folder) => file === folder || file.startsWith(folder.endsWith(path.sep) ? folder : folder + path.sep))
}

function outside(name: string): Failure {
  return failure("SLM3102", `\`${name}\` lies outside the recipe's folder`, "move it below the recipe, or allow it: `--allow-read PATH`")
}

function notFound(wanted: string, root: string): Failure {
  const folder = path.dirname(path.resolve(root, wanted))
  let names: string[] = []
  try {
    names = fs.readdirSync(folder).filter((n) => path.extname(n) === path.extname(wanted)).sort()
  } catch { /* the folder does not exist either: there is nothing to offer */ }
  const help = names.length === 0 ? `it is looked for below the recipe's folder` : `beside it: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`
  return failure("SLM3101", `\`${wanted}\` does not exist`, help)
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error)
}

// ---------------------------------------------------------------- reading and hashing

/** Calls `use` with consecutive pieces of a file; a piece is only valid during the call. */
export function readPieces(file: string | InputFile, use: (bytes: Uint8Array) => void, pieceBytes = 1 << 20): void {
  const handle = typeof file === "string" ? openRegular(file) : openRegular(file.path, file.identity)
  try {
    const buffer = new Uint8Array(pieceBytes)
    for (let n = fs.readSync(handle, buffer); n > 0; n = fs.readSync(handle, buffer)) use(buffer.subarray(0, n))
  } finally {
    fs.closeSync(handle)
  }
}

/** SHA-256 in hexadecimal. */
export function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex")
}

/** SHA-256 of a file's content in hexadecimal, in constant memory. */
export function sha256File(file: string): string {
  const hash = createHash("sha256")
  readPieces(file, (bytes) => hash.update(bytes))
  return hash.digest("hex")
}

// ---------------------------------------------------------------- writing

/**
 * Writes a file so that at every moment, a power cut included, its name holds either all of the old or all of the new
 * content. Missing folders are made.
 */
export function writeAtomic(file: string, data: Uint8Array | string | readonly Uint8Array[]): Result<null> {
  const folder = path.dirname(file)
  const temporary = path.join(folder, `.${path.basename(file)}.${randomBytes(6).toString("hex")}.tmp`)
  try {
    fs.mkdirSync(folder, { recursive: true })
    writeSynced(temporary, data)
    fs.renameSync(temporary, file)
    syncFolder(folder)
    return good(null)
  } catch (error) {
    try {
      fs.rmSync(temporary, { force: true })
    } catch { /* where the folder is not one, no temporary file was made */ }
    return bad(failure("SLM3105", `${shownPath(file)} cannot be written: ${reasonOf(error)}`, helpFor(error)))
  }
}

/** A new file, on the disk when this returns. */
export function writeSynced(file: string, data: Uint8Array | string | readonly Uint8Array[]): void {
  const handle = fs.openSync(file, "wx")
  try {
    for (const piece of typeof data === "string" ? [Buffer.from(data, "utf8")] : data instanceof Uint8Array ? [data] : data) {
      for (let done = 0; done < piece.length; ) done += fs.writeSync(handle, piece, done)
    }
    fs.fsyncSync(handle)
  } catch (error) {
    // Of a write the system does not say which file it was.
    throw isSystemError(error) && error.path === undefined ? Object.assign(error, { path: file }) : error
  } finally {
    fs.closeSync(handle)
  }
}

/** The rename itself is durable only once the folder is; Windows has no such call and needs none. */
export function syncFolder(folder: string): void {
  if (process.platform === "win32") return
  const handle = fs.openSync(folder, "r")
  try {
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}
