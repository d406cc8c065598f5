/** Where what a stage yields comes from: the inputs that it, or what it is made from, reads. */
import type { Stage } from "../../compiler/plan/stage.ts"

/** The stages that read from outside among this one and all it is made from, each once. */
export function sourcesOf(stage: Stage): readonly Stage[] {
  const seen = new Set<Stage>()
  const open = [stage]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (seen.has(next)) continue
    seen.add(next)
    open.push(...next.inputs)
  }
  return [...seen].filter((one) => pathOf(one) !== null)
}

/** What a stage reads, as the recipe names it; null: it reads nothing from outside. */
export function pathOf(stage: Stage): string | null {
  const path = stage.inputs.length === 0 || stage.kind === "overlay" ? stage.args.get("path") : undefined
  return path?.kind === "string" ? path.value : null
}

/** The paths of all inputs, in a stable order. */
export function pathsOf(stage: Stage): readonly string[] {
  return [...new Set(sourcesOf(stage).flatMap((source) => pathOf(source) ?? []))].sort()
}

/** Whether one of its inputs is marked `private`: then nobody sees what it is made of. */
export function isPrivate(stage: Stage): boolean {
  return sourcesOf(stage).some(saysPrivate)
}

/** An input that is marked itself. */
export function saysPrivate(stage: Stage): boolean {
  const value = stage.args.get("private")
  return value?.kind === "bool" && value.value === true
}
