import type { Machine } from "./machine.ts"
import type { LoadedModule } from "./session.ts"

export function checkDefinitions(module: LoadedModule, m: Machine): void {
  void module
  void m
}
