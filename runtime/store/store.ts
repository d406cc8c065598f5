/**
 * Finished stages by their key: `<root>/<first 16 hex of the key>/` holds the files of one artifact and `entry.json`, which names
 * them with their checksums. An entry appears whole or not at all (temporary folder, fsync, rename); one that was damaged
 * later is reported and counts as absent.
 */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { sha256 } from "../files.ts"

export interface Store {
  has(key: string): boolean
  /** The files of an entry, checked against their checksums; null where there is none or it is damaged. */
  get(key: string): Entry | null
  /** Keeps the files under the key; an entry that is there already is replaced. */
  put(key: string, about: EntryAbout, files: Files): void
  /** Where the files of a key lie, for links from a run's folder. */
  folder(key: string): string
}

export type Files = ReadonlyMap<string, Uint8Array>

export interface EntryAbout {
  readonly kind: string
  readonly name: string
  /** What the stage taught: `size`, `rows`, `loss`, … */
  readonly facts: Readonly<Record<string, number>>
}

export interface Entry {
  readonly about: EntryAbout
  readonly files: Files
}

interface Manifest {
  readonly version: 1
  readonly key: string
  readonly about: EntryAbout
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly bytes: number }>>
}

const manifestName = "entry.json"
const safeName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** A store of plain files below `root`. `warn` hears of damaged entries. */
export function openStore(root: string, warn: (message: string) => void): Store {
  const folder = (key: string): string => path.join(root, key.slice(0, 16))

  function manifestOf(key: string): Manifest | null {
    try {
      const manifest: unknown = JSON.parse(fs.readFileSync(path.join(folder(key), manifestName), "utf8"))
      if (!isManifest(manifest) || manifest.key !== key) return null
      const facts = Object.fromEntries(Object.entries(manifest.about.facts).map(([name, value]) => [name, Number(value)]))
      return { ...manifest, about: { ...manifest.about, facts } }
    } catch {
      return null
    }
  }

  return {
    folder,
    has: (key) => manifestOf(key) !== null,
    get(key) {
      if (!fs.existsSync(folder(key))) return null
      const manifest = manifestOf(key)
      const files = manifest === null ? null : readFiles(folder(key), manifest)
      if (manifest !== null && files !== null) return { about: manifest.about, files }
      warn(`the stored result ${folder(key)} is damaged; its stage runs again`)
      return null
    },
    put(key, about, files) {
      fs.mkdirSync(root, { recursive: true })
      const temporary = path.join(root, `.${key.slice(0, 16)}.${randomBytes(6).toString("hex")}.tmp`)
      try {
        fs.mkdirSync(temporary)
        writeEntry(temporary, key, about, files)
        fs.rmSync(folder(key), { recursive: true, force: true })
        fs.renameSync(temporary, folder(key))
        sync(root)
      } finally {
        fs.rmSync(temporary, { recursive: true, force: true })
      }
    },
  }
}

function writeEntry(target: string, key: string, about: EntryAbout, files: Files): void {
  const listed: Record<string, { sha256: string; bytes: number }> = {}
  for (const [name, data] of files) {
    if (!safeName.test(name) || name === manifestName) throw new Error(`store: ${name} is not a name for a file of an entry`)
    listed[name] = { sha256: sha256(data), bytes: data.length }
    writeSynced(path.join(target, name), data)
  }
  // JSON has no infinity; a perplexity may be one.
  const facts = Object.fromEntries(Object.entries(about.facts).map(([name, value]) => [name, Number.isFinite(value) ? value : String(value)]))
  const manifest = { version: 1, key, about: { ...about, facts }, files: listed }
  writeSynced(path.join(target, manifestName), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`))
  sync(target)
}

function readFiles(folder: string, manifest: Manifest): Files | null {
  const files = new Map<string, Uint8Array>()
  for (const [name, { sha256: expected }] of Object.entries(manifest.files)) {
    if (!safeName.test(name)) return null
    try {
      const data = fs.readFileSync(path.join(folder, name))
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
  const about = m.about
  if (typeof about !== "object" || about === null || !("facts" in about) || typeof about.facts !== "object" || about.facts === null) return false
  return m.version === 1 && typeof m.key === "string" && typeof m.files === "object" && m.files !== null
}

function writeSynced(file: string, data: Uint8Array): void {
  const handle = fs.openSync(file, "wx")
  try {
    for (let done = 0; done < data.length; ) done += fs.writeSync(handle, data, done)
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}

/** A rename is durable only once the folder is; Windows has no such call and needs none. */
function sync(folder: string): void {
  if (process.platform === "win32") return
  const handle = fs.openSync(folder, "r")
  try {
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}
