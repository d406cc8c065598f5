/** Linear algebra in f64 for the host, row-major. Sizes are those of weights: thousands at most. */

/** The lower factor L of a = L L^T; null where `a` is not positive definite. */
export function cholesky(a: ArrayLike<number>, n: number): Float64Array | null {
  const l = new Float64Array(n * n)
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!
      else if (sum > 0) l[i * n + i] = Math.sqrt(sum)
      else return null
    }
  }
  return l
}

/** x of a x = b by elimination with row exchanges; null where `a` is singular. */
export function solve(a: ArrayLike<number>, b: ArrayLike<number>, n: number): Float64Array | null {
  const [m, x] = [Float64Array.from(a), Float64Array.from(b)]
  const k = n === 0 ? 0 : x.length / n
  for (let c = 0; c < n; c++) {
    const pivot = largest(m, n, c)
    if (m[pivot * n + c] === 0 || !Number.isFinite(m[pivot * n + c]!)) return null
    exchange(m, n, c, pivot)
    exchange(x, k, c, pivot)
    for (let r = c + 1; r < n; r++) {
      const factor = m[r * n + c]! / m[c * n + c]!
      if (factor === 0) continue
      for (let j = c; j < n; j++) m[r * n + j]! -= factor * m[c * n + j]!
      for (let j = 0; j < k; j++) x[r * k + j]! -= factor * x[c * k + j]!
    }
  }
  for (let r = n - 1; r >= 0; r--) {
    for (let j = 0; j < k; j++) {
      let sum = x[r * k + j]!
      for (let c = r + 1; c < n; c++) sum -= m[r * n + c]! * x[c * k + j]!
      x[r * k + j] = sum / m[r * n + r]!
    }
  }
  return x
}

/** The row from `c` on with the largest number in column c. */
function largest(m: Float64Array, n: number, c: number): number {
  let best = c
  for (let r = c + 1; r < n; r++) if (Math.abs(m[r * n + c]!) > Math.abs(m[best * n + c]!)) best = r
  return best
}

function exchange(m: Float64Array, width: number, i: number, j: number): void {
  if (i === j) return
  for (let c = 0; c < width; c++) {
    const x = m[i * width + c]!
    m[i * width + c] = m[j * width + c]!
    m[j * width + c] = x
  }
}

/** Each run of `width` numbers in ascending order. */
export function sorted(x: ArrayLike<number>, width: number): Float64Array {
  const out = Float64Array.from(x)
  for (let i = 0; i < out.length; i += width) out.subarray(i, i + width).sort()
  return out
}
