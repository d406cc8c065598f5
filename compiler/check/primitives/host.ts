/** Algorithms on matrices and order, in f64, where tensors have their numbers: in rules on weights and in examples. */
import { diagnostic } from "../../../grammar/diagnostic.ts"
import type { Value as HostValue } from "../../graph/value.ts"
import { cholesky, solve, sorted } from "../../graph/linear.ts"
import type { Machine } from "../machine.ts"
import { tensor } from "../make.ts"
import type { CallSite, Primitive, TensorValue, Value } from "../value.ts"
import { reportRank, requireSize } from "./shape-dims.ts"
import type { PrimitiveTable } from "./table.ts"
import { arg, converted, nodeOf } from "./tensor-values.ts"

/** A tensor of the shape of `like` whose numbers `compute` makes of those of `xs`. */
function onHost(name: string, like: TensorValue, xs: readonly TensorValue[], compute: (xs: readonly HostValue[]) => Float64Array | string, site: CallSite, m: Machine): Value {
  const host = m.lowering?.host
  if (m.lowering === null && !m.onDevice) return tensor("f32", like.shape, null, site.span)
  if (host === undefined) return m.report(diagnostic("SLM2216", site.span, `\`${name}\` is computed on the host, and this runs on a device`, { help: "it stands in rules on weights: `with { at … : w => … }`, `rewrite`, `quantize`" }))
  const values = compute(xs.map((x) => host.valueOf(nodeOf(x, m))))
  if (typeof values === "string") return m.report(diagnostic("SLM2107", site.span, values))
  const shape = nodeOf(like, m).shape
  const data = host.precision === "f64" ? values : Float32Array.from(values)
  return tensor("f32", like.shape, host.constant(name, { shape, dtype: "f32" }, () => ({ shape, dtype: "f32", data })), site.span)
}

function tensorArg(args: ReadonlyMap<string, Value>, name: string, m: Machine): TensorValue {
  const x = arg(args, name)
  if (x.kind !== "tensor") throw new Error(`host: ${name} is no tensor`)
  return converted(x, "f32", m)
}

const square = (x: TensorValue, name: string, site: CallSite, m: Machine): Value | null => {
  const [n, k] = x.shape
  if (n === undefined || k === undefined || x.shape.length !== 2) return reportRank(x.shape, "two", name, site, m)
  return requireSize(k, n, name, "a square matrix has as many columns as rows", site, m)
}

/** cholesky(a [n, n]) -> L with L L^T = a. */
const choleskyOf: Primitive = (args, site, m) => {
  const a = tensorArg(args, "a", m)
  return square(a, "a", site, m) ?? onHost("cholesky", a, [a], ([x]) => cholesky(x?.data ?? [], x?.shape[0] ?? 0) ?? "this matrix is not positive definite, so it has no Cholesky factor", site, m)
}

/** solve(a [n, n], b [n, k]) -> x with a x = b. */
const solveOf: Primitive = (args, site, m) => {
  const [a, b] = [tensorArg(args, "a", m), tensorArg(args, "b", m)]
  if (b.shape.length !== 2) return reportRank(b.shape, "two", "b", site, m)
  const mistake = square(a, "a", site, m) ?? requireSize(b.shape[0] ?? a.shape[0]!, a.shape[0]!, "b", "`b` has as many rows as `a`", site, m)
  return mistake ?? onHost("solve", b, [a, b], ([x, y]) => solve(x?.data ?? [], y?.data ?? [], x?.shape[0] ?? 0) ?? "this matrix has no inverse", site, m)
}

/** sort(x): ascending along the last axis. */
const sort: Primitive = (args, site, m) => {
  const x = tensorArg(args, "x", m)
  if (x.shape.length === 0) return reportRank(x.shape, "at least one", "x", site, m)
  return onHost("sort", x, [x], ([y]) => sorted(y?.data ?? [], y?.shape.at(-1) ?? 1), site, m)
}

export const hostPrimitives: PrimitiveTable = { cholesky: choleskyOf, solve: solveOf, sort }
