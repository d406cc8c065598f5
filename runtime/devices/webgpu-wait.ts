/** Waiting for Dawn, which asks the GPU over and over on Node's thread and so keeps a core busy. */

/** Waits for what only Dawn can tell. */
export type Wait = <T>(wanted: Promise<T>) => Promise<T>

/** Naps between Dawn's questions leave the core to others: each takes a thirtieth of what was waited so far, at most half a millisecond. */
export function napping(): Wait {
  const nobody = new Int32Array(new SharedArrayBuffer(4))
  let [waiting, since, turning] = [0, 0, false]
  function turn(): void {
    turning = waiting > 0
    if (!turning) return
    Atomics.wait(nobody, 0, 0, Math.min(0.5, (performance.now() - since) / 30))
    setImmediate(turn)
  }
  return async (wanted) => {
    if (waiting++ === 0) since = performance.now()
    if (!turning) setImmediate(turn)
    turning = true
    return wanted.finally(() => { waiting-- })
  }
}
