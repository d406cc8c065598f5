/** As many threads as the process may use cores, and the same numbers whatever their number. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { test } from "uvu"
import * as assert from "uvu/assert"
import { coresAvailable } from "./cpu-build.ts"
import { openCpu } from "./cpu.ts"
import { isUsable } from "./open.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

interface Seen { readonly cores: number; readonly detail: string; readonly bits: string }

/** What a process sees that is started so; null after saying why there is none. */
function started(command: string, ...args: readonly string[]): Seen | null {
  const ended = spawnSync(command, [...args, "--import", "tsx", "runtime/devices/cpu-cores.fixture.ts"], { cwd: root, encoding: "utf8" })
  if (ended.status === 0) return JSON.parse(ended.stdout)
  if (ended.error === undefined) throw new Error(ended.stderr)
  console.log(`  skipped: ${ended.error.message}`)
  return null
}

test("a process that is bound to one core takes one thread, and its bits are those of all cores", async () => {
  if (process.platform !== "linux") return console.log("  skipped: only Linux binds processes to cores")
  const device = await openCpu()
  if (!isUsable(device)) return console.log(`  skipped: ${device.reason}`)
  const core = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"
  const one = started("taskset", "-c", core, process.execPath)
  const all = started(process.execPath)
  if (one === null || all === null) return
  assert.is(one.cores, 1)
  assert.match(one.detail, /, 1 thread, /)
  assert.is(all.cores, coresAvailable())
  assert.is(one.bits, all.bits)
})

test("limits of control groups are those of the group and of all around it, in both versions", () => {
  const files = (of: Readonly<Record<string, string>>) => (name: string): string | null => of[name] ?? null
  assert.is(coresAvailable(files({}), 8), 8)
  assert.is(coresAvailable(files({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n" }), 8), 8)
  assert.is(coresAvailable(files({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "250000 100000\n" }), 8), 2)
  assert.is(coresAvailable(files({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n" }), 8), 1)
  assert.is(coresAvailable(files({ "/proc/self/cgroup": "0::/user.slice/app\n", "/sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n", "/sys/fs/cgroup/user.slice/app/cpu.max": "max 100000\n" }), 8), 3)
  assert.is(coresAvailable(files({ "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n" }), 8), 4)
  assert.is(coresAvailable(files({ "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n" }), 8), 8)
})

test.run()
