/** Where the files of two results begin to differ, in words. */
import { littleEndian, parseSafetensors } from "./export/safetensors.ts"
import type { Files } from "./store/entry.ts"
import { traceFile } from "./trace.ts"

/** The first tensor, or else the first file, that is not the same; null: all are. */
export function firstDifference(old: Files, now: Files): string | null {
  const names = [...new Set([...old.keys(), ...now.keys()])].filter((name) => name !== traceFile).sort()
  for (const name of names) {
    const [a, b] = [old.get(name), now.get(name)]
    if (a === undefined || b === undefined) return `${name} is ${a === undefined ? "new" : "gone"}`
    if (!Buffer.from(a).equals(b)) return (name.endsWith(".safetensors") ? tensorThatDiffers(a, b) : null) ?? `${name} has other bytes`
  }
  return null
}

function tensorThatDiffers(old: Uint8Array, now: Uint8Array): string | null {
  const [a, b] = [parseSafetensors(old), parseSafetensors(now)]
  if (!a.ok || !b.ok) return null
  const others = new Map(b.value.tensors.map((tensor) => [tensor.name, tensor]))
  const differ = a.value.tensors.filter(({ name, shape, data }) => {
    const other = others.get(name)
    return other === undefined || other.shape.join() !== shape.join() || !Buffer.from(littleEndian(data)).equals(littleEndian(other.data))
  })
  const [first] = differ
  if (first === undefined) return null
  // Whoever stores a weight stores its buffers: `head.weight#values`.
  const name = first.name.replace(/#values$/, "")
  return `the tensor \`${name}\` differs first${differ.length === 1 ? "" : `, with ${differ.length - 1} other${differ.length === 2 ? "" : "s"}`}`
}
