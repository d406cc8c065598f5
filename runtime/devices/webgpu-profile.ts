/// <reference types="@webgpu/types" />
/** Times of kernels by timestamp queries: each dispatch of the first steps in a pass of its own. */
import type { MeasuredKernel } from "../device.ts"

/** Steps of each program that are measured: its first ones, and once more when the GPU is awake. At rest its clock is a fifth of what it is at work. */
export const measuredSteps = 8
export const awakeAfter = 32
/** Queries that a set may hold. */
const mostQueries = 4096

export interface Profile {
  /** Nanoseconds of dispatches: those of a program that have one shader and one note together. */
  add(program: string, kernel: string, note: string, nanoseconds: number): void
  stepDone(program: string): void
  /** Begins anew with a program. */
  forget(program: string): void
  kernels(): readonly MeasuredKernel[]
}

export function createProfile(): Profile {
  const rows = new Map<string, { program: string; kernel: string; note: string; dispatches: number; seconds: number }>()
  const steps = new Map<string, number>()
  return {
    add(program, kernel, note, nanoseconds) {
      const key = JSON.stringify([program, kernel, note])
      const row = rows.get(key) ?? { program, kernel, note, dispatches: 0, seconds: 0 }
      row.dispatches++
      row.seconds += nanoseconds * 1e-9
      rows.set(key, row)
    },
    forget(program) {
      for (const [key, row] of rows) if (row.program === program) rows.delete(key)
      steps.delete(program)
    },
    stepDone: (program) => void steps.set(program, (steps.get(program) ?? 0) + 1),
    kernels: () => [...rows.values()].map((row) => ({ ...row, steps: steps.get(row.program) ?? 1 })).sort((x, y) => y.seconds - x.seconds),
  }
}

/** Queries for one step of at most so many dispatches. */
export interface Stopwatch {
  /** What a pass around dispatch `i` takes along; nothing for those beyond the queries. */
  writes(i: number): GPUComputePassDescriptor
  /** Records the end of the step. */
  finish(encoder: GPUCommandEncoder): void
  /** Nanoseconds of each dispatch, after the step was submitted. */
  read(): Promise<readonly number[]>
  dispose(): void
}

export function createStopwatch(gpu: GPUDevice, dispatches: number): Stopwatch {
  const count = Math.min(mostQueries / 2, dispatches)
  const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 * count })
  const [resolved, readable] = [gpu.createBuffer({ size: 16 * count, usage: 512 | 4 }), gpu.createBuffer({ size: 16 * count, usage: 8 | 1 })]
  return {
    writes: (i) => (i < count ? { timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } } : {}),
    finish(encoder) {
      encoder.resolveQuerySet(querySet, 0, 2 * count, resolved, 0)
      encoder.copyBufferToBuffer(resolved, 0, readable, 0, 16 * count)
    },
    async read() {
      await readable.mapAsync(1)
      const times = new BigUint64Array(readable.getMappedRange().slice(0))
      readable.unmap()
      return Array.from({ length: count }, (_, i) => Number((times[2 * i + 1] ?? 0n) - (times[2 * i] ?? 0n)))
    },
    dispose() {
      for (const each of [querySet, resolved, readable]) each.destroy()
    },
  }
}
