/** A folder that holds the files of one artifact, or of one checkpoint, and `entry.json`, which names them with their checksums. */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { sha256, syncFolder, writeSynced } from "../files.ts"
import { readBounded, readRecordJson } from "../open-file.ts"
import { isSystemError } from "../system-error.ts"

export type Files = ReadonlyMap<string, Uint8Array>

export interface EntryAbout {
  readonly kind: string
  readonly name: string
  /** What the stage taught: `size`, `rows`, `loss`, … */
  readonly facts: Readonly<Record<string, number>>
  /** The inputs it was made from, as the recipe names them. */
  readonly from?: readonly string[]
  /** Hash of the compiler that made it. */
  readonly compiler?: string
}

export interface Entry {
  readonly about: EntryAbout
  readonly files: Files
}

export interface Manifest {
  readonly version: 2
  readonly key: string
  readonly about: EntryAbout
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly bytes: number }>>
  /** Of all of the above: facts are results too. */
  readonly sum: string
}

const manifestName = "entry.json"
const safeName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** What the entry says of itself; null where there is none, or it is damaged. */
export function readManifest(folder: string): Manifest | null {
  const manifest = readRecordJson(path.join(folder, manifestName))
  if (!isManifest(manifest)) return null
  const facts = Object.fromEntries(Object.entries(manifest.about.facts).map(([name, value]) => [name, Number(value)]))
  return { ...manifest, about: { ...manifest.about, facts } }
}

/** The entry of this key, every file checked against its checksum; null where there is none, it is damaged, or its files have more than `most` bytes together. */
export function readEntry(folder: string, key: string, most = Infinity): Entry | null {
  const manifest = readManifest(folder)
  const files = manifest === null || manifest.key !== key ? null : readFiles(folder, manifest, most)
  return manifest === null || files === null ? null : { about: manifest.about, files }
}

/** Makes the entry whole or not at all, in place of one that is there: temporary folder, fsync, rename. */
export function writeEntry(folder: string, key: string, about: EntryAbout, files: Files): void {
  const parent = path.dirname(folder)
  fs.mkdirSync(parent, { recursive: true })
  const temporary = path.join(parent, `.${path.basename(folder)}.${randomBytes(6).toString("hex")}.tmp`)
  try {
    fs.mkdirSync(temporary)
    fill(temporary, key, about, files)
    replace(temporary, folder)
    syncFolder(parent)
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true })
  }
}

/** A folder cannot be renamed over another one: the old one steps aside first. Where another run was faster, its entry stays. */
function replace(temporary: string, folder: string): void {
  const old = temporary.replace(/[0-9a-f]{12}\.tmp$/, `${randomBytes(6).toString("hex")}.tmp`)
  try {
    fs.renameSync(folder, old)
  } catch (error) {
    if (!isSystemError(error) || error.code !== "ENOENT") throw error
  }
  try {
    fs.renameSync(temporary, folder)
  } catch (error) {
    const taken = isSystemError(error) && (error.code === "ENOTEMPTY" || error.code === "EEXIST")
    if (!taken || readManifest(folder) === null) throw error
  } finally {
    fs.rmSync(old, { recursive: true, force: true })
  }
}

function fill(target: string, key: string, about: EntryAbout, files: Files): void {
  const listed: Record<string, { sha256: string; bytes: number }> = {}
  for (const [name, data] of files) {
    if (!safeName.test(name) || name === manifestName) throw new Error(`store: ${name} is not a name for a file of an entry`)
    listed[name] = { sha256: sha256(data), bytes: data.length }
    writeSynced(path.join(target, name), data)
  }
  // JSON has no infinity; a perplexity may be one.
  const facts = Object.fromEntries(Object.entries(about.facts).map(([name, value]) => [name, Number.isFinite(value) ? value : String(value)]))
  const content = { version: 2, key, about: { ...about, facts }, files: listed }
  const manifest = { ...content, sum: sumOf(content) }
  writeSynced(path.join(target, manifestName), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`))
  syncFolder(target)
}

function readFiles(folder: string, manifest: Manifest, most: number): Files | null {
  const listed = Object.entries(manifest.files)
  if (!listed.every(([name]) => safeName.test(name)) || listed.reduce((sum, [, { bytes }]) => sum + bytes, 0) > most) return null
  const files = new Map<string, Uint8Array>()
  for (const [name, { sha256: expected, bytes }] of listed) {
    try {
      const data = readBounded(path.join(folder, name), bytes)
      if (sha256(data) !== expected) return null
      files.set(name, data)
    } catch {
      return null
    }
  }
  return files
}

function isManifest(x: unknown): x is Manifest {
  if (typeof x !== "object" || x === null) return false
  const m = x as Partial<Record<keyof Manifest, unknown>>
  if (!isAbout(m.about) || typeof m.files !== "object" || m.files === null || !Object.values(m.files).every(isListed)) return false
  const { sum, ...content } = m
  return m.version === 2 && typeof m.key === "string" && sum === sumOf(content)
}

/** Whoever can write a checksum can write anything beside it: the form is looked at, too. */
function isAbout(x: unknown): boolean {
  if (typeof x !== "object" || x === null || !("facts" in x) || typeof x.facts !== "object" || x.facts === null) return false
  const from = "from" in x ? x.from : []
  return (!("compiler" in x) || typeof x.compiler === "string") && "kind" in x && typeof x.kind === "string" && "name" in x && typeof x.name === "string" && Array.isArray(from) && from.every((path) => typeof path === "string")
}

function isListed(x: unknown): boolean {
  return typeof x === "object" && x !== null && "sha256" in x && typeof x.sha256 === "string" && "bytes" in x && Number.isSafeInteger(x.bytes) && Number(x.bytes) >= 0
}

function sumOf(content: object): string {
  return sha256(JSON.stringify(content))
}
