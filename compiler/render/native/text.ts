/** Values of the compiler as C. */

/** A text as a C string: UTF-8, with everything but plain letters escaped. */
export function cText(text: string): string {
  return quoted(new TextEncoder().encode(text))
}

/** A list of texts that ends with a null pointer. */
export function cTexts(name: string, list: readonly string[]): string {
  return `static const char *const ${name}[] = {${[...list.map(cText), "0"].join(", ")}};`
}

/** Bytes as strings in lines, which compilers take faster than numbers. One zero more follows. */
export function cBytes(name: string, bytes: Uint8Array): string {
  const lines: string[] = []
  for (let i = 0; i < bytes.length; i += 100) lines.push(`  ${quoted(bytes.subarray(i, i + 100))}`)
  return `static const char ${name}[${bytes.length} + 1] =\n${lines.length === 0 ? '  ""' : lines.join("\n")};`
}

/** Octal escapes end after three digits, so that what follows cannot join them; `?` would make trigraphs. */
function quoted(bytes: Uint8Array): string {
  return `"${Array.from(bytes, (byte) => (/[ !#->@-[\]-~]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, "0")}`)).join("")}"`
}

/** A double. */
export function cReal(x: number): string {
  return Number.isInteger(x) && Math.abs(x) < 2 ** 53 ? `${x}.0` : String(x)
}

/** Whole numbers in lines. */
export function cNumbers(name: string, type: string, values: ArrayLike<number>): string {
  const lines: string[] = []
  for (let i = 0; i < values.length; i += 24) lines.push(`  ${Array.prototype.slice.call(values, i, i + 24).join(", ")},`)
  return `static const ${type} ${name}[] = {\n${lines.join("\n")}\n};`
}

/** Text that cannot end a comment. */
export function commented(text: string): string {
  return text.replaceAll("*/", "* /").replaceAll(/[\n\r]/g, " ")
}
