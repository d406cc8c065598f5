/** States that go from program to program: where they lie, if the device can, and else through the host. */
import { littleEndian } from "../export/safetensors.ts"
import type { HostTensor, Runner } from "../device.ts"
import { sha256 } from "../files.ts"

/** States of one moment. Whoever has them lets go of them. */
export interface Kept {
  read(): Promise<Map<string, HostTensor>>
  give(to: Runner, names: ReadonlyMap<string, string>): Promise<void>
  dispose(): void
}

/** Sets states of `to`, by their names there, to states of `from`, by theirs. */
export async function give(from: Runner, to: Runner, names: ReadonlyMap<string, string>): Promise<void> {
  if (names.size === 0) return
  const { lend } = from
  if (lend !== undefined && to.take !== undefined) to.take(new Map([...names].map(([there, here]) => [there, lend(here)])))
  else for (const [there, here] of names) await to.write(there, await from.read(here))
}

/** A copy of states, which later steps do not change. */
export async function keep(from: Runner, names: readonly string[]): Promise<Kept> {
  const kept = await from.keep?.(names) ?? null
  if (kept === null) return keptOnHost(await readAll(from, names))
  return {
    read: () => kept.read(), dispose: () => kept.dispose(),
    async give(to, wanted) {
      const { take } = to
      if (take === undefined) return keptOnHost(await kept.read()).give(to, wanted)
      take(new Map([...wanted].map(([there, here]) => {
        const lent = kept.lent.get(here)
        if (lent === undefined) throw new Error(`stages: ${here} was not kept`)
        return [there, lent]
      })))
    },
  }
}

export function keptOnHost(values: ReadonlyMap<string, HostTensor>): Kept {
  return {
    read: async () => new Map(values), dispose: () => {},
    async give(to, names) {
      for (const [there, here] of names) {
        const value = values.get(here)
        if (value === undefined) throw new Error(`stages: ${here} was not kept`)
        await to.write(there, value)
      }
    },
  }
}

async function readAll(from: Runner, names: readonly string[]): Promise<Map<string, HostTensor>> {
  const values = new Map<string, HostTensor>()
  for (const name of names) values.set(name, await from.read(name))
  return values
}

/** A short hash of each state, to say where two trainings part. Devices have their own: only records of one numerics class are compared. */
export async function hashes(from: Runner, names: readonly string[]): Promise<ReadonlyMap<string, string>> {
  if (from.hashes !== undefined) return from.hashes(names)
  return new Map([...await readAll(from, names)].map(([name, { data }]) => [name, sha256(littleEndian(data)).slice(0, 16)]))
}
