/**
 * Products of few rows wait for memory, and for the kernels before and after them. Those that read the same first operand and weights that no
 * kernel writes become one kernel: threads meet and workgroups start once for all of them, and what is made of the first operand is made once.
 */
import { isFew } from "./domain.ts"
import { indexKey } from "./index.ts"
import type { ContractKernel, Kernel } from "./ir.ts"
import { trafficOf } from "./traffic.ts"

/** Equal for products that may be one kernel; null where a product stands alone. */
function keyOf(kernel: Kernel): string | null {
  if (kernel.kind !== "contract" || kernel.batch !== 1 || !isFew(kernel.m) || kernel.epilogue !== null) return null
  const { a, m, k, factors } = kernel
  // What else it reads is there from the start, so that members cannot wait for one another, nor in a circle for other kernels.
  for (const buffer of trafficOf(kernel).reads) if (buffer !== a.buffer && (buffer.role === "temp" || buffer.role === "output")) return null
  return `${a.buffer.id} ${indexKey(a.offset)} ${a.rowStride} ${a.colStride} ${m} ${k} ${factors}`
}

/** Each group stands where its first member stood. */
export function withSiblings(kernels: readonly Kernel[]): Kernel[] {
  const groups = new Map<string, ContractKernel[]>()
  for (const kernel of kernels) {
    const key = keyOf(kernel)
    if (key !== null && kernel.kind === "contract") groups.set(key, [...groups.get(key) ?? [], kernel])
  }
  return kernels.flatMap((kernel): Kernel[] => {
    const members = groups.get(keyOf(kernel) ?? "") ?? []
    const [first] = members
    if (first === undefined || members.length === 1) return [kernel]
    return kernel === first ? [{ kind: "siblings", name: `${first.name} and others`, note: members.map(({ note }) => note).filter((note) => note !== "").join(", "), members }] : []
  })
}
