/**
 * The meaning of every `primitive fn` of the prelude. Each file beside this one exports a table of one concern:
 *
 *     export const numberPrimitives: PrimitiveTable = { exp: (args, site, ctx) => …, … }
 *
 * and is merged here. Arguments arrive bound by parameter name, defaulted and coerced to their declared types.
 * A primitive is not called at all where one of its arguments is an ErrorValue (it would only repeat a mistake) or an
 * UnknownValue (a definition is being checked), or a list of one; `length`, `fold` and the like do see such lists.
 * Floats, bools and strings may still be unknown (`value: null`), integers may be symbolic (`ctx.known(poly)`).
 * Mistakes go to `ctx.report(diagnostic(code, site.args.get("x") ?? site.span, …))`, whose result is the value to return.
 */
import type { Primitive } from "../value.ts"
import { dataPrimitives } from "./data.ts"
import { eachWeightPrimitives } from "./each-weight.ts"
import { hostPrimitives } from "./host.ts"
import { initPrimitives } from "./init.ts"
import { layerPrimitives } from "./layers.ts"
import { descendPrimitives } from "./layers-descend.ts"
import { instancePrimitives } from "./layers-instance.ts"
import { randomPrimitives } from "./layers-random.ts"
import { lossPrimitives } from "./loss.ts"
import { vocabularyPrimitives } from "./loss-vocabulary.ts"
import { rowPrimitives } from "./row-stages.ts"
import { numberPrimitives } from "./number-functions.ts"
import { searchPrimitives } from "./search.ts"
import { rowPrimitives as dataRowPrimitives } from "./rows.ts"
import { overlayPrimitives } from "./overlay.ts"
import { shapePrimitives } from "./shape.ts"
import { passPrimitives } from "./passes.ts"
import { stagePrimitives } from "./stages.ts"
import { listPrimitives } from "./tensor-lists.ts"
import { productPrimitives } from "./tensor-products.ts"
import { tensorPrimitives } from "./tensor.ts"

export type PrimitiveTable = Readonly<Record<string, Primitive>>

const tables: readonly PrimitiveTable[] = [
  numberPrimitives, tensorPrimitives, productPrimitives, listPrimitives, shapePrimitives, layerPrimitives, instancePrimitives, descendPrimitives, randomPrimitives, lossPrimitives, vocabularyPrimitives, initPrimitives,
  dataPrimitives, dataRowPrimitives, rowPrimitives, stagePrimitives, passPrimitives, hostPrimitives, eachWeightPrimitives, overlayPrimitives, searchPrimitives,
]

export const primitives: ReadonlyMap<string, Primitive> = new Map(tables.flatMap((table) => Object.entries(table)))
