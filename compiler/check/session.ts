import type { Item, Module } from "../../grammar/ast.ts"
import type { Diagnostic, Source, Span } from "../../grammar/diagnostic.ts"
import type { Facts, Stage } from "../plan/stage.ts"
import type { Keys } from "../plan/key.ts"
import type { Binding } from "./again.ts"
import type { ErrorValue, InstanceValue, SpecValue, Value } from "./value.ts"
import type { ResolvedSpec } from "./instance.ts"

/** A text, and its tree where that is known already (the library's, read when the program was built). */
export interface ModuleSource extends Source { readonly module?: Module }

/** What the checker asks of the world outside. */
export interface Environment {
  /** The text of a module: `std.models`, a path from the folder of the recipe (whose id is `from`), or what an `https://` address held when it had this hash. */
  readonly modules: (id: string, from: string, sha256?: string) => ModuleSource | null
  /** `--set name=text` */
  readonly params: ReadonlyMap<string, string>
  readonly facts: Facts
}

/** One run of the checker: everything that is found out is kept here, and is valid for these facts alone. */
export interface Session {
  readonly environment: Environment
  readonly entry: string
  readonly modules: Map<string, LoadedModule>
  readonly sources: Map<string, Source>
  /** Modules that the recipe brings along, by their places. */
  readonly carried: Map<string, CarriedModule>
  /** The first `use` of a module with a hash, and of each library of the web with its version. */
  readonly pinned: Map<string, { readonly hash: string; readonly span: Span }>
  readonly diagnostics: Diagnostic[]
  /** Code and place of what has been reported: the same mistake of one line, met in six blocks, is one mistake. */
  readonly reported: Set<string>
  readonly stages: Map<string, Stage>
  readonly keys: Keys
  /** `<key of a split>.<part>` for every part that is mentioned. */
  readonly partsRead: Set<string>
  readonly specs: WeakMap<SpecValue, ResolvedSpec>
  readonly sizes: WeakMap<Value, number>
  /** Of each graph (or of none, under the session itself), the instances behind trained weights, by role. */
  readonly trained: WeakMap<object, Map<string, InstanceValue | ErrorValue>>
  /** How values without numbers came about; and of each graph, what they are there. */
  readonly bindings: WeakMap<Value, Binding>
  readonly again: WeakMap<object, Map<Value, Value>>
  /** Of each rule on weights, what it makes of those at a path, of a shape. */
  readonly rules: WeakMap<Value, Map<string, Value>>
  /** Stages whose loss, model and optimiser have been evaluated abstractly. */
  readonly verified: Set<string>
  stepsLeft: number
  /** The bounds that have been met, each reported once: a function that calls itself, or the one that reports. */
  readonly outOfBounds: Set<object>
  depth: number
  /** The top-level binding under evaluation: stages made in it are called by it. */
  binding: string | null
  /** What stages are called after besides: the point of a search. */
  called: string | null
  /** Something that decides which stages there are waits for numbers of a run. */
  undecided: boolean
  /** Keys of rankings that wait for the numbers of their trials. */
  readonly rankings: Set<string>
  /** Keys of stages that a binding of the recipe has given its name. */
  readonly named: Set<string>
  /** Keys of stages of which a number is used, since it was last emptied. */
  readonly read: Set<string>
}

export interface CarriedModule {
  readonly source: ModuleSource
  readonly span: Span
}

export interface LoadedModule {
  readonly id: string
  /** Where it stands: "" for the recipe, else as `placeOf` says. */
  readonly place: string
  readonly module: Module
  readonly entries: Map<string, Entry>
  /** Part of the library: mistakes met in it are shown where the recipe calls it. */
  readonly library: boolean
}

/** A name of a module. `use` entries refer to another module. */
export interface Entry {
  readonly name: string
  readonly span: Span
  readonly item: Item
  readonly from: { readonly module: string; readonly name: string } | null
  state: "new" | "evaluating" | "done"
  value: Value | null
}

export const limits = {
  /** Expressions evaluated in one check. */
  steps: 1_000_000,
  /** Expressions inside of each other, calls included. */
  depth: 600,
  listLength: 100_000,
  textLength: 1_000_000,
  treeSize: 200_000,
  modules: 200,
} as const
