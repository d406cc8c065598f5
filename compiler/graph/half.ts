/** The two 16-bit float formats as bit patterns, rounded to nearest with ties to even, as IEEE 754 says. */

const f32 = new Float32Array(1)
const bits = new Uint32Array(f32.buffer)

/** The f16 nearest to an f32; beyond 65504 it is an infinity. */
export function toHalf(x: number): number {
  f32[0] = x
  const b = bits[0]!
  const sign = (b >>> 16) & 0x8000
  const exponent = (b >>> 23) & 0xff
  const fraction = b & 0x7fffff
  if (exponent === 0xff) return sign | 0x7c00 | (fraction === 0 ? 0 : 0x200)
  if (exponent < 102) return sign // below half of the smallest subnormal, 2^-25
  if (exponent >= 113) {
    // Normal: the 13 low bits are rounded away; a carry may run into the exponent, which is what rounding up means.
    const joined = ((exponent - 112) << 10) | (fraction >>> 13)
    const rounded = joined + roundUp(fraction & 0x1fff, 0x1000, joined)
    return sign | Math.min(rounded, 0x7c00)
  }
  const shift = 126 - exponent
  const mantissa = fraction | 0x800000
  const kept = mantissa >>> shift
  return sign | (kept + roundUp(mantissa & ((1 << shift) - 1), 1 << (shift - 1), kept))
}

/** The f32 equal to an f16 bit pattern. */
export function fromHalf(h: number): number {
  const sign = h & 0x8000 ? -1 : 1
  const exponent = (h >>> 10) & 0x1f
  const fraction = h & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** The bf16 nearest to an f32. */
export function toBrain(x: number): number {
  f32[0] = x
  const b = bits[0]!
  if ((b & 0x7fffffff) > 0x7f800000) return (b >>> 16) | 0x40
  const kept = b >>> 16
  return kept + roundUp(b & 0xffff, 0x8000, kept)
}

/** The f32 equal to a bf16 bit pattern. */
export function fromBrain(h: number): number {
  bits[0] = h << 16
  return f32[0]!
}

export function halves(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, toHalf)
}
export function brains(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, toBrain)
}
export function fromHalves(codes: Uint16Array): Float32Array {
  return Float32Array.from(codes, fromHalf)
}
export function fromBrains(codes: Uint16Array): Float32Array {
  return Float32Array.from(codes, fromBrain)
}

/** 1 where the dropped bits say up: above half, or half with an odd kept part. */
function roundUp(dropped: number, half: number, kept: number): 0 | 1 {
  return dropped > half || (dropped === half && (kept & 1) === 1) ? 1 : 0
}
