/** 32 bits in which every bit depends on every bit of x, for each key another permutation (the finaliser of MurmurHash3, Appleby, 2011). */
export function mixed(x: number, key: number): number {
  let h = x ^ Math.imul(key + 1, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
