import type { Stage } from "../plan/stage.ts"
import type { Machine } from "./machine.ts"
import type { LoadedModule, Session } from "./session.ts"
import type { Value } from "./value.ts"

export function reportUnused(module: LoadedModule, m: Machine): void {
  void module
  void m
}
export function reportUnusedData(bindings: ReadonlyMap<string, Value>, stages: readonly Stage[], session: Session, m: Machine): void {
  void [bindings, stages, session, m]
}
