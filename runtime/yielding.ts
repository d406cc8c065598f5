import type { Device, Runner } from "./device.ts"

const longest = 50 // milliseconds

/**
 * The device, giving way to signals, timers and output every few steps: devices compute in this thread, and promises alone do
 * not let the process hear that it was interrupted.
 */
export function yielding(device: Device): Device {
  let last = performance.now()
  const giveWay = async (): Promise<void> => {
    if (performance.now() - last < longest) return
    await new Promise<void>((resolve) => setImmediate(resolve))
    last = performance.now()
  }
  const around = (runner: Runner): Runner => ({
    ...runner,
    async step(batch) {
      const result = await runner.step(batch)
      await giveWay()
      return result
    },
    ...(runner.continue === undefined ? {} : { continue: (texts) => runner.continue?.(texts).then(async (result) => { await giveWay(); return result }) ?? Promise.resolve(null) }),
  })
  return {
    ...device,
    async load(program, most) {
      const runner = around(await device.load(program, most))
      await giveWay()
      return runner
    },
  }
}
