/** A scheduled program as one C program: functions for kernels (equal ones once), and the step that calls them in waves. */
import type { KeptFormat } from "../graph/node.ts"
import type { Buffer, ContractKernel, RowsKernel, SiblingsKernel } from "../kernel/ir.ts"
import { bytesOf } from "../kernel/ir.ts"
import { plus, times, variable } from "../kernel/index.ts"
import { agreementsOf, blocksEach, flatShare, isFlat, membersOf, rowShare } from "../schedule/cpu.ts"
import { attendsInTiles } from "../schedule/tiles.ts"
import type { CpuProgram, CpuTarget, Step, Wave, Work } from "../schedule/cpu.ts"
import { attendTiles, renderAttend, renderAttendGrad } from "./c-attend.ts"
import { attendHelpers, attendPacks, renderAttendGradTiles, renderAttendTiles } from "./c-attend-tiles.ts"
import { codeHelpers, codesOf } from "./c-codes.ts"
import { contractHelpers, renderBefore, renderContract, tilesOf } from "./c-contract.ts"
import type { Call, TileUse } from "./c-contract.ts"
import { cFloat } from "./c-index.ts"
import { renderAxis, renderPut, renderScatter } from "./c-other.ts"
import { prelude } from "./c-prelude.ts"
import type { Parameters } from "./c-exprs.ts"
import { cType, cTypes } from "./c-exprs.ts"
import { renderNested, renderRows } from "./c-rows.ts"
import { storedLoads } from "./c-stored.ts"
import { cGroups, parts } from "./c-parts.ts"
import { entryPoints, threads } from "./c-threads.ts"
import { sumRows } from "./c-vector.ts"
import type { PackUse } from "./c-mma.ts"
import { packName, packUse, packUseOf, renderPack, renderPacking, renderTiled, tileHelpers, tileProduct } from "./c-mma.ts"
import { partsHelpers } from "./c-mma-parts.ts"
import { renderPanels } from "./c-panels.ts"
import { packing, renderTile, storedPacking, tileName, transpose } from "./c-tile.ts"

/** A function's parameters as they are met. */
interface Collected extends Parameters {
  readonly buffers: Buffer[]
  readonly written: Set<Buffer>
}

function collect(prefix: string): Collected {
  const buffers: Buffer[] = []
  const written = new Set<Buffer>()
  return {
    buffers, written,
    name(buffer, writes) {
      if (!buffers.includes(buffer)) buffers.push(buffer)
      if (writes) written.add(buffer)
      return `${prefix}${buffers.indexOf(buffer)}`
    },
  }
}

/** The parts of a function's text. */
interface Defined { readonly comment: string; readonly head: string; readonly body: string }

interface Functions {
  readonly texts: Defined[]
  /** Names by text without name and comment. */
  readonly known: Map<string, string>
}

/** The function's name; made if no equal one is there. */
function define(f: Functions, kind: string, note: string, p: Collected, lines: readonly string[]): string {
  const uses = (name: string): boolean => lines.some((line) => new RegExp(`\\b${name}\\b`).test(line))
  const parameters = p.buffers.map((buffer, i) => `${p.written.has(buffer) ? "" : "const "}${cType(buffer)} *p${i}`)
  const tail = ["long first", "long last", `float *scratch${uses("scratch") ? "" : " __attribute__((unused))"}`, `long trip${uses("trip") ? "" : " __attribute__((unused))"}`]
  const list = `(${[...parameters, ...tail].join(", ")})`
  const body = `{\n${lines.join("\n")}\n}\n`
  const text = `${list} ${body}`
  const before = f.known.get(text)
  if (before !== undefined) return before
  const name = `${kind}_${f.texts.length}`
  const shapes = p.buffers.map((buffer, i) => `   p${i}: ${typeText(buffer)} ${commented(buffer.name)}${p.written.has(buffer) ? ", written" : ""}`)
  f.known.set(text, name)
  f.texts.push({ comment: `/* ${commented(note)}\n${shapes.join("\n")} */`, head: `KERNEL void ${name}${list}`, body })
  return name
}

const typeText = ({ dtype, shape, stored }: Buffer): string => `${dtype}[${shape.join(", ")}]${stored === null ? "" : ` stored as ${stored}`}`

/** Text that cannot end a comment. */
function commented(text: string): string {
  return text.replaceAll("*/", "* /").replaceAll(/[\n\r]/g, " ")
}

/** What a thread does for one block of a kernel. */
function stepLine(f: Functions, program: CpuProgram, step: Step): string {
  const { kernel } = step
  const first = kernel.kind === "siblings" ? "" : before(f, program, step)
  const calls = kernel.kind === "siblings" ? siblingCalls(f, program, kernel) : `${first === "" ? "" : `if (at.fresh) ${first}`}${call(f, program, step, rangeOf(kernel, step))}`
  return `{ ${[calls, ...(step.then ?? []).map((next) => after(f, program, step, next))].join(" ")} } /* ${commented(kernel.note)} */`
}

/** The call of what follows a block: on the same shares, or on the columns of a product that they are, row by row. */
function after(f: Functions, program: CpuProgram, { kernel, contract }: Step, next: Step): string {
  if (kernel.kind !== "contract" || contract === null) return call(f, program, next, ["at.lo", "at.hi"])
  const { m, n } = kernel
  const range = (row: string): [string, string] => [`${row}at.lo * ${contract.cols}L`, `${row}MIN(${n}L, at.hi * ${contract.cols}L)`]
  return m === 1 ? call(f, program, next, range("")) : `for (long i = 0; i < ${m}; i++) ${call(f, program, next, range(`i * ${n}L + `))}`
}

/** The call of a kernel for some of its shares. */
function call(f: Functions, program: CpuProgram, step: Step, range: readonly [string, string]): string {
  const p = collect("p")
  const { kind, lines } = bodyOf(f, program, step, p)
  const name = define(f, kind, titleOf(step.kernel), p, lines)
  return `${name}(${[...p.buffers.map((buffer) => addressOf(program, buffer)), ...range, "scratch", "trip"].join(", ")});`
}

/** Each member's part of a block. What a thread makes before its first block serves all members, where they want the same. */
function siblingCalls(f: Functions, program: CpuProgram, kernel: SiblingsKernel): string {
  const members = membersOf(kernel, program.target)
  const firsts = members.map((member) => before(f, program, member))
  const [first = ""] = firsts
  const isShared = firsts.every((text) => text === first)
  let end = 0
  const calls = members.map((member, i) => {
    end += member.shares
    return `OF(${end - member.shares}, ${end}) { ${isShared ? "" : firsts[i]}${call(f, program, member, ["lo", "hi"])} }`
  })
  return `${isShared && first !== "" ? `if (at.fresh) ${first}` : ""}${calls.join(" ")}`
}

/** The call that a thread makes before its first block of a kernel; empty where there is none. */
function before(f: Functions, program: CpuProgram, { kernel, contract }: Step): string {
  const p = collect("p")
  const lines = kernel.kind === "contract" && contract !== null ? renderBefore(kernel, contract, program.target, p) : null
  if (lines === null) return ""
  const name = define(f, "before", titleOf(kernel), p, lines)
  return `${name}(${[...p.buffers.map((buffer) => addressOf(program, buffer)), "0", "0", "scratch", "trip"].join(", ")}); `
}

const addressOf = (program: CpuProgram, buffer: Buffer): string => `(${cType(buffer)} *)(arena + ${offsetOf(program, buffer)}L)`

function offsetOf(program: CpuProgram, buffer: Buffer): number {
  const offset = program.offsets.get(buffer)
  if (offset === undefined) throw new Error(`render: ${buffer.name} has no place in the arena`)
  return offset
}

/** Shares as the kernel counts them: rows, columns of a flat kernel, or shares themselves. */
function rangeOf(kernel: Work, { shares, then }: Step): readonly [string, string] {
  if (kernel.kind === "put" && shares === 1 && then === undefined) return ["0", String(kernel.batch * kernel.middle)]
  if (kernel.kind !== "rows") return ["at.lo", "at.hi"]
  const [unit, most] = isFlat(kernel) ? [flatShare, kernel.cols] : [rowShare(kernel), kernel.rows]
  if (shares === 1) return ["0", String(most)]
  return unit === 1 ? ["at.lo", "at.hi"] : [`at.lo * ${unit}L`, `MIN(${most}L, at.hi * ${unit}L)`]
}

function titleOf(kernel: Work): string {
  if (kernel.kind === "panels") return `panels of ${kernel.batch === 1 ? "" : `${kernel.batch} x `}${kernel.lines} lines of ${kernel.depth}: ${kernel.note}`
  if (kernel.kind === "pack") return `tiles of ${kernel.batch === 1 ? "" : `${kernel.batch} x `}${kernel.lines} lines of ${kernel.depth}: ${kernel.note}`
  const size = kernel.kind === "rows" ? `${kernel.rows} x ${kernel.cols}` : kernel.kind === "contract" ? `${kernel.batch === 1 ? "" : `${kernel.batch} x `}[${kernel.m}, ${kernel.k}] x [${kernel.k}, ${kernel.n}]` : ""
  const then = kernel.kind === "contract" && kernel.epilogue !== null ? `, then ${kernel.epilogue.note}` : ""
  return `${kernel.kind} ${size}${kernel.note === "" ? "" : `: ${kernel.note}`}${then}`
}

function bodyOf(f: Functions, program: CpuProgram, { kernel, contract: plan, tiles }: Step, p: Collected): { readonly kind: string; readonly lines: readonly string[] } {
  const { target } = program
  switch (kernel.kind) {
    case "rows": return { kind: "rows", lines: renderRows(kernel, p, target) }
    case "contract": {
      const then = kernel.epilogue === null ? null : epilogue(f, program, kernel.epilogue, p, tiles?.passing === true ? kernel.out : null)
      if (tiles !== null) return { kind: "dot", lines: renderTiled(kernel, tiles, p, then) }
      if (plan === null) throw new Error(`render: ${kernel.name} has no plan`)
      const make = kernel.prologue === null || plan.way === "vector" ? null : prologue(f, program, kernel.prologue, p)
      return { kind: "dot", lines: renderContract(kernel, plan, target, p, then, make) }
    }
    case "siblings": throw new Error(`render: ${kernel.name} has a body for each member`)
    case "panels": return { kind: "panels", lines: renderPanels(kernel, p) }
    case "pack": return { kind: "pack", lines: renderPack(kernel, p) }
    case "attend": return { kind: "attend", lines: attendsInTiles(kernel, target.tiles) ? renderAttendTiles(kernel, p) : renderAttend(kernel, target, p) }
    case "attend_grad": return { kind: "attend_grad", lines: attendsInTiles(kernel, target.tiles) ? renderAttendGradTiles(kernel, p) : renderAttendGrad(kernel, target, p) }
    case "scatter": return { kind: "scatter", lines: renderScatter(kernel, p) }
    case "put": return { kind: "put", lines: renderPut(kernel, offsetOf(program, kernel.x) === offsetOf(program, kernel.out), p) }
    case "axis": return { kind: kernel.op.is, lines: renderAxis(kernel, p) }
  }
}

/** The kernel that follows as a function of its own, and how to call it on rows; `passed`: what it alone reads is nowhere else. */
function epilogue(f: Functions, program: CpuProgram, kernel: RowsKernel, p: Collected, passed: Buffer | null): Call {
  const own = collect("p")
  const name = define(f, "rows", titleOf(kernel), own, renderRows(kernel, own, program.target))
  return (from, to) => `${name}(${[...own.buffers.map((buffer) => (buffer === passed ? "passed" : p.name(buffer, own.written.has(buffer)))), from, to, "scratch", "trip"].join(", ")});`
}

/** The kernel that makes rows of an operand as a function of its own: `made` holds the rows that are asked for, which count from their first. */
function prologue(f: Functions, program: CpuProgram, kernel: RowsKernel, p: Collected): Call {
  const own = collect("p")
  const panel: RowsKernel = { ...kernel, stores: kernel.stores.map((store) => ({ ...store, index: plus(store.index, times(variable("trip", 2 ** 30), -kernel.cols)) })) }
  const name = define(f, "made", titleOf(kernel), own, renderNested(panel, own, program.target))
  return (from, to) => `${name}(${[...own.buffers.map((buffer) => (kernel.stores.some((store) => store.buffer === buffer) ? "made" : p.name(buffer, false))), from, to, "scratch", from].join(", ")});`
}

/** Kernels that are claimed in blocks, and waves, are numbered. `depth`: of the loop; its turns count on from one step to the next. */
function waveLines(f: Functions, program: CpuProgram, waves: readonly Wave[], depth: number, next: { site: number; wave: number }): string[] {
  const indent = "  ".repeat(depth + 1)
  return waves.flatMap((wave) => {
    if (wave.is === "loop") return [
      `${indent}/* ${commented(wave.note)} */`, `${indent}for (long trip = 0; trip < ${wave.trips}; trip++) {`,
      `${indent}  const long turn_${depth + 1} = (turn_${depth} - 1) * ${wave.trips}L + trip + 1;`, ...waveLines(f, program, wave.waves, depth + 1, next), `${indent}}`,
    ]
    const turn = `turn_${depth}`
    const lines = wave.steps.map((step) => `${indent}CLAIM(${next.site++}, ${turn}, ${step.shares}, ${blocksEach(step)}) ${stepLine(f, program, step)}`)
    const tail = wave.tail.map((step) => `${indent}  at.lo = 0; at.hi = ${step.shares}; ${stepLine(f, program, step)}`)
    const blocks = wave.steps.map((step) => `BLOCKS(${step.shares}, ${blocksEach(step)})`).join(" + ")
    const number = next.wave++
    const [end, over] = [`${indent}if (ends(p, ${number}, ${turn}, ${blocks}, &at))`, `declare_over(p, ${number}, ${turn});`]
    return [...lines, ...(tail.length === 0 ? [`${end} ${over}`] : [`${end} {`, ...tail, `${indent}  ${over}`, `${indent}}`])]
  })
}

/** Every step, in no special order; of siblings each member. */
function stepsOf(waves: readonly Wave[], target: CpuTarget): readonly Step[] {
  const single = (step: Step): readonly Step[] => (step.kernel.kind === "siblings" ? membersOf(step.kernel, target) : [step, ...step.then ?? []])
  return waves.flatMap((wave) => (wave.is === "loop" ? stepsOf(wave.waves, target) : [...wave.steps, ...wave.tail].flatMap(single)))
}

function tilesUsed(steps: readonly Step[], { target }: CpuProgram): readonly TileUse[] {
  return steps.flatMap(({ kernel, contract }) => {
    if (kernel.kind === "contract" && contract !== null) return tilesOf(kernel as ContractKernel, contract)
    return (kernel.kind === "attend" || kernel.kind === "attend_grad") && !attendsInTiles(kernel, target.tiles) ? attendTiles(kernel, target) : []
  })
}

/** Every way in which matrices are packed. */
function packsUsed(steps: readonly Step[], { target }: CpuProgram): readonly PackUse[] {
  return steps.flatMap(({ kernel, tiles }) => {
    if (kernel.kind === "attend" || kernel.kind === "attend_grad") return attendsInTiles(kernel, target.tiles) ? attendPacks(kernel) : []
    if (kernel.kind === "pack") return [packUseOf(kernel)]
    return tiles !== null && tiles.left !== null ? [packUse(tiles.left)] : []
  })
}

/** Formats in which attention finds keys and values. */
function keptIn(steps: readonly Step[]): readonly KeptFormat[] {
  const found = steps.flatMap(({ kernel }) => (kernel.kind === "attend" ? [kernel.k.buffer.stored, kernel.v.buffer.stored] : []))
  return (["f16", "bf16"] as const).filter((format) => found.includes(format))
}

function copyLines(program: CpuProgram): string[] {
  return program.copies.map(({ state, value }) => {
    const bytes = `${bytesOf(state)}L`
    return `  if (thread == 0) memcpy(arena + ${offsetOf(program, state)}L, arena + ${offsetOf(program, value)}L, ${bytes}); /* ${commented(state.name)} */`
  })
}

function constantLines(program: CpuProgram): string[] {
  const constants = program.buffers.filter((buffer) => buffer.values !== null && program.offsets.has(buffer))
  return [
    "/* literals of the graph */",
    ...constants.map((buffer, i) => `static const ${cTypes[buffer.dtype]} constant_${i}[] = {${(buffer.values ?? []).map((x) => (buffer.dtype === "f32" ? cFloat(x) : buffer.dtype === "i32" ? String(x) : x === 0 ? "0" : "1")).join(", ")}};`),
    "static void fill_constants(char *arena) {", "  (void)arena;",
    ...constants.map((buffer, i) => `  memcpy(arena + ${offsetOf(program, buffer)}L, constant_${i}, sizeof constant_${i});`), "}",
  ]
}

/** Functions in as many groups as compilers may run side by side: each goes to the group with the least text so far, the longest first; the step is in the first. */
function grouped(texts: readonly Defined[], step: readonly string[]): readonly string[] {
  const sizes = Array.from({ length: cGroups }, (_, group) => (group === 0 ? step.reduce((sum, line) => sum + line.length, 0) : 0))
  const groups = new Map<Defined, number>()
  for (const text of [...texts].sort((x, y) => y.body.length - x.body.length)) {
    const least = sizes.indexOf(Math.min(...sizes))
    sizes[least] = (sizes[least] ?? 0) + text.body.length
    groups.set(text, least)
  }
  return texts.map((text) => `${text.comment}\n${text.head}\n#if GROUP(${groups.get(text) ?? 0})\n${text.body}#else\n;\n#endif`)
}

/** The whole program. `threads` of it run `slm_step`; their number changes no bit of any result. */
export function renderC(program: CpuProgram): string {
  const f: Functions = { texts: [], known: new Map() }
  const steps = waveLines(f, program, program.waves, 0, { site: 0, wave: 0 })
  const all = stepsOf(program.waves, program.target)
  const tiles = new Map(tilesUsed(all, program).map((use) => [tileName(use.tile, use.storage), renderTile(use.tile, use.storage)]))
  const uses = packsUsed(all, program)
  const packs = new Map(uses.map((use) => [packName(use), renderPacking(use)]))
  const [inTiles, inParts] = [uses.length > 0, uses.some(({ parts }) => parts > 1)]
  const usesCodes = all.some(({ kernel, contract }) => kernel.kind === "contract" && contract?.way === "vector" && codesOf(kernel, program.target) !== null)
  const head = [
    `/* ${commented(program.name)}: generated by slm; one call of slm_step is one step.`,
    `   arena ${(program.arena / 1e6).toFixed(1)} MB, scratch ${(program.scratch / 1e6).toFixed(1)} MB for each thread; ${f.texts.length} functions.`,
    ...program.inputs.map(({ name, buffer }) => `   ${buffer.role} ${commented(name)}: ${typeText(buffer)} at ${offsetOf(program, buffer)}`),
    ...program.outputs.map(({ name, buffer }) => `   output ${commented(name)}: ${buffer.dtype}[${buffer.shape.join(", ")}] at ${offsetOf(program, buffer)}`), "*/",
  ].join("\n")
  return [
    head, parts, prelude(program.target), ...(program.buffers.some((buffer) => buffer.stored !== null) ? [storedLoads(program.target)] : []), transpose(program.target), ...[2, 4, 8].filter((rows) => rows <= program.target.lanes).map((rows) => sumRows(rows, program.target)), packing, ...keptIn(all).map(storedPacking), contractHelpers, ...(usesCodes ? [codeHelpers] : []), ...tiles.values(), ...(inTiles ? [tileHelpers, tileProduct, ...(inParts ? [partsHelpers] : []), attendHelpers, ...packs.values()] : []), ...grouped(f.texts, steps), "#if PART == 0", ...constantLines(program), threads,
    "CALLS static void run_step(program *p, long thread, long turn_0) {", "  char *arena = p->arena;", "  const long trip = 0;", "  range at = {0};",
    `  float *scratch = (float *)(p->scratch + thread * ${program.scratch}L);`, "  (void)trip; (void)scratch; (void)arena; (void)thread; (void)turn_0; (void)at;", ...(inTiles ? ["  open_tiles();"] : []), ...steps, ...copyLines(program), ...(inTiles ? ["  close_tiles();"] : []), "}",
    entryPoints(program.arena, program.scratch, agreementsOf(program.waves), inTiles), "#endif\n",
  ].join("\n")
}
