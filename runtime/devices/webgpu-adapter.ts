/// <reference types="@webgpu/types" />
/** Dawn (npm `webgpu`) in this process, and the adapters that it finds. */
import { accessSync, constants, existsSync, readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { release } from "node:os"
import { pathToFileURL } from "node:url"
import type { Unusable } from "../device.ts"
import { loadKoffi } from "./cpu-run.ts"

/** What the package gives. */
export interface Dawn { create(flags: readonly string[]): GPU }

/** What is asked of the machine. */
export interface Around {
  readonly platform: NodeJS.Platform
  load(path: string | undefined): Promise<Dawn | Unusable>
  /** Why Vulkan cannot be used at all, on Linux; null if it can. */
  vulkan(software: boolean): Unusable | null
  /** What Linux shows of GPUs. */
  shown(): Shown
}

export interface Shown {
  /** `closed`: one that this user may not open. */
  readonly gpu: "none" | "closed" | "open"
  readonly container: boolean
  /** Linux under Windows. */
  readonly wsl: boolean
}

/** One adapter. `software`: it runs on the processor. */
export interface Adapter {
  readonly name: string
  readonly backend: string
  readonly software: boolean
  /** Vendor, architecture, driver: what bits depend on. */
  readonly identity: string
  readonly features: readonly string[]
  readonly limits: Readonly<Record<string, number>>
  request(): Promise<GPUAdapter | null>
}

export interface AdapterOptions {
  /** Whether software adapters (SwiftShader, llvmpipe) count too, or alone. */
  readonly software?: boolean | "only"
  /** A file to load the package from, instead of the one installed beside slm. */
  readonly package?: string
  /** Toggles of Dawn besides our own, for trials: `vulkan_enable_f16_on_nvidia` shows what it hides there. */
  readonly toggles?: readonly string[]
  /** Another machine, for tests. */
  readonly around?: Around
}

/** Shaders write what their workgroup shares before they read it; times are for us alone and need not be coarse. */
const enabled = ["disable_workgroup_init"]
const disabled = ["timestamp_quantization"]

const unusable = (reason: string, help: string): Unusable => ({ name: "webgpu", reason, help })
const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? ""

/** All adapters, those of real GPUs first; or why there are none. */
export async function findAdapters(options: AdapterOptions = {}): Promise<readonly Adapter[] | Unusable> {
  const { software = false, around = here, toggles = [] } = options
  const dawn = await around.load(options.package)
  // Without a GPU there is no point in installing anything.
  const lacking = around.platform === "linux" ? lackingOnLinux(around.shown()) : null
  if ("reason" in dawn) return lacking === null || software !== false ? dawn : { ...lacking, reason: `${dawn.reason}, and ${lacking.reason}` }
  const loader = around.vulkan(software !== false)
  if (loader !== null) return software === "only" ? loader : lacking ?? loader
  const found: Adapter[] = []
  for (const { backend, name } of await adapterNames(dawn)) {
    const gpu = dawn.create([`backend=${backend}`, `adapter=${name}`, `enable-dawn-features=${[...enabled, ...toggles].join()}`, `disable-dawn-features=${disabled.join()}`])
    const adapter = await gpu.requestAdapter().catch(() => null)
    if (adapter !== null) found.push(describe(adapter, gpu, backend, name))
  }
  const fit = found.filter((adapter) => software === true || adapter.software === (software === "only")).sort((x, y) => Number(x.software) - Number(y.software))
  if (fit.length > 0) return fit
  if (software === "only") return around.platform !== "linux" ? unusable("no adapter that runs on the processor was found", "on this system only Direct3D's own is known (Windows: WARP); leave `:software` out to use the GPU") : unusable("no software driver for Vulkan was found", "Debian, Ubuntu: `apt install chromium` brings SwiftShader; VK_ICD_FILENAMES may name another driver's .json file")
  const [only] = found
  const { reason, help } = lacking ?? unusable("no GPU was found", driverHelp(around.platform))
  return only === undefined ? unusable(reason, help) : unusable(`${reason}; ${only.name} runs on the processor`, `${help}; to use ${only.name} all the same: \`--device webgpu:software\``)
}

async function loadDawn(given: string | undefined): Promise<Dawn | Unusable> {
  try {
    // `require` finds the package beside slm, or in NODE_PATH.
    const path = given ?? createRequire(import.meta.url).resolve("webgpu")
    return (await import(pathToFileURL(path).href)) as Dawn
  } catch (error) {
    const missing = error instanceof Error && "code" in error && (error.code === "MODULE_NOT_FOUND" || error.code === "ERR_MODULE_NOT_FOUND")
    return unusable(missing ? "the package webgpu is not installed" : `the package webgpu cannot be loaded: ${firstLine(error)}`, "run `npm install webgpu` in the folder where slm is installed (`npm install -g webgpu` if slm was installed with -g): it brings Dawn for Linux, macOS and Windows, 51 MB")
  }
}

/** The names are only told to those who ask for one that does not exist. */
async function adapterNames(dawn: Dawn): Promise<readonly { readonly backend: string; readonly name: string }[]> {
  try {
    await dawn.create(["adapter=\u0001"]).requestAdapter()
    return []
  } catch (error) {
    const lines = (error instanceof Error ? error.message : "").matchAll(/backend: '([^']*)', name: '([^\n]*)'/g)
    const all = [...lines].map((m) => ({ backend: m[1] ?? "", name: m[2] ?? "" }))
    return all.filter(({ backend }) => ["vulkan", "metal", "d3d12"].includes(backend))
  }
}

function describe(adapter: GPUAdapter, gpu: GPU, backend: string, name: string): Adapter {
  const { info, limits } = adapter
  const numbers: Record<string, number> = {}
  for (const key in limits) {
    const value: unknown = limits[key as keyof GPUSupportedLimits]
    if (typeof value === "number") numbers[key] = value
  }
  return {
    name, backend, features: [...adapter.features].sort(), limits: numbers,
    software: adapter.info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${name} ${info.architecture} ${info.description}`),
    identity: [backend, info.vendor, info.architecture, info.description].filter((part) => part !== "").join(" "),
    // An adapter makes one device; whoever asks again gets another.
    request: () => gpu.requestAdapter(),
  }
}

// ---------------------------------------------------------------- Vulkan on Linux

/** Where Linux distributions keep software drivers for Vulkan. */
const softwareDrivers = ["/usr/lib/chromium/vk_swiftshader_icd.json", "/usr/lib/chromium-browser/vk_swiftshader_icd.json", "/opt/google/chrome/vk_swiftshader_icd.json"]
const loaders = ["libvulkan.so.1", "/usr/lib/chromium/libvulkan.so.1", "/usr/lib/chromium-browser/libvulkan.so.1", "/opt/google/chrome/libvulkan.so.1"]

const here: Around = { platform: process.platform, load: loadDawn, vulkan: vulkanLoader, shown: shownHere }

/** Makes sure that Vulkan's loader can be found, since Dawn only complains on stderr; null if all is well. */
function vulkanLoader(software: boolean): Unusable | null {
  if (process.platform !== "linux") return null
  const koffi = loadKoffi()
  if ("reason" in koffi) return unusable(koffi.reason, koffi.help)
  const [own, ...others] = loaders
  // What is loaded once under a name is found again under it.
  if (![own, ...(software ? others.filter(existsSync) : [])].some((path) => path !== undefined && succeeds(() => koffi.load(path)))) return unusable("Vulkan's loader (libvulkan.so.1) is not installed", driverHelp())
  const chosen = process.env["VK_ICD_FILENAMES"] ?? process.env["VK_DRIVER_FILES"]
  const driver = softwareDrivers.find(existsSync)
  if (software && chosen === undefined && driver !== undefined && !hasDrivers()) process.env["VK_ICD_FILENAMES"] = driver
  return null
}

function succeeds(call: () => unknown): boolean {
  try {
    call()
    return true
  } catch {
    return false
  }
}

function hasDrivers(): boolean {
  return ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].some((folder) => existsSync(folder) && readdirSync(folder).length > 0)
}

export function shownHere(): Shown {
  const filesIn = (folder: string, named: RegExp): readonly string[] => (existsSync(folder) ? readdirSync(folder).filter((name) => named.test(name)).map((name) => `${folder}/${name}`) : [])
  const nodes = [...filesIn("/dev/dri", /^renderD\d+$/), ...filesIn("/dev", /^nvidia\d+$/)]
  const opens = (path: string): boolean => succeeds(() => accessSync(path, constants.R_OK | constants.W_OK))
  return { gpu: nodes.length === 0 ? "none" : nodes.some(opens) ? "open" : "closed", container: existsSync("/.dockerenv") || existsSync("/run/.containerenv"), wsl: /microsoft/i.test(release()) }
}

/** Why Vulkan cannot find a GPU, whatever is installed; null: that is not to be seen. */
function lackingOnLinux({ gpu, container, wsl }: Shown): Unusable | null {
  if (wsl) return unusable("Linux under Windows (WSL) shows Vulkan no GPU", "run slm in Windows itself, where it uses Direct3D 12")
  if (gpu === "closed") return unusable("this user may not open the GPU (/dev/dri/renderD… or /dev/nvidia…)", "run `sudo usermod -aG render,video $USER` and log in again")
  if (gpu === "open") return null
  const there = "this machine shows no GPU (neither /dev/dri/renderD… nor /dev/nvidia… is there)"
  return container ? unusable(there.replace("machine", "container"), "if the host has one, start the container with `--gpus all -e NVIDIA_DRIVER_CAPABILITIES=all` (NVIDIA) or `--device /dev/dri` (AMD, Intel)")
    : unusable(there, `nothing needs to be installed to run on the processor; if it has one, ${driverHelp("linux")}`)
}

/** What to install, on each system. */
export function driverHelp(platform: NodeJS.Platform = process.platform): string {
  if (platform === "darwin") return "nothing has to be installed: macOS brings Metal, and every Mac of the last ten years has a GPU for it; virtual machines often have none"
  if (platform === "win32") return "install the driver of your GPU from its maker (AMD, Intel, NVIDIA); Direct3D 12 comes with Windows 10 and newer. Remote desktops and virtual machines may hide the GPU"
  return "install the driver of your GPU with its part for Vulkan: Debian, Ubuntu `apt install libvulkan1 mesa-vulkan-drivers` (AMD, Intel) or `apt install nvidia-driver` (NVIDIA; on Ubuntu `ubuntu-drivers install`), Fedora `dnf install vulkan-loader mesa-vulkan-drivers`. Debian 12's Mesa is too old, take the one of its backports. `vulkaninfo --summary` then lists the GPU"
}
