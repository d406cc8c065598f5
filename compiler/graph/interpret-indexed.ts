import type { Data, Value } from "./value.ts"

/** Rows of the table by id, zeros for ids outside. */
export function gather(out: Data, table: Value, ids: Value): void {
  const rows = table.shape[0] ?? 1
  const width = table.data.length / rows
  for (let i = 0; i < ids.data.length; i++) {
    const id = ids.data[i] ?? -1
    if (id >= 0 && id < rows) out.set(table.data.subarray(id * width, (id + 1) * width), i * width)
  }
}

/** Adds rows of updates at their ids, in order; ids outside are dropped. */
export function scatterAdd(out: Data, ids: Value, updates: Value, rows: number): void {
  const width = out.length / rows
  for (let i = 0; i < ids.data.length; i++) {
    const id = ids.data[i] ?? -1
    if (id < 0 || id >= rows) continue
    for (let j = 0; j < width; j++) out[id * width + j] = (out[id * width + j] ?? 0) + (updates.data[i * width + j] ?? 0)
  }
}

export function take(out: Data, x: Value, ids: Value): void {
  const [n, k] = [x.shape.at(-1) ?? 1, ids.shape.at(-1) ?? 1]
  for (let i = 0; i < out.length; i++) {
    const id = ids.data[i] ?? -1
    out[i] = id >= 0 && id < n ? x.data[Math.floor(i / k) * n + id] ?? 0 : 0
  }
}

export function putAdd(out: Data, ids: Value, updates: Value, n: number): void {
  const k = ids.shape.at(-1) ?? 1
  for (let i = 0; i < ids.data.length; i++) {
    const id = ids.data[i] ?? -1
    const place = Math.floor(i / k) * n + id
    if (id >= 0 && id < n) out[place] = (out[place] ?? 0) + (updates.data[i] ?? 0)
  }
}
