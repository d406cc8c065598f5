/** Packing of right factors into panels as C: a step of its own. */
import type { PanelKernel } from "../schedule/panels.ts"
import { panelDepth } from "../schedule/panels.ts"
import { padded } from "../schedule/tiles.ts"
import { cIndex } from "./c-index.ts"
import type { Parameters } from "./c-exprs.ts"

/** Statements between shares `first` and `last`: some lines and a part of k each. */
export function renderPanels(kernel: PanelKernel, p: Parameters): string[] {
  const { lines, depth, width, from, lineStride, depthStride, factors } = kernel
  const [slices, groups] = [Math.ceil(depth / panelDepth), Math.ceil(lines / width)]
  const places = { variables: {}, value: (): string => { throw new Error("render: the place of a matrix depends on a value") } }
  return [
    "  for (long share = first; share < last; share++) {",
    `    const long b = share / ${slices * groups}, line = share / ${slices} % ${groups} * ${width}, k = share % ${slices} * ${panelDepth};`,
    `    const long some = MIN(${panelDepth}, ${depth} - k), n = MIN(${width}, ${lines} - line);`,
    `    float *to = ${p.name(kernel.to, true)} + (b * ${padded(lines, width)} + line) * ${depth}L + k * ${width};`,
    `    pack_any(to, ${p.name(from.buffer, false)} + ${cIndex(from.offset, places)} + line * ${lineStride}L + k * ${depthStride}L, ${depthStride}, ${lineStride}, some, n, ${width});`,
    ...(factors === "f32" ? [] : [`    round_${factors}(to, some * ${width});`]),
    "  }",
  ]
}
