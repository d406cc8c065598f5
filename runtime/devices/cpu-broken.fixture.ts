/** For tests: what a process finds out about its devices, as JSON. */
import { openCpu } from "./cpu.ts"
import { isUsable, openDevice } from "./open.ts"

const cpu = await openCpu({ patience: 20 })
const passed: string[] = []
const chosen = await openDevice(null, ({ name }) => passed.push(name))
console.log(JSON.stringify({ cpu: isUsable(cpu) ? null : cpu, chosen: "load" in chosen ? chosen.info.name : null, passed }))
