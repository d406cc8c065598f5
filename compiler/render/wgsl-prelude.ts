/**
 * Functions that shaders use, each with those it needs. WGSL leaves the precision of its own exp, log, sin and tanh open, allows infinities to
 * be ignored and sums to be reordered; what matters is written out here with exact steps (bits, `round`, `floor`) where the C program
 * relies on the order of operations.
 */
interface Chunk { readonly text: string; readonly needs: readonly string[] }

const chunk = (text: string, ...needs: readonly string[]): Chunk => ({ text, needs })

const chunks: Readonly<Record<string, Chunk>> = {
  inf: chunk("// Infinities are no constants in WGSL.\nvar<private> inf_bits: u32 = 0x7f800000u;\nfn inf() -> f32 { return bitcast<f32>(inf_bits); }"),
  nan: chunk("var<private> nan_bits: u32 = 0x7fc00000u;\nfn nan() -> f32 { return bitcast<f32>(nan_bits); }"),
  is_nan: chunk("fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }"),
  is_inf: chunk("fn is_inf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }"),
  max_f32: chunk("// Not a number if either is not.\nfn max_f32(a: f32, b: f32) -> f32 { return select(b, a, a > b || is_nan(a)); }", "is_nan"),
  min_f32: chunk("fn min_f32(a: f32, b: f32) -> f32 { return select(b, a, a < b || is_nan(a)); }", "is_nan"),
  sign_f32: chunk("fn sign_f32(x: f32) -> f32 { return select(select(0.0, -1.0, x < 0.0), 1.0, x > 0.0); }"),
  rsqrt_f32: chunk("fn rsqrt_f32(x: f32) -> f32 { return 1.0 / sqrt(x); }"),
  power_of_two: chunk("fn power_of_two(n: i32) -> f32 { return bitcast<f32>(u32(n + 127) << 23u); }"),
  exp_f32: chunk(`// e^x = 2^n e^r with |r| <= ln 2 / 2; the polynomial is Cephes' (Moshier).
fn exp_f32(given: f32) -> f32 {
  if (is_nan(given)) { return given; }
  let x = clamp(given, -104.0, 89.0);
  let n = round(x * 1.44269504088896341);
  var r = (n * -0.693359375 + x);
  r = (n * 2.12194440e-4 + r);
  var p = 1.9875691500e-4;
  p = (p * r + 1.3981999507e-3);
  p = (p * r + 8.3334519073e-3);
  p = (p * r + 4.1665795894e-2);
  p = (p * r + 1.6666665459e-1);
  p = (p * r + 5.0000001201e-1);
  p = (p * r * r + r) + 1.0;
  let whole = i32(n);
  let half = whole >> 1u;
  return p * power_of_two(half) * power_of_two(whole - half);
}`, "is_nan", "power_of_two"),
  log_f32: chunk(`// x = 2^e m with m near 1; the polynomial is Cephes'.
fn log_f32(x: f32) -> f32 {
  if (is_nan(x) || x < 0.0) { return nan(); }
  if (x == 0.0) { return -inf(); }
  if (is_inf(x)) { return x; }
  let bits = bitcast<u32>(x);
  var e = i32((bits >> 23u) & 255u) - 126;
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
  if (m < 0.70710678118654752) { e -= 1; m = m + m - 1.0; } else { m = m - 1.0; }
  let z = m * m;
  var p = 7.0376836292e-2;
  p = (p * m + -1.1514610310e-1);
  p = (p * m + 1.1676998740e-1);
  p = (p * m + -1.2420140846e-1);
  p = (p * m + 1.4249322787e-1);
  p = (p * m + -1.6668057665e-1);
  p = (p * m + 2.0000714765e-1);
  p = (p * m + -2.4999993993e-1);
  p = (p * m + 3.3333331174e-1);
  let ef = f32(e);
  var y = (ef * -2.12194440e-4 + m * z * p);
  y = (z * -0.5 + y);
  return (ef * 0.693359375 + m + y);
}`, "inf", "nan", "is_nan", "is_inf"),
  tanh_f32: chunk(`// A quotient of polynomials, as in XLA and Eigen.
fn tanh_f32(given: f32) -> f32 {
  if (is_nan(given)) { return given; }
  let x = clamp(given, -7.90531110763549805, 7.90531110763549805);
  let z = x * x;
  var p = -2.76076847742355e-16;
  p = (p * z + 2.00018790482477e-13);
  p = (p * z + -8.60467152213735e-11);
  p = (p * z + 5.12229709037114e-08);
  p = (p * z + 1.48572235717979e-05);
  p = (p * z + 6.37261928875436e-04);
  p = (p * z + 4.89352455891786e-03);
  var q = 1.19825839466702e-06;
  q = (q * z + 1.18534705686654e-04);
  q = (q * z + 2.26843463243900e-03);
  q = (q * z + 4.89352518554385e-03);
  return select(x * p / q, x, abs(x) < 0.0004);
}`, "is_nan"),
  erf_f32: chunk(`fn erf_f32(given: f32) -> f32 {
  if (is_nan(given)) { return given; }
  let x = clamp(given, -4.0, 4.0);
  let z = x * x;
  var p = -2.72614225801306e-10;
  p = (p * z + 2.77068142495902e-08);
  p = (p * z + -2.10102402082508e-06);
  p = (p * z + -5.69250639462346e-05);
  p = (p * z + -7.34990630326855e-04);
  p = (p * z + -2.95459980854025e-03);
  p = (p * z + -1.60960333262415e-02);
  var q = -1.45660718464996e-05;
  q = (q * z + -2.13374055278905e-04);
  q = (q * z + -1.68282697438203e-03);
  q = (q * z + -7.37332916720468e-03);
  q = (q * z + -1.42647390514189e-02);
  return x * p / q;
}`, "is_nan"),
  sigmoid_f32: chunk("fn sigmoid_f32(x: f32) -> f32 { let e = exp_f32(-abs(x)); return select(1.0, e, x < 0.0) / (1.0 + e); }", "exp_f32"),
  sine_from: chunk(`// Quadrants of pi / 2 taken off in three parts (Cody, Waite), then Cephes' polynomials.
fn sine_from(x: f32, quarter: i32) -> f32 {
  let n = round(x * 0.636619772367581343);
  var r = (n * -1.5703125 + x);
  r = (n * -4.837512969970703125e-4 + r);
  r = (n * -7.54978995489188216e-8 + r);
  let quadrant = i32(n) + quarter;
  let z = r * r;
  var s = -1.9515295891e-4;
  s = (s * z + 8.3321608736e-3);
  s = (s * z + -1.6666654611e-1);
  s = (s * z * r + r);
  var c = 2.443315711809948e-5;
  c = (c * z + -1.388731625493765e-3);
  c = (c * z + 4.166664568298827e-2);
  c = (c * z * z + (z * -0.5 + 1.0));
  let y = select(s, c, (quadrant & 1) != 0);
  return select(y, -y, (quadrant & 2) != 0);
}`),
  sin_f32: chunk("fn sin_f32(x: f32) -> f32 { return sine_from(x, 0); }", "sine_from"),
  cos_f32: chunk("fn cos_f32(x: f32) -> f32 { return sine_from(x, 1); }", "sine_from"),
  pow_f32: chunk(`// e^(y log x) with the sign of odd powers; small whole powers by products.
fn pow_f32(x: f32, y: f32) -> f32 {
  if (y == 0.0) { return 1.0; }
  if (is_nan(x) || is_nan(y)) { return x + y; }
  let size = abs(y);
  let whole = floor(y) == y;
  let odd = whole && size < 16777216.0 && (i32(y) & 1) != 0;
  if (x < 0.0 && !whole) { return nan(); }
  let a = abs(x);
  var r = 1.0;
  if (a == 0.0 || is_inf(a)) { r = select(0.0, inf(), (a == 0.0) == (y < 0.0)); }
  else if (whole && size <= 16.0) {
    for (var i = 0; i < i32(size); i++) { r *= a; }
    if (y < 0.0) { r = 1.0 / r; }
  }
  else if (a != 1.0) { r = exp_f32(y * log_f32(a)); if (y * log_f32(a) > 88.7228) { r = inf(); } }
  return select(r, -r, x < 0.0 && odd);
}`, "inf", "nan", "is_nan", "is_inf", "exp_f32", "log_f32"),
  mod_f32: chunk("fn mod_f32(x: f32, y: f32) -> f32 { return x - floor(x / y) * y; }"),
  trunc_i32: chunk(`// Towards zero; not a number is 0, beyond the ends are the ends.
fn trunc_i32(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (x >= 2147483648.0) { return 2147483647; }
  if (x <= -2147483648.0) { return i32(-2147483648); }
  return i32(x);
}`, "is_nan"),
  div_i32: chunk(`// Rounded down; by zero 0.
fn div_i32(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  let q = a / b;
  return q - select(0, 1, a % b != 0 && (a < 0) != (b < 0));
}`),
  mod_i32: chunk(`fn mod_i32(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  let m = a % b;
  return select(m, m + b, m != 0 && (m < 0) != (b < 0));
}`),
  pow_i32: chunk("fn pow_i32(x: i32, y: i32) -> i32 { return trunc_i32(pow_f32(f32(x), f32(y))); }", "trunc_i32", "pow_f32"),
  narrow_bf16: chunk(`// To the nearest number of the format, ties to even, kept as f32.
fn narrow_bf16(x: f32) -> f32 {
  let u = bitcast<u32>(x);
  return select(bitcast<f32>((u + 0x7fffu + ((u >> 16u) & 1u)) & 0xffff0000u), x, is_nan(x));
}`, "is_nan"),
  narrow_f16: chunk(`fn narrow_f16(x: f32) -> f32 {
  let u = bitcast<u32>(x);
  let s = u & 0x80000000u;
  let a = u & 0x7fffffffu;
  if (a > 0x7f800000u) { return x; }
  if (a >= 0x477ff000u) { return bitcast<f32>(s | inf_bits); }
  // Below 2^-14 whole multiples of 2^-24.
  if (a < 0x38800000u) { return round(x * 16777216.0) * 5.9604644775390625e-8; }
  return bitcast<f32>(s | ((a + 0x0fffu + ((a >> 13u) & 1u)) & 0xffffe000u));
}`, "inf"),
  threefry: chunk(`// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw 2011).
fn threefry(k0: u32, k1: u32, c0: u32, c1: u32) -> vec2<u32> {
  let k2 = k0 ^ k1 ^ 0x1bd11bdau;
  var a = c0 + k0;
  var b = c1 + k1;
${threefryRounds()}
  return vec2<u32>(a, b);
}`),
  random_f32: chunk(`// Uniform in [0, 1) with 24 bits, a function of its arguments alone.
fn random_f32(seed: i32, stream: u32, step: i32, row: i32, element: i32) -> f32 {
  let key = threefry(bitcast<u32>(seed), stream, bitcast<u32>(step), bitcast<u32>(row));
  let pair = threefry(key.x, key.y, bitcast<u32>(element) >> 1u, 0u);
  return f32(select(pair.x, pair.y, (element & 1) != 0) >> 8u) * 5.9604644775390625e-8;
}`, "threefry"),
}

function threefryRounds(): string {
  const turns = [13, 15, 26, 6, 17, 29, 16, 24]
  const keys = ["k0", "k1", "k2"]
  return Array.from({ length: 5 }, (_, group) => {
    const rounds = turns.slice((group & 1) * 4, (group & 1) * 4 + 4).map((r) => `a += b; b = ((b << ${r}u) | (b >> ${32 - r}u)) ^ a;`)
    return `  ${rounds.join(" ")} a += ${keys[(group + 1) % 3]}; b += ${keys[(group + 2) % 3]} + ${group + 1}u;`
  }).join("\n")
}

/** The functions that a text calls, those first that others need. */
export function preludeFor(text: string): string {
  const wanted = new Set<string>()
  const want = (name: string): void => {
    if (wanted.has(name)) return
    for (const need of chunks[name]?.needs ?? []) want(need)
    wanted.add(name)
  }
  for (const name of Object.keys(chunks)) if (new RegExp(`\\b${name}\\(`).test(text)) want(name)
  return [...wanted].map((name) => `${chunks[name]?.text ?? ""}\n`).join("")
}
