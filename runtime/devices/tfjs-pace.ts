/**
 * How many threads to use while other programs run. Threads wait for one another after each kernel, and wait busily: on
 * cores that are taken, two threads are half as fast as one. So when our own thread has to queue for a core, the others
 * are given up, and taken back when the machine is quiet. The number of threads changes no bits.
 */
import { readFileSync } from "node:fs"

/** Times of the main thread since it began, in nanoseconds. */
export interface ThreadTimes {
  readonly running: number
  readonly queued: number
}

export interface Machine {
  /** Milliseconds. */
  now(): number
  /** Null where the system does not tell. */
  times(): ThreadTimes | null
  /** Cores that are not busy with other programs. */
  idleCores(): number
}

export interface Threads {
  readonly most: number
  /** Whether all threads can be started once more. */
  canRestart(): boolean
  set(count: number): void
}

const period = 1000
const crowded = 0.2
const quiet = 0.05
/** How long one thread works alone at least. */
const alone = 15_000

/** A function to be called after each step. */
export function createPace(threads: Threads, machine: Machine): () => void {
  let last = machine.now()
  let before = machine.times()
  let count = threads.most
  let until = 0
  return () => {
    const now = machine.now()
    if (now - last < period || threads.most === 1) return
    const times = machine.times()
    const share = before === null || times === null ? 0 : queuedShare(before, times)
    last = now
    before = times
    if (count > 1 && share > crowded) {
      count = 1
      until = now + alone
      threads.set(count)
    } else if (count === 1 && now >= until && share < quiet && machine.idleCores() >= threads.most && threads.canRestart()) {
      count = threads.most
      threads.set(count)
    }
  }
}

function queuedShare(a: ThreadTimes, b: ThreadTimes): number {
  const [running, queued] = [b.running - a.running, b.queued - a.queued]
  return running + queued <= 0 ? 0 : queued / (running + queued)
}

/** From Linux's scheduler; other systems have no such file. */
export function mainThreadTimes(): ThreadTimes | null {
  try {
    const [running, queued] = readFileSync("/proc/self/schedstat", "utf8").split(" ").map(Number)
    return running === undefined || queued === undefined || !Number.isFinite(running + queued) ? null : { running, queued }
  } catch {
    return null
  }
}
