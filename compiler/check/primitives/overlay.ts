/** `overlay`: weights with some of their own from a file. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Primitive } from "../value.ts"
import { artifact } from "./data.ts"
import type { PrimitiveTable } from "./table.ts"
import { error } from "../make.ts"

const overlay: Primitive = (args, site, m) => {
  const { type } = artifact(args, "model")
  const path = args.get("path")
  if (type.is !== "weights") return error
  if (path?.kind === "string" && path.value === "") return m.report(diagnostic("SLM2303", site.args.get("path") ?? site.span, "a file of weights has a name"))
  return m.stage("overlay", args, type, site.span)
}

export const overlayPrimitives: PrimitiveTable = { overlay }
