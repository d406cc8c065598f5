/** What a numeral stands for. */
export interface Numeral {
  readonly value: number
  readonly integer: boolean
  readonly percent: boolean
  readonly text: string // without the percent sign
  readonly problem: { readonly message: string; readonly help: string } | null
}

const exponents: Readonly<Record<string, number>> = { k: 3, M: 6, G: 9 }

/** Reads `12`, `1_000`, `3e-3`, `4k`, `1.5M`, `5%`. A value with a suffix is an integer when it is whole. */
export function numberOf(image: string): Numeral {
  const percent = image.endsWith("%")
  const text = percent ? image.slice(0, -1) : image
  const last = text.at(-1) ?? ""
  const shift = exponents[last] ?? 0
  const digits = (shift > 0 ? text.slice(0, -1) : text).replaceAll("_", "")
  const [mantissa = "0", exponent = "0"] = digits.toLowerCase().split("e")
  const value = Number(`${mantissa}e${Number(exponent) + shift}`)
  const plain = /^\d+$/.test(digits)
  const integer = !percent && (plain || (shift > 0 && Number.isInteger(value)))
  return { value: Number.isFinite(value) ? value : 0, integer, percent, text, problem: problemOf(text, value, integer) }
}

function problemOf(text: string, value: number, integer: boolean): Numeral["problem"] {
  if (/_(?!\d)/.test(text)) return { message: `\`${text}\` is not a number`, help: "`_` stands between digits: `1_000`" }
  if (!Number.isFinite(value)) return { message: `\`${text}\` is too large`, help: "the largest number is about 1.8e308" }
  if (integer && !Number.isSafeInteger(value)) return { message: `\`${text}\` is too large for an exact integer`, help: "the largest is 9007199254740991; write a float such as `1e16`" }
  return null
}
