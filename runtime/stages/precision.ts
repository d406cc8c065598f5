/** Whether a device has the products that a stage asks for. */
import { factorsOf } from "../../compiler/graph/lower/context.ts"
import type { Stage } from "../../compiler/plan/stage.ts"
import { diagnostic } from "../../grammar/diagnostic.ts"
import type { Diagnostic } from "../../grammar/diagnostic.ts"
import type { DeviceInfo } from "../device.ts"

/** What is wrong with `precision` of a stage on this device, or null. */
export function unsuitedPrecision(stage: Stage, info: DeviceInfo): Diagnostic | null {
  if (factorsOf(stage.args) !== "f16" || info.f16Class !== undefined) return null
  const why = info.name === "webgpu" ? `: its adapter does not offer \`shader-f16\` (${info.detail})` : ""
  return diagnostic("SLM3506", stage.span, `\`${stage.name}\` has \`precision: f16\`, and the device ${info.name} has no products of f16${why}`, {
    help: "write `precision: bf16`, which every device has, or run on a GPU whose features in `slm doctor` include shader-f16: `--device webgpu`",
  })
}
