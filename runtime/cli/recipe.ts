import { check, type Checked } from "../../compiler/check/check.ts"
import type { Facts } from "../../compiler/plan/stage.ts"
import type { Diagnostic, Source } from "../../grammar/diagnostic.ts"
import { diagnosticToJson, renderDiagnostics } from "../../grammar/render.ts"
import { accessOf, type Access } from "../access.ts"
import { moduleReader } from "../library.ts"
import { parseSize } from "../limits.ts"
import { readRecipe, type RecipeFile } from "../recipe.ts"
import type { Arguments, UsageError } from "./args.ts"
import type { ExitCode } from "./commands.ts"
import { usage } from "./problem.ts"
import type { Terminal } from "./terminal.ts"

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

/** What the options grant the recipe in `folder`. */
export function readAccess(args: Arguments, params: ReadonlyMap<string, string>, folder: string): Access | UsageError {
  const size = (name: string): number | null | UsageError => {
    const text = args.value(name)
    const found = text === null ? null : parseSize(text)
    return text !== null && found === null ? { message: `--${name} takes a size, not ${JSON.stringify(text)}`, help: `for example --${name} 8G` } : found
  }
  const [maxMemory, maxParams] = [size("max-memory"), size("max-params")]
  if (maxMemory !== null && typeof maxMemory === "object") return maxMemory
  if (maxParams !== null && typeof maxParams === "object") return maxParams
  return accessOf({ allowRead: args.values("allow-read"), params, maxMemory, maxParams }, folder)
}

export function checkRecipe(recipe: RecipeFile, params: ReadonlyMap<string, string>, facts: Facts = new Map()): Checked {
  return check(recipe.source, { modules: moduleReader(recipe.folder), params, facts })
}

/** A recipe that was read and checked, or the exit code after its mistakes were shown. */
export function openRecipe(args: Arguments, terminal: Terminal): { readonly recipe: RecipeFile; readonly params: ReadonlyMap<string, string>; readonly access: Access; readonly checked: Checked } | ExitCode {
  const recipe = readRecipe(args.positionals[0] ?? "")
  if ("message" in recipe) return usage(terminal, recipe)
  const params = readSettings(args)
  if ("message" in params) return usage(terminal, params)
  const access = readAccess(args, params, recipe.folder)
  if ("message" in access) return usage(terminal, access)
  const checked = checkRecipe(recipe, params)
  showDiagnostics(checked.diagnostics, checked.sources, args, terminal)
  return checked.recipe === null || hasErrors(checked.diagnostics) ? 1 : { recipe, params, access, checked }
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((d) => d.severity === "error")
}

export function showDiagnostics(diagnostics: readonly Diagnostic[], sources: ReadonlyMap<string, Source>, args: Arguments, terminal: Terminal): void {
  if (diagnostics.length === 0) return
  if (args.flag("json")) for (const d of diagnostics) terminal.line(JSON.stringify({ event: "diagnostic", ...diagnosticToJson(d, sources) }))
  else terminal.error(renderDiagnostics(diagnostics, sources, { color: terminal.color }).trimEnd())
}
