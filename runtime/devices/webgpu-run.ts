/// <reference types="@webgpu/types" />
/** A rendered program on a GPU: its arena, its pipelines, and one command buffer per step. */
import type { Program } from "../../compiler/graph/node.ts"
import { size } from "../../compiler/graph/node.ts"
import { bytesOfNumbers } from "../../compiler/graph/stored.ts"
import { gpuBytes } from "../../compiler/schedule/gpu.ts"
import type { Command, Dispatch, Tensor, WgslProgram } from "../../compiler/render/wgsl.ts"
import type { HostTensor, Runner } from "../device.ts"
import { asPlain, DeviceFailure } from "../device.ts"
import type { Host, Port, Region } from "./webgpu-host.ts"
import { allocate, fetch, layoutFor, pipelineOf, usage } from "./webgpu-host.ts"
import type { Stopwatch } from "./webgpu-profile.ts"
import { awakeAfter, createStopwatch, measuredSteps } from "./webgpu-profile.ts"
import { copyLent, hashRegions, keepRegions, lend, readRegions } from "./webgpu-states.ts"

/** Bytes between the parameters of two dispatches: WebGPU's alignment of dynamic offsets. */
const slotBytes = 256

type Outputs = Readonly<Record<string, HostTensor>>

interface InputPort extends Port { readonly role: "state" | "batch" }

/** What callers need to know of a program; plain data, so that it can be kept in a file. */
export interface Signature { readonly name: string; readonly inputs: readonly InputPort[]; readonly outputs: readonly Port[] }

export function signatureOf({ name, inputs, outputs }: Program): Signature {
  const replaced = new Set(outputs.map((output) => output.name))
  return {
    name,
    inputs: inputs.map(({ args, dtype, shape }) => ({ name: args.name, role: args.role, dtype, shape, stored: replaced.has(args.name) ? null : args.stored ?? null })),
    outputs: outputs.map((output) => ({ name: output.name, dtype: output.node.dtype, shape: output.node.shape, stored: null })),
  }
}

export async function createRunner(host: Host, program: Signature, rendered: WgslProgram): Promise<Runner> {
  const { ports, bytes: outputBytes } = portsOf(program, rendered)
  if (outputBytes > host.largest) throw new DeviceFailure(`${program.name} returns ${outputBytes} bytes and the adapter's maxBufferSize is ${host.largest}`, "make the batch smaller, or run on another device: `--device cpu`")
  const memory = await arenaOf(host, rendered)
  const launches = await prepare(host, rendered, memory)
  const declared = new Map<string, InputPort>(program.inputs.map((port) => [port.name, port]))
  const places = new Map<string, Tensor>(rendered.inputs.map((tensor) => [tensor.name, tensor]))
  /** Inputs of the next batch that lie there already. */
  const taken = new Set<string>()
  const unset = new Set(program.inputs.filter(({ role }) => role === "state").map(({ name }) => name))
  // Metrics are small; where outputs are large, the results of one step are read at a time.
  const mostRead = outputBytes <= 65536 ? 16 : 1
  const staging = host.gpu.createBuffer({ label: "outputs", size: Math.max(4, mostRead * outputBytes), usage: usage.mapRead | usage.copyTarget })
  let closed = false
  const { gpu, counters } = host

  function input(name: string, role: "state" | "batch"): { readonly node: InputPort; readonly tensor: Tensor } {
    const [node, tensor] = [declared.get(name), places.get(name)]
    if (node === undefined || tensor === undefined || node.role !== role) throw new Error(`webgpu: ${program.name} has no ${role} input ${name}`)
    if (closed) throw new Error(`webgpu: ${program.name} was disposed of`)
    return { node, tensor }
  }

  function placeOf(name: string): Region {
    const { node, tensor } = input(name, declared.get(name)?.role ?? "state")
    return { buffer: partOf(memory, tensor.place.part), offset: 4 * tensor.place.offset, bytes: gpuBytes(tensor.buffer), port: node }
  }

  /** Where a state lies that has a value. */
  function region(name: string): Region {
    if (declared.get(name)?.role !== "state") throw new Error(`webgpu: ${program.name} has no state ${name}`)
    if (unset.has(name)) throw new Error(`webgpu: state ${name} was never set`)
    return placeOf(name)
  }

  function set(name: string, role: "state" | "batch", given: HostTensor): void {
    const { node, tensor } = input(name, role)
    const value = node.stored === null ? asPlain(given) : given
    if (value.dtype !== node.dtype || value.shape.join() !== node.shape.join()) throw new Error(`webgpu: ${name} is ${value.dtype}[${value.shape.join(", ")}] instead of ${node.dtype}[${node.shape.join(", ")}]`)
    if ((value.stored ?? null) !== node.stored) throw new Error(`webgpu: ${name} is stored as ${value.stored ?? value.dtype} instead of ${node.stored ?? node.dtype}`)
    const length = node.stored === null ? size(node.shape) : bytesOfNumbers(size(node.shape), node.dtype, node.stored)
    if (value.data.length !== length) throw new Error(`webgpu: ${name} has ${value.data.length} elements for [${node.shape.join(", ")}]`)
    upload(host, memory, tensor, value.data)
  }

  const watch = host.profile === undefined ? null : createStopwatch(gpu, launches.list.length)
  let [done, measured] = [0, 0]
  async function note(stopwatch: Stopwatch): Promise<void> {
    measured++
    host.profile?.stepDone(program.name)
    const times = await stopwatch.read()
    launches.list.slice(0, times.length).forEach((launch, i) => host.profile?.add(program.name, launch.kernel, launch.note, times[i] ?? 0))
  }

  /** One command buffer per step; what they return is copied aside on the GPU and read once. A program that only changes its states is never waited for. */
  async function steps(batches: readonly Readonly<Record<string, HostTensor>>[], before?: (step: number) => Promise<void>): Promise<readonly Outputs[]> {
    for (const name of unset) throw new Error(`webgpu: state ${name} was never set`)
    const results: Outputs[] = []
    for (let first = 0; first < batches.length; first += mostRead) {
      const some = batches.slice(first, first + mostRead)
      for (const [i, batch] of some.entries()) {
        if (watch !== null && done === awakeAfter) {
          host.profile?.forget(program.name)
          measured = 0
        }
        await before?.(first + i)
        submit(batch, i)
        done++
        if (ports.length === 0) await roomInQueue()
        if (watch !== null && measured < measuredSteps) await note(watch)
      }
      if (ports.length > 0) counters.metricReads++
      const values = ports.length === 0 ? [] : await fetch(host, staging, some.flatMap((_, i) => ports.map((port) => ({ ...port, from: i * outputBytes + port.from }))))
      some.forEach((_, i) => results.push(Object.fromEntries(ports.map(({ name }, n) => [name, values[i * ports.length + n]])) as Outputs))
    }
    return results
  }

  /** What nobody reads nobody waits for: the queue, which holds a copy of each batch, is kept to some steps. Whoever reads hears of a lost device. */
  let [queued, half] = [0, Promise.resolve()]
  async function roomInQueue(): Promise<void> {
    if (++queued % mostRead !== 0) return
    await host.wait(half)
    half = gpu.queue.onSubmittedWorkDone().then(() => {}, () => {})
  }

  function submit(batch: Readonly<Record<string, HostTensor>>, number: number): void {
    for (const [name, value] of Object.entries(batch)) set(name, "batch", value)
    for (const { name, role } of program.inputs) if (role === "batch" && batch[name] === undefined && !taken.has(name)) throw new Error(`webgpu: the batch lacks ${name}`)
    const encoder = gpu.createCommandEncoder({ label: program.name })
    record(host, encoder, launches, measured < measuredSteps ? watch : null)
    for (const { tensor, from } of ports) if (tensor.buffer.size > 0) encoder.copyBufferToBuffer(partOf(memory, tensor.place.part), 4 * tensor.place.offset, staging, number * outputBytes + from, 4 * tensor.buffer.size)
    gpu.queue.submit([encoder.finish()])
    counters.submits++
    // What lies behind the last reader of an input may be overwritten.
    taken.clear()
  }

  return {
    memory: { arena: rendered.parts.reduce((sum, bytes) => sum + bytes, 0), threads: 0, again: rendered.again },
    async write(name, value) {
      set(name, "state", value)
      unset.delete(name)
    },
    async read(name) {
      const [value] = await readRegions(host, [region(name)])
      if (value === undefined) throw new Error(`webgpu: nothing was read of ${name}`)
      return value
    },
    lend: (name) => lend(host, region(name)),
    take(values) {
      copyLent(host, [...values].map(([name, lent]) => [lent, placeOf(name)]))
      for (const name of values.keys()) if (declared.get(name)?.role === "state") unset.delete(name)
      else taken.add(name)
    },
    keep: (names) => keepRegions(host, names.map(region)),
    async hashes(names) {
      const found = await hashRegions(host, names.map(region))
      return new Map(names.map((name, i) => [name, found[i] ?? ""]))
    },
    step: async (batch) => (await steps([batch]))[0] ?? {},
    steps,
    dispose() {
      if (closed) return
      closed = true
      for (const buffer of [...memory, launches.params, staging]) buffer.destroy()
      watch?.dispose()
    },
  }
}

/** Outputs and where each lies among those of one step. */
function portsOf(program: Signature, { outputs }: WgslProgram): { readonly ports: readonly (Port & { readonly from: number; readonly tensor: Tensor })[]; readonly bytes: number } {
  let bytes = 0
  const ports = outputs.map((tensor) => {
    const port = program.outputs.find(({ name }) => name === tensor.name)
    if (port === undefined) throw new Error(`webgpu: ${program.name} has no output ${tensor.name}`)
    const from = bytes
    bytes += 4 * tensor.buffer.size
    return { ...port, from, tensor }
  })
  return { ports, bytes }
}

// ---------------------------------------------------------------- memory

function partOf(memory: readonly GPUBuffer[], part: number): GPUBuffer {
  const buffer = memory[part]
  if (buffer === undefined) throw new Error(`webgpu: there is no part ${part} of the arena`)
  return buffer
}

async function arenaOf(host: Host, { name, parts, constants }: WgslProgram): Promise<readonly GPUBuffer[]> {
  const memory = await allocate(host, name, parts, usage.storage | usage.copySource | usage.copyTarget)
  if ("refused" in memory) throw new DeviceFailure(memory.refused, "make the batch or the model smaller (`accumulate` keeps the meaning of a batch), or run on another device: `--device cpu`")
  for (const constant of constants) upload(host, memory, constant, Float64Array.from(constant.buffer.values ?? [], Number))
  return memory
}

/** Numbers of every type as words of four bytes. */
function upload({ gpu }: Host, memory: readonly GPUBuffer[], { buffer, place }: Tensor, data: HostTensor["data"] | Float64Array): void {
  const words = buffer.stored !== null ? wholeWords(Uint8Array.from(data)) : buffer.dtype === "f32" ? (data instanceof Float32Array ? data : Float32Array.from(data)) : buffer.dtype === "i32" ? (data instanceof Int32Array ? data : Int32Array.from(data)) : Uint32Array.from(data)
  if (words.length > 0) gpu.queue.writeBuffer(partOf(memory, place.part), 4 * place.offset, words as GPUAllowSharedBufferSource)
}

/** Packed bytes, filled up to whole words. */
function wholeWords(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes
  const whole = new Uint8Array(4 * Math.ceil(bytes.length / 4))
  whole.set(bytes)
  return whole
}

// ---------------------------------------------------------------- commands

interface Launch { readonly pipeline: GPUComputePipeline; readonly bind: GPUBindGroup; readonly workgroups: number; readonly slot: number; readonly kernel: string; readonly note: string }
interface Launches { readonly list: readonly Launch[]; readonly params: GPUBuffer }

/** Pipelines are compiled side by side; parameters of all dispatches lie in one buffer. */
async function prepare(host: Host, rendered: WgslProgram, memory: readonly GPUBuffer[]): Promise<Launches> {
  const { gpu } = host
  const flat = flatten(rendered.commands, 0)
  const pipelines = await Promise.all(rendered.shaders.map((shader) => pipelineOf(host, shader.name, shader.text, shader.parts)))
  const most = Math.max(4, ...rendered.shaders.map((shader) => shader.words))
  const slots = new Map<string, number>()
  const words: number[][] = []
  const launches = flat.map(({ dispatch, turn }) => {
    const params = dispatch.params.map((word, i) => (i === 1 && rendered.shaders[dispatch.shader]?.turns === true ? turn : word))
    const key = params.join()
    const slot = slots.get(key) ?? words.length
    if (slot === words.length) { slots.set(key, slot); words.push(params) }
    return { dispatch, slot }
  })
  const data = new Uint32Array((slotBytes / 4) * words.length + most)
  words.forEach((params, slot) => data.set(params, (slotBytes / 4) * slot))
  const params = gpu.createBuffer({ label: "parameters", size: data.byteLength, usage: usage.uniform | usage.copyTarget })
  gpu.queue.writeBuffer(params, 0, data)
  const groups = new Map<string, GPUBindGroup>()
  const bind = (parts: readonly number[]): GPUBindGroup => {
    const key = parts.join()
    const known = groups.get(key) ?? gpu.createBindGroup({
      layout: layoutFor(host, parts.length),
      entries: [{ binding: 0, resource: { buffer: params, size: 4 * most } }, ...parts.map((part, i) => ({ binding: i + 1, resource: { buffer: partOf(memory, part) } }))],
    })
    groups.set(key, known)
    return known
  }
  const list = launches.map(({ dispatch, slot }): Launch => {
    const pipeline = pipelines[dispatch.shader]
    if (pipeline === undefined) throw new Error(`webgpu: there is no shader ${dispatch.shader}`)
    return { pipeline, bind: bind(dispatch.parts), workgroups: dispatch.workgroups, slot, kernel: rendered.shaders[dispatch.shader]?.name ?? "", note: dispatch.note }
  })
  return { list, params }
}

function flatten(commands: readonly Command[], turn: number): readonly { readonly dispatch: Dispatch; readonly turn: number }[] {
  return commands.flatMap((command) => (command.is === "dispatch" ? [{ dispatch: command, turn }] : Array.from({ length: command.trips }, (_, trip) => flatten(command.body, trip)).flat()))
}

/** Workgroups of one row of the grid: the least that every adapter allows. */
const rowOfGrid = 65535

function record({ counters }: Host, encoder: GPUCommandEncoder, { list }: Launches, watch: Stopwatch | null): void {
  const pass = watch === null ? encoder.beginComputePass() : null
  list.forEach(({ pipeline, bind, workgroups, slot }, i) => {
    const own = pass ?? encoder.beginComputePass(watch?.writes(i))
    own.setPipeline(pipeline)
    own.setBindGroup(0, bind, [slot * slotBytes])
    own.dispatchWorkgroups(Math.min(workgroups, rowOfGrid), Math.ceil(workgroups / rowOfGrid))
    if (pass === null) own.end()
  })
  pass?.end()
  watch?.finish(encoder)
  counters.dispatches += list.length
}
