import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { findToolchain } from "./devices/cpu-build.ts"
import { runProgram } from "./programs.ts"

const node = (script: string, seconds = 60) => runProgram(process.execPath, ["-e", script], seconds)

test("what a program says, whole", async () => {
  assert.equal(await node("console.log('one'); console.log('two'); console.error('aside')"), { out: "one\ntwo\n", problem: "" })
})

test("why a program failed: its own words, that it is not there, that it was stopped, that it took too long", async () => {
  assert.equal(await node("console.error('no main'); process.exit(3)"), { out: null, problem: "no main\n" })
  assert.equal(await runProgram("there-is-no-compiler", [], 60), { out: null, problem: "there is no such program" })
  assert.equal(await runProgram(fileURLToPath(import.meta.url), [], 60), { out: null, problem: "it may not be run" })
  assert.equal(await node("process.kill(process.pid, 'SIGINT'); setInterval(() => {}, 1000)"), { out: null, problem: "it was stopped by SIGINT" })
  assert.equal(await node("setInterval(() => {}, 1000)", 0.5), { out: null, problem: "it did not end within 500 ms" })
})

test("a program does not outlive us", async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  const child = `require("net").connect(${port}, "127.0.0.1"); setInterval(() => {}, 1000)`
  const script = `import { runProgram } from ${JSON.stringify(new URL("./programs.ts", import.meta.url).href)}; void runProgram(process.execPath, ["-e", ${JSON.stringify(child)}], 60)`
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], { stdio: "inherit" })
  const [socket] = (await once(server, "connection")) as [Socket]
  const closed = once(socket.resume().on("error", () => {}), "close")
  parent.kill("SIGTERM")
  await closed
  server.close()
})

test("a compiler that CC names and that does not run is named with the reason", async () => {
  const found = await findToolchain({ CC: "there-is-no-compiler" })
  assert.is("reason" in found ? found.reason : "", 'the C compiler that CC names, "there-is-no-compiler", does not run: there is no such program')
})

test.run()
