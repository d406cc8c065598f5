/**
 * Elementary functions in f64 from +, -, *, / and sqrt alone, which IEEE 754 rounds exactly: they give the same bits on
 * every platform, unlike the functions of `Math`. Relative error below 1e-15.
 */
const ln2 = Math.LN2
const bits = 2 ** 53

/** 1/25, 1/23, … 1. */
const inverses = Float64Array.from({ length: 13 }, (_, i) => 1 / (25 - 2 * i))

/** Natural logarithm of a positive finite number: x = m 2^k with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m-1)/(m+1)). */
export function logOf(x: number): number {
  let m = x
  let k = 0
  while (m >= 2 ** 32) { m /= 2 ** 32; k += 32 }
  while (m < 2 ** -32) { m *= 2 ** 32; k -= 32 }
  while (m >= Math.SQRT2) { m /= 2; k++ }
  while (m < Math.SQRT1_2) { m *= 2; k-- }
  const z = (m - 1) / (m + 1)
  const square = z * z
  let sum = 0
  for (const c of inverses) sum = sum * square + c
  return 2 * z * sum + k * ln2
}

/** 2^-1022 to 2^1023. */
const powers = Float64Array.from({ length: 2046 }, (_, i) => 2 ** (i - 1022))

/** e^x for |x| < 700: x = k ln 2 + r, a Taylor series of e^r, then exact doubling. */
export function expOf(x: number): number {
  const k = Math.floor(x / ln2 + 0.5)
  const r = x - k * ln2
  let sum = 1
  for (let i = 20; i >= 1; i--) sum = 1 + (r * sum) / i
  return sum * (powers[k + 1022] ?? NaN)
}

/** `expOf` of every number, in place: four at a time, since each sum waits long for its own divisions. */
export function expsOf(xs: Float64Array): void {
  const n = xs.length
  for (let at = 0; at < n; at += 4) {
    const [x0, x1, x2, x3] = [xs[at] ?? 0, xs[at + 1] ?? 0, xs[at + 2] ?? 0, xs[at + 3] ?? 0]
    const [k0, k1, k2, k3] = [Math.floor(x0 / ln2 + 0.5), Math.floor(x1 / ln2 + 0.5), Math.floor(x2 / ln2 + 0.5), Math.floor(x3 / ln2 + 0.5)]
    const [r0, r1, r2, r3] = [x0 - k0 * ln2, x1 - k1 * ln2, x2 - k2 * ln2, x3 - k3 * ln2]
    let [s0, s1, s2, s3] = [1, 1, 1, 1]
    for (let i = 20; i >= 1; i--) {
      s0 = 1 + (r0 * s0) / i
      s1 = 1 + (r1 * s1) / i
      s2 = 1 + (r2 * s2) / i
      s3 = 1 + (r3 * s3) / i
    }
    // Places beyond the end are not written.
    xs[at] = s0 * (powers[k0 + 1022] ?? NaN)
    xs[at + 1] = s1 * (powers[k1 + 1022] ?? NaN)
    xs[at + 2] = s2 * (powers[k2 + 1022] ?? NaN)
    xs[at + 3] = s3 * (powers[k3 + 1022] ?? NaN)
  }
}

/**
 * The x with P(N(0, 1) < x) = p, 0 < p < 1 (Wichura 1988, algorithm AS 241, relative error about 1e-16).
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q
    return (q * polynomial(centreTop, r)) / polynomial(centreBottom, r)
  }
  const r = Math.sqrt(-logOf(Math.min(Math.max(q < 0 ? p : 1 - p, 1 / bits / 2), 0.5)))
  const x = r <= 5
    ? polynomial(middleTop, r - 1.6) / polynomial(middleBottom, r - 1.6)
    : polynomial(tailTop, r - 5) / polynomial(tailBottom, r - 5)
  return q < 0 ? -x : x
}

/** Of eight coefficients. */
function polynomial(c: Float64Array, x: number): number {
  return (((((((c[0] ?? 0) * x + (c[1] ?? 0)) * x + (c[2] ?? 0)) * x + (c[3] ?? 0)) * x + (c[4] ?? 0)) * x + (c[5] ?? 0)) * x + (c[6] ?? 0)) * x + (c[7] ?? 0)
}

// Coefficients of AS 241, highest power first.
const centreTop = Float64Array.of(
  2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
  13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
)
const centreBottom = Float64Array.of(
  5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
  5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1,
)
const middleTop = Float64Array.of(
  7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
  3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734,
)
const middleBottom = Float64Array.of(
  1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
  0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1,
)
const tailTop = Float64Array.of(
  2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
  0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772,
)
const tailBottom = Float64Array.of(
  2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
  0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1,
)
