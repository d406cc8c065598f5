/** Snappy, strictly: whatever the bytes are, it ends after as many steps as it reads and writes bytes. (The decoder of hyparquet can be led back to where it was.) */
export function snappyDecoded(input: Uint8Array, length: number): Uint8Array {
  const output = new Uint8Array(length)
  let [from, to] = [0, 0]
  const byte = (): number => {
    const value = input[from++]
    if (value === undefined) throw new Error("the compressed data ends too early")
    return value
  }
  const little = (bytes: number): number => {
    let value = 0
    for (let i = 0; i < bytes; i++) value += byte() * 2 ** (8 * i)
    return value
  }
  let [declared, scale] = [0, 1]
  for (let more = true; more; scale *= 128) {
    const part = byte()
    declared += (part & 127) * scale
    more = part >= 128
  }
  if (declared !== length) throw new Error(`the compressed data is said to hold ${declared} bytes, and the page ${length}`)
  while (to < length) {
    const tag = byte()
    if ((tag & 3) === 0) {
      const short = tag >> 2
      const count = (short < 60 ? short : little(short - 59)) + 1
      if (count > input.length - from || count > length - to) throw new Error("the compressed data ends too early")
      output.set(input.subarray(from, from + count), to)
      from += count
      to += count
      continue
    }
    const count = (tag & 3) === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1
    const back = (tag & 3) === 1 ? (tag >> 5) * 256 + byte() : little((tag & 3) === 2 ? 2 : 4)
    if (back === 0 || back > to || count > length - to) throw new Error("the compressed data refers to what is not there")
    for (let i = 0; i < count; i++, to++) output[to] = output[to - back] ?? 0
  }
  if (from !== input.length) throw new Error("the compressed data goes on after its end")
  return output
}
