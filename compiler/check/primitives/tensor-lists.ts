import { diagnostic } from "../../../grammar/diagnostic.ts"
import { kindOf } from "../describe.ts"
import type { Machine } from "../machine.ts"
import { list, unknown } from "../make.ts"
import type { CallSite, ErrorValue, Primitive, Value } from "../value.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan } from "./tensor-values.ts"

/** The items of a static list (one that stands for all, where the length is not known yet); null for nothing known. */
function itemsOf(value: Value, site: CallSite, ctx: Machine): readonly Value[] | null | ErrorValue {
  if (value.kind === "list") return value.items
  if (value.kind === "record") return [...value.fields.values()]
  if (value.kind === "unknown") return null
  return ctx.report(diagnostic("SLM2106", argSpan(site, "over"), `${kindOf(value, ctx)} is not a list`, {
    notes: ["repetition is over lists whose length is known before the run"],
  }))
}

function isItems(x: readonly Value[] | ErrorValue): x is readonly Value[] {
  return Array.isArray(x)
}

/** Every carry after `start`, in order. */
function carries(args: ReadonlyMap<string, Value>, site: CallSite, ctx: Machine): readonly Value[] | null | ErrorValue {
  const items = itemsOf(arg(args, "over"), site, ctx)
  if (items === null || !isItems(items)) return items
  const results: Value[] = []
  let carry = arg(args, "start")
  for (const item of items) {
    carry = ctx.apply(arg(args, "step"), [carry, item], argSpan(site, "step"))
    if (carry.kind === "error") return carry
    results.push(carry)
  }
  return results
}

const fold: Primitive = (args, site, ctx) => {
  const all = carries(args, site, ctx)
  if (all === null) return unknown("any", site.span)
  return isItems(all) ? all.at(-1) ?? arg(args, "start") : all
}

const foldSteps: Primitive = (args, site, ctx) => {
  const all = carries(args, site, ctx)
  if (all === null) return unknown("any", site.span)
  if (!isItems(all)) return all
  const over = arg(args, "over")
  return over.kind === "list" && over.count !== undefined ? { ...list(all, site.span), count: over.count } : list(all, site.span)
}

const map: Primitive = (args, site, ctx) => {
  const items = itemsOf(arg(args, "over"), site, ctx)
  if (items === null) return unknown("any", site.span)
  if (!isItems(items)) return items
  const over = arg(args, "over")
  const results = list(items.map((item) => ctx.apply(arg(args, "step"), [item], argSpan(site, "step"))), site.span)
  return over.kind === "list" && over.count !== undefined ? { ...results, count: over.count } : results
}

export const listPrimitives: PrimitiveTable = { fold, fold_steps: foldSteps, map }
