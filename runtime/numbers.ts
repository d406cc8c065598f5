/** Numbers as people read them. */

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`
  if (n < 1e6) return `${short(n / 1e3)} kB`
  if (n < 1e9) return `${short(n / 1e6)} MB`
  return `${short(n / 1e9)} GB`
}

export function count(n: number): string {
  if (n < 10_000) return String(Math.round(n))
  if (n < 1e6) return `${short(n / 1e3)}k`
  if (n < 1e9) return `${short(n / 1e6)}M`
  if (n < 1e12) return `${short(n / 1e9)}G`
  return `${short(n / 1e12)}T`
}

/** Floating-point operations: `1.32 TFLOP`. */
export function flop(n: number): string {
  if (n < 1e9) return `${short(n / 1e6)} MFLOP`
  if (n < 1e12) return `${short(n / 1e9)} GFLOP`
  return `${short(n / 1e12)} TFLOP`
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?"
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}

/** Three significant digits. */
function short(n: number): string {
  if (n >= 100) return n.toFixed(0)
  if (n >= 10) return n.toFixed(1)
  return n.toFixed(2)
}

/** Four significant digits, whole numbers as they are. */
export function number(n: number): string {
  return Number.isInteger(n) ? String(n) : String(Number(n.toPrecision(4)))
}
