/// <reference types="@webgpu/types" />
/** States that stay on the GPU: handed from program to program, set aside, and told apart by hashes of which only some bytes come back. */
import type { HostTensor, KeptStates, Lent } from "../device.ts"
import type { Host, Region } from "./webgpu-host.ts"
import { allocate, fetch, layoutFor, lost, pipelineOf, usage } from "./webgpu-host.ts"

export function lend(host: Host, region: Region): Lent {
  const { name, dtype, shape } = region.port
  const token: Lent = { name, dtype, shape }
  host.lent.set(token, region)
  return token
}

/** Copies what was lent to the places of inputs, in one command buffer. */
export function copyLent(host: Host, values: readonly (readonly [Lent, Region])[]): void {
  const encoder = host.gpu.createCommandEncoder({ label: "states" })
  for (const [token, to] of values) {
    const from = host.lent.get(token)
    if (from === undefined) throw new Error(`webgpu: ${token.name} was lent by another device`)
    if (from.bytes !== to.bytes || from.port.dtype !== to.port.dtype || from.port.shape.join() !== to.port.shape.join() || from.port.stored !== to.port.stored) throw new Error(`webgpu: ${to.port.name} is not what ${token.name} is`)
    if (to.bytes > 0) encoder.copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, to.bytes)
  }
  host.gpu.queue.submit([encoder.finish()])
}

/** Regions read back together, as many at once as one buffer holds. */
export async function readRegions(host: Host, regions: readonly Region[]): Promise<readonly HostTensor[]> {
  const values: HostTensor[] = []
  for (const group of groupsOf(regions, host.largest)) {
    const staging = host.gpu.createBuffer({ label: "states", size: Math.max(4, group.bytes), usage: usage.mapRead | usage.copyTarget })
    const encoder = host.gpu.createCommandEncoder()
    for (const { region: { buffer, offset, bytes }, from } of group.items) if (bytes > 0) encoder.copyBufferToBuffer(buffer, offset, staging, from, bytes)
    host.gpu.queue.submit([encoder.finish()])
    values.push(...await fetch(host, staging, group.items.map(({ region: { port }, from }) => ({ ...port, from }))))
    staging.destroy()
    host.counters.stateReads += group.items.length
  }
  return values
}

/** A copy of states as they are now; null where there is no room for it. */
export async function keepRegions(host: Host, regions: readonly Region[]): Promise<KeptStates | null> {
  const groups = groupsOf(regions, host.largest)
  const buffers = await allocate(host, "states set aside", groups.map(({ bytes }) => Math.max(4, bytes)), usage.copySource | usage.copyTarget)
  if ("refused" in buffers) return null
  const encoder = host.gpu.createCommandEncoder({ label: "states set aside" })
  const kept = groups.flatMap(({ items }, i) => items.map(({ region, from }): Region => {
    const buffer = buffers[i]
    if (buffer === undefined) throw new Error("webgpu: a buffer for states is missing")
    if (region.bytes > 0) encoder.copyBufferToBuffer(region.buffer, region.offset, buffer, from, region.bytes)
    return { ...region, buffer, offset: from }
  }))
  host.gpu.queue.submit([encoder.finish()])
  return {
    lent: new Map(kept.map((region) => [region.port.name, lend(host, region)])),
    async read() {
      const values = await readRegions(host, kept)
      return new Map(kept.flatMap(({ port }, i) => { const value = values[i]; return value === undefined ? [] : [[port.name, value] as const] }))
    },
    dispose() { for (const buffer of buffers) buffer.destroy() },
  }
}

interface Group { bytes: number; readonly items: { readonly region: Region; readonly from: number }[] }

function groupsOf(regions: readonly Region[], most: number): readonly Group[] {
  const groups: Group[] = []
  for (const region of regions) {
    let group = groups.at(-1)
    if (group === undefined || group.bytes + region.bytes > most) groups.push(group = { bytes: 0, items: [] })
    group.items.push({ region, from: group.bytes })
    group.bytes += region.bytes
  }
  return groups
}

// ---------------------------------------------------------------- hashes

const threads = 256
/** Workgroups for one state at most: threads go on in strides. */
const mostWorkgroups = 1024
const slotBytes = 256

/**
 * 64 bits for each state: sums, modulo 2^32 and thus in any order, of its words mixed with their places by Wellons' lowbias32. Equal states
 * have equal hashes; others differ but for a chance of 2^-64.
 */
const hashShader = `@group(0) @binding(0) var<uniform> params: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> memory: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: array<atomic<u32>>;
fn mixed(given: u32) -> u32 {
  var x = given;
  x ^= x >> 16u; x *= 0x7feb352du;
  x ^= x >> 15u; x *= 0x846ca68bu;
  return x ^ (x >> 16u);
}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  var a = 0u;
  var b = 0u;
  for (var i = id.x; i < params.y; i += groups.x * ${threads}u) {
    let x = memory[params.x + i];
    a += mixed(x ^ mixed(i + 0x9e3779b9u));
    b += mixed(x + mixed(i ^ 0x85ebca6bu));
  }
  atomicAdd(&sums[params.z], a);
  atomicAdd(&sums[params.z + 1u], b);
}
`

/** Sixteen digits for each region; what comes back is eight bytes for each. */
export async function hashRegions(host: Host, regions: readonly Region[]): Promise<readonly string[]> {
  const { gpu } = host
  if (regions.length === 0) return []
  const pipeline = await pipelineOf(host, "hashes", hashShader, 2)
  const words = new Uint32Array((slotBytes / 4) * regions.length)
  regions.forEach(({ offset, bytes }, i) => words.set([offset / 4, bytes / 4, 2 * i], (slotBytes / 4) * i))
  const params = gpu.createBuffer({ label: "hashes", size: words.byteLength, usage: usage.uniform | usage.copyTarget })
  gpu.queue.writeBuffer(params, 0, words)
  const [sums, staging] = [gpu.createBuffer({ size: 8 * regions.length, usage: usage.storage | usage.copySource }), gpu.createBuffer({ size: 8 * regions.length, usage: usage.mapRead | usage.copyTarget })]
  const encoder = gpu.createCommandEncoder({ label: "hashes" })
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  const groups = new Map<GPUBuffer, GPUBindGroup>()
  regions.forEach(({ buffer, bytes }, i) => {
    const bind = groups.get(buffer) ?? gpu.createBindGroup({ layout: layoutFor(host, 2), entries: [{ binding: 0, resource: { buffer: params, size: 16 } }, { binding: 1, resource: { buffer } }, { binding: 2, resource: { buffer: sums } }] })
    groups.set(buffer, bind)
    pass.setBindGroup(0, bind, [i * slotBytes])
    pass.dispatchWorkgroups(Math.max(1, Math.min(mostWorkgroups, Math.ceil(bytes / 4 / threads))))
  })
  pass.end()
  encoder.copyBufferToBuffer(sums, 0, staging, 0, 8 * regions.length)
  gpu.queue.submit([encoder.finish()])
  try {
    await host.wait(staging.mapAsync(usage.mapRead))
  } catch (error) {
    throw await lost(host, error)
  }
  const found = new Uint32Array(staging.getMappedRange().slice(0))
  host.counters.hashReads++
  for (const buffer of [params, sums, staging]) buffer.destroy()
  const hex = (x = 0): string => x.toString(16).padStart(8, "0")
  return regions.map((_, i) => hex(found[2 * i]) + hex(found[2 * i + 1]))
}
