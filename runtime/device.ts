import type { DType, Factors, Program, Shape } from "../compiler/graph/node.ts"
import { size } from "../compiler/graph/node.ts"
import type { StorageType } from "../compiler/graph/stored.ts"
import { unpacked } from "../compiler/graph/stored.ts"

/** A tensor in host memory, row-major. `bool` is 0 and 1. Where it is `stored`, `data` are the packed bytes. */
export interface HostTensor {
  readonly shape: Shape
  readonly dtype: DType
  readonly data: Float32Array | Int32Array | Uint8Array // f32, i32, bool
  readonly stored?: StorageType
}

/** The same numbers as wide as their dtype: for devices that keep them so. */
export function asPlain(tensor: HostTensor): HostTensor {
  const { shape, dtype, data, stored } = tensor
  if (stored === undefined || !(data instanceof Uint8Array)) return tensor
  const values = unpacked(data, stored, size(shape))
  return { shape, dtype, data: dtype === "i32" ? Int32Array.from(values) : values }
}

/** How fast and how exact a device is, for `slm doctor`, plans and records. */
export interface DeviceInfo {
  readonly name: "reference" | "tfjs" | "cpu" | "webgpu"
  readonly detail: string // "WebAssembly backend 4.22.0, SIMD"
  /** Runs with equal class give equal bits: device kind, instruction family or adapter, precision, generator revision. */
  readonly numericsClass: string
  /** The class of stages with `precision: bf16`, where their products are computed in another way. */
  readonly bf16Class?: string
  /** The class of stages with `precision: f16`; a device without it cannot carry them out. */
  readonly f16Class?: string
}

export type NumericsClasses = Pick<DeviceInfo, "numericsClass" | "bf16Class" | "f16Class">

/** The numerics class of a stage's results. */
export function classOf(info: NumericsClasses, factors: Factors): string {
  return (factors === "bf16" ? info.bf16Class : factors === "f16" ? info.f16Class : undefined) ?? info.numericsClass
}

/** One loaded program with its state on the device. */
export interface Runner {
  /** Sets a `state` input. Every state must be set before the first step. */
  write(name: string, value: HostTensor): Promise<void>
  /** The present value of a state. */
  read(name: string): Promise<HostTensor>
  /** Runs once: takes all `batch` inputs, replaces the states the program names, returns all other outputs. */
  step(batch: Readonly<Record<string, HostTensor>>): Promise<Readonly<Record<string, HostTensor>>>
  /** Several steps, one after the other, each after its `before` (what programs that it takes states of do); what they return is read back once. As many calls of `step` mean the same. */
  steps?(batches: readonly Readonly<Record<string, HostTensor>>[], before?: (step: number) => Promise<void>): Promise<readonly Readonly<Record<string, HostTensor>>[]>
  /**
   * Writes several tokens of texts that go on, choosing each as `nextToken` does: a list of tokens for each step, one for each text, -1 for those that are over.
   * At least one step, none after every text is over, and only for a few milliseconds. Null: this time the caller must make the step.
   */
  continue?(texts: Continued): Promise<readonly Int32Array[] | null>
  /** A state where it lies; it holds until this program runs again. */
  lend?(name: string): Lent
  /** Sets inputs to what programs of the same device lend, without the host. Inputs of a batch hold for the next step. */
  take?(values: ReadonlyMap<string, Lent>): void
  /** A copy of states on the device; null where there is no room for it. */
  keep?(names: readonly string[]): Promise<KeptStates | null>
  /** A short hash of each state, computed on the device. */
  hashes?(names: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** What it has taken of the device's memory, where the device counts that. */
  readonly memory?: ProgramMemory
  /** Frees what the device holds. */
  dispose(): void
}

/** Texts that a program for one token of each continues. `most`: so many steps at most. */
export interface Continued {
  readonly texts: readonly { readonly token: number; readonly length: number; readonly prompt: number; readonly over: boolean }[]
  readonly sampling: { readonly temperature: number; readonly topK: number | null; readonly topP: number | null; readonly seed: number; readonly stream: number }
  readonly stopIds: ReadonlySet<number>
  readonly most: number
}

/** A state on a device, for other programs of that device. */
export interface Lent { readonly name: string; readonly dtype: DType; readonly shape: Shape }

/** States of one moment, on a device. */
export interface KeptStates {
  readonly lent: ReadonlyMap<string, Lent>
  read(): Promise<Map<string, HostTensor>>
  dispose(): void
}

/** Bytes that a program takes: states, batches and everything it computes in one arena; and what each thread needs besides. */
export interface ProgramMemory {
  readonly arena: number
  readonly threads: number
  /** Kernels that run a second time in each step, so that the arena is smaller. */
  readonly again: number
}

export interface Device {
  readonly info: DeviceInfo
  /** Keeps inputs in narrower storage as they are, and widens numbers where it reads them. */
  readonly computesFromStorage?: true
  /** Where the device can, a program of more than `most` bytes computes values again instead of keeping them; 0: whatever is not dear. The results are the same. */
  load(program: Program, most?: number): Promise<Runner>
  /** Where the device can: measures the kernels of programs that are loaded from now on; the result tells what was measured so far. */
  measure?(): () => readonly MeasuredKernel[]
  /** What a loaded program would take; where it is not there, the device keeps all values and does not count them. */
  memoryOf?(program: Program, most?: number): ProgramMemory
}

/** Dispatches of one program that run the same kernel for the same part of the model. */
export interface MeasuredKernel {
  readonly program: string
  readonly kernel: string
  readonly note: string
  /** In all measured steps together. */
  readonly dispatches: number
  readonly seconds: number
  readonly steps: number
}

/** Why a device cannot be used here, with what would make it usable. */
export interface Unusable {
  readonly name: DeviceInfo["name"]
  readonly reason: string
  readonly help: string
}

/** The device was usable and is not now: a full disk under its cache, a compiler that was stopped, memory that is not there. */
export class DeviceFailure extends Error {
  readonly help: string
  constructor(message: string, help: string) {
    super(message)
    this.help = help
  }
}

/** A device, about: the floating-point operations it reaches in a second, and the seconds it takes to make a program that it has not made before. */
export interface Rate { readonly device: string; readonly flops: number; readonly prepare: Readonly<Record<"training" | "other", number>> }
