import type { Device, Runner } from "./device.ts"
import { createReference } from "./devices/reference.ts"

/** The reference device, which after one step of one training spoils a weight; or which calls itself another class. */
export function faulty(training: string, step: number, weight: string, by: number, numericsClass = createReference().info.numericsClass): Device {
  const device = createReference()
  let steps = 0
  const around = (runner: Runner): Runner => ({
    ...runner,
    async step(batch) {
      const result = await runner.step(batch)
      if (++steps === step) {
        const value = await runner.read(weight)
        await runner.write(weight, { ...value, data: Float32Array.from(value.data, (x) => x * by) })
      }
      return result
    },
  })
  return { ...device, info: { ...device.info, numericsClass }, load: async (program) => (program.name === `${training} step` ? around(await device.load(program)) : device.load(program)) }
}
