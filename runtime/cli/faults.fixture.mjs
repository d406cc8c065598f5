// Loaded before slm (`node --import`): lets one call to the file system kill the process, or fail. For tests.
// SLM_FAULT: { "at": number of the call, "how": "kill" | "ENOSPC" | "EIO", "stays": every later write fails too }; "count" writes how many there were.
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"

const fault = JSON.parse(process.env.SLM_FAULT ?? "{}")
let calls = 0
let broken = false

const writing = (flags) => (typeof flags === "number" ? (flags & 3) !== 0 : flags !== undefined && flags !== "r")

function around(name, counts = () => true) {
  const original = fs[name]
  fs[name] = (...args) => {
    if (!counts(args)) return original(...args)
    calls++
    if (calls === fault.at) {
      if (fault.how === "kill") return killed(name, original, args)
      broken = fault.stays === true
      throw refusal(name, args)
    }
    // What makes room is allowed on a full disk.
    if (broken && name !== "rmSync") throw refusal(name, args)
    return original(...args)
  }
}

/** In the middle of a write, or after any other call: whatever the system has by then is what the next process finds. */
function killed(name, original, args) {
  if (name === "writeSync") original(args[0], Buffer.from(args[1].buffer, args[1].byteOffset, args[1].byteLength).subarray(args[2] ?? 0, Math.floor(((args[2] ?? 0) + args[1].byteLength) / 2)))
  else if (calls % 2 === 0) original(...args)
  process.kill(process.pid, "SIGKILL")
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
}

function refusal(name, args) {
  const path = typeof args[0] === "string" ? { path: args[0] } : {}
  return Object.assign(new Error(`${fault.how}: injected, ${name}`), { code: fault.how, errno: -1, syscall: name.replace("Sync", ""), ...path })
}

around("openSync", ([, flags]) => writing(flags))
for (const name of ["writeSync", "fsyncSync", "renameSync", "mkdirSync", "linkSync", "rmSync", "appendFileSync", "writeFileSync", "copyFileSync"]) around(name)
syncBuiltinESMExports()

process.on("exit", () => {
  if (fault.how === "count") process.stderr.write(`calls ${calls}\n`)
})
