import type { TensorMap } from "./format.ts"

/** A `format` of the language, resolved for one model: nothing in it refers to the language any more. */
export interface ForeignFormat {
  readonly name: string // `hf_llama`
  readonly maps: readonly TensorMap[]
  readonly blocks: ReadonlyMap<string, Fields> // `config`, `gguf`, `files`
}

/** A block of metadata. Whole numbers and floats are kept apart: GGUF does. */
export type Fields = ReadonlyMap<string, Metadata>
export type Metadata =
  | { readonly is: "int" | "float"; readonly value: number }
  | { readonly is: "string"; readonly value: string }
  | { readonly is: "bool"; readonly value: boolean }
  | { readonly is: "none" }
  | { readonly is: "list"; readonly items: readonly Metadata[] }
  | { readonly is: "record"; readonly fields: Fields }

/** How weights that no encoding holds are written. */
export type Floats = "f32" | "f16" | "bf16"

/** The value as JSON. */
export function plainOf(value: Metadata): unknown {
  switch (value.is) {
    case "none": return null
    case "list": return value.items.map(plainOf)
    case "record": return Object.fromEntries([...value.fields].map(([name, field]) => [name, plainOf(field)]))
    default: return value.value
  }
}

/** The texts of a list field, or none. */
export function textsOf(fields: Fields | undefined, name: string): readonly string[] {
  const field = fields?.get(name)
  return field?.is === "list" ? field.items.flatMap((item) => (item.is === "string" ? [item.value] : [])) : []
}

export function textOf(fields: Fields | undefined, name: string): string | null {
  const field = fields?.get(name)
  return field?.is === "string" ? field.value : null
}
