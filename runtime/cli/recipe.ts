import { readFileSync } from "node:fs"
import { basename, dirname, extname, relative, resolve } from "node:path"
import { check, type Checked } from "../../compiler/check/check.ts"
import type { Facts } from "../../compiler/plan/stage.ts"
import type { Diagnostic, Source } from "../../grammar/diagnostic.ts"
import { diagnosticToJson, renderDiagnostics } from "../../grammar/render.ts"
import { moduleReader } from "../library.ts"
import type { Arguments, UsageError } from "./args.ts"
import type { ExitCode } from "./commands.ts"
import type { Terminal } from "./terminal.ts"

/** A recipe as the user named it. */
export interface RecipeFile {
  readonly source: Source // id: the path as shown, relative to where the user stands
  readonly folder: string
  /** `01-quickstart` of `examples/01-quickstart.slm`. */
  readonly name: string
}

export function readRecipe(path: string): RecipeFile | UsageError {
  try {
    const absolute = resolve(path)
    const shown = relative(process.cwd(), absolute) || path
    return { source: { id: shown, text: readFileSync(absolute, "utf8") }, folder: dirname(absolute), name: basename(absolute, extname(absolute)) }
  } catch (error) {
    return { message: `cannot read ${path}: ${reason(error)}`, help: "a recipe is a text file that ends in .slm" }
  }
}

function reason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : null
  if (code === "ENOENT") return "there is no such file"
  if (code === "EISDIR") return "it is a folder"
  if (code === "EACCES") return "access is denied"
  return error instanceof Error ? error.message : String(error)
}

/** The values of `--set name=value`. */
export function readSettings(args: Arguments): ReadonlyMap<string, string> | UsageError {
  const settings = new Map<string, string>()
  for (const text of args.values("set")) {
    const at = text.indexOf("=")
    if (at <= 0) return { message: `--set takes NAME=VALUE, not ${JSON.stringify(text)}`, help: "for example --set lr=1e-3" }
    const name = text.slice(0, at).trim()
    if (settings.has(name)) return { message: `--set ${name} is given twice`, help: null }
    settings.set(name, text.slice(at + 1).trim())
  }
  return settings
}

export function checkRecipe(recipe: RecipeFile, params: ReadonlyMap<string, string>, facts: Facts = new Map()): Checked {
  return check(recipe.source, { modules: moduleReader(recipe.folder), params, facts })
}

/** A recipe that was read and checked, or the exit code after its mistakes were shown. */
export function openRecipe(args: Arguments, terminal: Terminal): { readonly recipe: RecipeFile; readonly params: ReadonlyMap<string, string>; readonly checked: Checked } | ExitCode {
  const recipe = readRecipe(args.positionals[0] ?? "")
  if ("message" in recipe) return usage(terminal, recipe)
  const params = readSettings(args)
  if ("message" in params) return usage(terminal, params)
  const checked = checkRecipe(recipe, params)
  showDiagnostics(checked.diagnostics, checked.sources, args, terminal)
  return checked.recipe === null || hasErrors(checked.diagnostics) ? 1 : { recipe, params, checked }
}

export function usage(terminal: Terminal, error: UsageError): ExitCode {
  terminal.error(`${terminal.style("red", "error")}: ${error.message}`)
  if (error.help !== null) terminal.error(`${terminal.style("cyan", "help")}: ${error.help}`)
  return 2
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((d) => d.severity === "error")
}

export function showDiagnostics(diagnostics: readonly Diagnostic[], sources: ReadonlyMap<string, Source>, args: Arguments, terminal: Terminal): void {
  if (diagnostics.length === 0) return
  if (args.flag("json")) for (const d of diagnostics) terminal.line(JSON.stringify({ event: "diagnostic", ...diagnosticToJson(d, sources) }))
  else terminal.error(renderDiagnostics(diagnostics, sources, { color: terminal.color }).trimEnd())
}
