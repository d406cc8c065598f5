/** A schedule that keeps to some bytes: values are computed again where that makes room. */
import type { Ordered } from "../kernel/order.ts"
import type { Recomputed } from "../kernel/recompute.ts"
import { recompute } from "../kernel/recompute.ts"

/** What a forward pass takes of a training step. */
const forwardShare = 1 / 3

/**
 * The schedule of a program that computes values again where it would otherwise take more than `most` bytes: as few of them as it takes, as far
 * as that goes. 0: whatever is not dear.
 */
export function within<S>(program: Ordered, most: number, schedule: (program: Ordered | Recomputed) => S, bytes: (scheduled: S) => number): S {
  let best = schedule(program)
  // Buffers do not lie as tightly as their bytes add up: the goal goes down until they do.
  for (let goal = most, turn = 0; bytes(best) > most && turn < 8; goal *= 0.92, turn++) {
    const tried = schedule(recompute(program, goal, most === 0 ? forwardShare : 1))
    if (bytes(tried) < bytes(best)) best = tried
    if (goal === 0) break
  }
  return best
}
