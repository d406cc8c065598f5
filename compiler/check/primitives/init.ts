import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { InitValue, Primitive } from "../value.ts"
import { unknown } from "../make.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, argSpan, numberOf } from "./tensor-values.ts"

/** How a weight starts, with one number (`name` of the argument, `least` it may be). */
function init(how: InitValue["how"], name: string | null = null, least = -Infinity): Primitive {
  return (args, site, ctx) => {
    if (name === null) return { kind: "init", how, a: 0, origin: site.span }
    const value = arg(args, name)
    const a = numberOf(value, ctx)
    if (a === null) return unknown("Init", site.span)
    if (a < least) return ctx.report(diagnostic("SLM2107", argSpan(site, name), `\`${name}\` is ${a}, less than ${least}`))
    return { kind: "init", how, a, origin: site.span }
  }
}

export const initPrimitives: PrimitiveTable = {
  zeros: init("zeros"), ones: init("ones"), full: init("constant", "value"), normal: init("normal", "std", 0), uniform: init("uniform", "bound", 0),
  identity: init("identity"),
}
