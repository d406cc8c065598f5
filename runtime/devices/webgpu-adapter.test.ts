/** Which adapter is taken on which machine, and what a machine without one is told. Machines are made up: an object in the place of Dawn. */
import { test } from "uvu"
import * as assert from "uvu/assert"
import { foundDevice, showDevices } from "../cli/commands/doctor.ts"
import type { Device, Unusable } from "../device.ts"
import type { Opener } from "./open.ts"
import { adapterChoice, isUsable, openDevice } from "./open.ts"
import { createReference } from "./reference.ts"
import type { Around, Dawn, Shown } from "./webgpu-adapter.ts"
import { driverHelp, findAdapters } from "./webgpu-adapter.ts"
import { openWebgpu } from "./webgpu.ts"

interface Made { readonly backend: string; readonly name: string; readonly fallback?: boolean; readonly features?: readonly string[] }

/** Dawn on a machine with these adapters. It tells their names to those who ask for one that does not exist. */
function dawnWith(adapters: readonly Made[]): Dawn {
  return {
    create(flags) {
      const wanted = flags.find((flag) => flag.startsWith("adapter="))?.slice("adapter=".length)
      const found = adapters.find(({ backend, name }) => name === wanted && flags.includes(`backend=${backend}`))
      const requestAdapter = async (): Promise<unknown> => {
        if (found === undefined) throw new Error(`no suitable backends found\nAvailable adapters:\n${adapters.map(({ backend, name }) => ` * backend: '${backend}', name: '${name}'`).join("\n")}`)
        return {
          features: new Set(found.features ?? ["subgroups"]), limits: { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 30, maxStorageBuffersPerShaderStage: 10 },
          info: { vendor: "maker", architecture: "", description: found.name, isFallbackAdapter: found.fallback === true },
          requestDevice: async () => ({ destroy: () => {} }),
        }
      }
      return { requestAdapter } as unknown as GPU
    },
  }
}

const shown = (gpu: Shown["gpu"], more: Partial<Shown> = {}): Shown => ({ gpu, container: false, wsl: false, ...more })
const machine = (adapters: readonly Made[], platform: NodeJS.Platform = "linux", more: Partial<Around> = {}): Around => ({ platform, load: async () => dawnWith(adapters), vulkan: () => null, shown: () => shown("open"), ...more })

const gpu: Made = { backend: "vulkan", name: "NVIDIA H100 PCIe", features: ["shader-f16", "subgroups", "timestamp-query"] }
const second: Made = { backend: "vulkan", name: "AMD Radeon RX 7600" }
const software: Made = { backend: "vulkan", name: "llvmpipe (LLVM 17.0.6, 256 bits)" }
const marked: Made = { backend: "d3d12", name: "Some Render Driver", fallback: true }

/** What `slm run --device webgpu…`, or no `--device`, takes there. */
async function chosen(around: Around, name: string | null): Promise<Device | readonly Unusable[]> {
  const others: Opener = { name: "cpu", open: async () => ({ ...createReference(), info: { ...createReference().info, name: "cpu" } }) }
  return openDevice(name, () => {}, [{ name: "webgpu", open: (choice) => openWebgpu({ ...adapterChoice(choice), around }) }, others])
}
const told = (device: Device | readonly Unusable[]): string => ("info" in device ? `${device.info.name}: ${device.info.detail}` : device.map(({ reason, help }) => `${reason}; ${help}`).join())

test("with a real GPU present it is the default device, wherever it stands in the list", async () => {
  for (const adapters of [[gpu, software], [software, gpu], [marked, gpu, second]]) assert.is(told(await chosen(machine(adapters), null)), "webgpu: NVIDIA H100 PCIe, vulkan")
  const found = await chosen(machine([gpu]), null)
  assert.ok("info" in found)
  assert.match(found.info.f16Class ?? "", /^webgpu\/vulkan maker NVIDIA H100 PCIe\/subgroups\/f16\//)
})

test("what runs on the processor is taken only when asked for", async () => {
  for (const adapters of [[software], [marked], [software, marked], []]) assert.match(told(await chosen(machine(adapters), null)), /^cpu: /)
  assert.match(told(await chosen(machine([software]), "webgpu")), /^no GPU was found; llvmpipe .* runs on the processor; install .*; to use llvmpipe .* all the same: `--device webgpu:software`$/)
  assert.is(told(await chosen(machine([gpu, software]), "webgpu:software")), "webgpu: llvmpipe (LLVM 17.0.6, 256 bits), vulkan, runs on the processor")
  assert.match(told(await chosen(machine([gpu]), "webgpu:software")), /^no software driver for Vulkan was found; Debian, Ubuntu: `apt install chromium`/)
})

test("adapters are counted as `slm doctor` lists them: real ones first", async () => {
  const around = machine([software, gpu, second])
  const list = await findAdapters({ software: true, around })
  assert.ok(!("reason" in list))
  assert.equal(list.map(({ name }) => name), [gpu.name, second.name, software.name])
  assert.match(told(await chosen(around, "webgpu:1")), /^webgpu: AMD Radeon RX 7600/)
  assert.match(told(await chosen(around, "webgpu:2")), /llvmpipe.*runs on the processor/)
  assert.is(told(await chosen(around, "webgpu:3")), `there is no adapter 3; there are webgpu:0 to webgpu:2: ${gpu.name}, ${second.name}, ${software.name}`)
})

/** The lines of `slm doctor` on a machine whose other devices are fine. */
async function doctorOn(around: Around): Promise<string> {
  const lines: string[] = []
  const webgpu = await openWebgpu({ around })
  showDevices([isUsable(webgpu) ? webgpu.info : webgpu, createReference().info].map(foundDevice), { line: (text = "") => void lines.push(text), style: (_, text) => text })
  return lines.join("\n")
}

for (const [platform, wanted] of [
  ["linux", /install the driver of your GPU with its part for Vulkan: Debian, Ubuntu `apt install libvulkan1 mesa-vulkan-drivers` \(AMD, Intel\) or `apt install nvidia-driver` .*Fedora/],
  ["darwin", /nothing has to be installed: macOS brings Metal/], ["win32", /install the driver of your GPU from its maker \(AMD, Intel, NVIDIA\); Direct3D 12 comes with Windows/],
] as const) {
  test(`without a GPU \`slm doctor\` says on ${platform} what is missing and what to install`, async () => {
    const shown = await doctorOn(machine([], platform))
    assert.match(shown, /^✗ webgpu {5}no GPU was found\n +to use it: /)
    assert.match(shown, wanted)
    assert.match(shown, /✓ reference .*\(default\)/)
    assert.ok(driverHelp(platform).length > 40)
    const missing = await doctorOn(machine([], platform, { load: async () => ({ name: "webgpu", reason: "the package webgpu is not installed", help: "run `npm install webgpu` beside slm" }) }))
    assert.match(missing, /✗ webgpu {5}the package webgpu is not installed\n +to use it: run `npm install webgpu`/)
    if (platform === "linux") return
    // Only Linux asks for Vulkan's loader; elsewhere adapters of other systems do not count as software drivers to be installed.
    assert.not.match(told(await chosen(machine([], platform), "webgpu:software")), /apt install/)
  })
}

test("Linux is looked at first: without a GPU nothing is to be installed, and one that is closed is opened", async () => {
  const missing: Unusable = { name: "webgpu", reason: "the package webgpu is not installed", help: "run `npm install webgpu`" }
  const on = (seen: Shown, more: Partial<Around> = {}): Promise<string> => doctorOn(machine([], "linux", { shown: () => seen, ...more }))
  assert.match(await on(shown("none")), /✗ webgpu {5}this machine shows no GPU \(neither .* is there\)\n +to use it: nothing needs to be installed to run on the processor; if it has one, install the driver/)
  assert.match(await on(shown("none"), { load: async () => missing }), /✗ webgpu {5}the package webgpu is not installed, and this machine shows no GPU .*\n +to use it: nothing needs to be installed/)
  assert.match(await on(shown("none", { container: true })), /this container shows no GPU .*\n +to use it: if the host has one, start the container with `--gpus all/)
  assert.match(await on(shown("closed")), /this user may not open the GPU .*\n +to use it: run `sudo usermod -aG render,video \$USER` and log in again/)
  assert.match(await on(shown("open", { wsl: true })), /Linux under Windows \(WSL\) shows Vulkan no GPU\n +to use it: run slm in Windows itself/)
  // What is found counts, whatever Linux shows; other systems are not looked at.
  assert.match(await doctorOn(machine([gpu], "linux", { shown: () => shown("none") })), /✓ webgpu {5}NVIDIA H100 PCIe/)
  assert.match(await doctorOn(machine([], "darwin", { shown: () => shown("none") })), /✗ webgpu {5}no GPU was found/)
})

test("without Vulkan's loader Linux is told to install it", async () => {
  const loader: Unusable = { name: "webgpu", reason: "Vulkan's loader (libvulkan.so.1) is not installed", help: driverHelp("linux") }
  assert.match(await doctorOn(machine([gpu], "linux", { vulkan: () => loader })), /✗ webgpu {5}Vulkan's loader \(libvulkan\.so\.1\) is not installed\n +to use it: .*libvulkan1/)
})

test.run()
