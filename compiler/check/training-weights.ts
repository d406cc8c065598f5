/** Which weights of a training the optimiser updates: `freeze` and `only`. */
import { matches } from "./address.ts"
import type { AddressValue, Value } from "./value.ts"

type Args = ReadonlyMap<string, Value>

/** The addresses of an argument; with several roles they may begin with a role. */
export function addressesIn(args: Args, name: string): readonly AddressValue[] {
  const value = args.get(name)
  return value?.kind === "list" ? value.items.filter((item): item is AddressValue => item.kind === "address") : []
}

/** `role`: `model`, the name of one of `several` roles, or `parts.NAME`, whose weights are always trained. */
export function isTrained(args: Args, role: string, path: string, several: boolean): boolean {
  if (role.startsWith("parts.")) return true
  const covered = (name: string): boolean => addressesIn(args, name).some((a) => matches(a, path, "below") || (several && matches(a, `${role}.${path}`, "below")))
  const only = args.get("only")
  return !covered("freeze") && (only === undefined || only.kind === "none" || covered("only"))
}
