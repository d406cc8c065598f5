/** `runtime/stages/sample.ts` in C: the choice of a token, of the same bits; and the loop that goes from token to token without leaving C. */

/** Threefry-2x32 as everywhere; `linkage` stands before its one function that others may call. */
export const randomBits = (linkage: string): string => String.raw`/* ---- Threefry-2x32 with 20 rounds (Salmon et al. 2011): a number is a function of its place alone */

static void threefry(uint32_t out[2], uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1) {
  static const int turns[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const uint32_t keys[3] = {k0, k1, 0x1bd11bdau ^ k0 ^ k1};
  uint32_t x = c0 + k0, y = c1 + k1;
  for (uint32_t group = 0; group < 5; group++) {
    for (int i = 0; i < 4; i++) { const int by = turns[(group & 1) * 4 + (uint32_t)i]; x += y; y = (y << by | y >> (32 - by)) ^ x; }
    x += keys[(group + 1) % 3];
    y += keys[(group + 2) % 3] + group + 1;
  }
  out[0] = x;
  out[1] = y;
}

${linkage}uint32_t random_bits(uint32_t seed, uint32_t stream, uint32_t step, uint32_t row, uint32_t element) {
  uint32_t key[2], out[2];
  threefry(key, seed, stream, step, row);
  threefry(out, key[0], key[1], element >> 1, 0);
  return out[element & 1];
}
`

/** `next_token`; needs `random_bits`, stdint.h, stdlib.h and string.h. */
export const choice = String.raw`/* ---- the choice of a token, in f64 and in arithmetic that is the same everywhere */

/* Where top_k or top_p is negative nothing is cut off. */
typedef struct { double temperature, top_p; long top_k; uint32_t seed, stream; } sampling;
/* What the choice works on: twice as many keys as there are logits, and weights in whole sixteens of them. */
typedef struct { uint64_t *keys; double *weights; } room;

typedef double doubles __attribute__((vector_size(64)));
typedef int64_t wholes __attribute__((vector_size(64)));

/* e^x of sixteen numbers in place, 0 for those that are not above -700: x = k ln 2 + r, a series for e^r, then exact scaling. They go side by side, as each waits for its own divisions. */
static void exp_sixteen(double *at) {
  const double ln2 = 0.6931471805599453;
  doubles x[2], r[2], sum = {0}, other = {0};
  wholes k[2];
  memcpy(x, at, sizeof x);
  for (int i = 0; i < 2; i++) {
    const doubles scaled = (doubles)((wholes)x[i] & (x[i] > -700)) / ln2 + 0.5;
    k[i] = __builtin_convertvector(scaled, wholes);
    k[i] += __builtin_convertvector(k[i], doubles) > scaled;
    r[i] = (doubles)((wholes)x[i] & (x[i] > -700)) - __builtin_convertvector(k[i], doubles) * ln2;
  }
  sum += 1;
  other += 1;
  for (int n = 20; n >= 1; n--) {
    sum = 1 + (r[0] * sum) / n;
    other = 1 + (r[1] * other) / n;
  }
  const doubles powers[2] = {sum * (doubles)((k[0] + 1023) << 52), other * (doubles)((k[1] + 1023) << 52)};
  for (int i = 0; i < 2; i++) x[i] = (doubles)((wholes)powers[i] & (x[i] > -700));
  memcpy(at, x, sizeof x);
}

/* Sorts n keys by their upper 32 bits, digit by digit; equal ones stay in their order. The result lies where the keys were. */
static void sort_keys(uint64_t *keys, long n) {
  uint32_t starts[4][256] = {0};
  for (long i = 0; i < n; i++) for (int digit = 0; digit < 4; digit++) starts[digit][keys[i] >> (32 + 8 * digit) & 255]++;
  uint64_t *from = keys, *to = keys + n;
  for (int digit = 0; digit < 4; digit++) {
    uint32_t sum = 0;
    for (int i = 0; i < 256; i++) { const uint32_t count = starts[digit][i]; starts[digit][i] = sum; sum += count; }
    for (long i = 0; i < n; i++) to[starts[digit][from[i] >> (32 + 8 * digit) & 255]++] = from[i];
    uint64_t *const last = from;
    from = to;
    to = last;
  }
}

/* The token after "position" tokens of prompt number "prompt". Equal logits: the smaller id comes first. */
static int32_t next_token(const float *logits, long vocab, const sampling *s, uint32_t prompt, uint32_t position, room at) {
  long best = 0;
  for (long i = 1; i < vocab; i++) if (logits[i] > logits[best]) best = i;
  if (s->temperature == 0) return (int32_t)best;
  /* Patterns of negative numbers grow downwards. */
  for (long i = 0; i < vocab; i++) {
    uint32_t bits;
    memcpy(&bits, logits + i, sizeof bits);
    at.keys[i] = (uint64_t)(0x80000000u + (bits >> 31 ? bits & 0x7fffffffu : -bits)) << 32 | (uint64_t)i;
  }
  sort_keys(at.keys, vocab);
  long n = s->top_k < 0 || s->top_k > vocab ? vocab : s->top_k < 1 ? 1 : s->top_k;
  double total = 0;
  for (long i = 0; i < n; i++) at.weights[i] = ((double)logits[(uint32_t)at.keys[i]] - (double)logits[best]) / s->temperature;
  for (long i = n; i % 16; i++) at.weights[i] = 0;
  for (long i = 0; i < n; i += 16) exp_sixteen(at.weights + i);
  for (long i = 0; i < n; i++) total += at.weights[i];
  if (s->top_p >= 0) {
    const double goal = s->top_p * total;
    long kept = 0;
    total = 0;
    while (kept < n) { total += at.weights[kept++]; if (total >= goal) break; }
    n = kept;
  }
  const double goal = (random_bits(s->seed, s->stream, position, prompt, 0) >> 8) * 0x1p-24 * total;
  double sum = 0;
  for (long i = 0; i < n; i++) { sum += at.weights[i]; if (sum > goal) return (int32_t)at.keys[i]; }
  return (int32_t)at.keys[0];
}
`

/** A library of one function, `slm_continue`, for programs of one token for each of some rows. */
export const continuation = String.raw`/* Generated by slm: texts go on for several tokens in one call. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

${randomBits("static ")}
${choice}
/* ---- from token to token */

/* Where a program has what it reads and yields: bytes from the start of its arena, -1 where it has no such input. */
typedef struct { double tokens, positions, offset, segments, last, logits; } places;
/* Rows, logits of a row, steps and seconds at most, tokens that end a text, and how one is chosen. */
typedef struct { double rows, vocab, most, seconds, stops, temperature, top_k, top_p, seed, stream; places at; } task;
/* A text: its last token, how many it has, the number of its prompt, and whether it is over; then it stays where it is. */
typedef struct { int32_t token, position, prompt, over; } row;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }
static void set(char *arena, double place, long r, int32_t x) { if (place >= 0) ((int32_t *)(arena + (long)place))[r] = x; }

static int ends(const int32_t *stops, long count, int32_t id) {
  for (long i = 0; i < count; i++) if (stops[i] == id) return 1;
  return 0;
}

/* Tokens in order of steps, for each row one (-1 if it is over), in "out"; returns the number of steps, -1 if one failed. At least one is made; none after every text is over. */
long slm_continue(void *step, void *program, char *arena, const task *t, row *rows, const int32_t *stops, int32_t *out) {
  const long count = (long)t->rows, vocab = (long)t->vocab;
  const sampling s = {t->temperature, t->top_p, (long)t->top_k, (uint32_t)(int64_t)t->seed, (uint32_t)(int64_t)t->stream};
  const room at = {malloc(2 * (size_t)vocab * sizeof(uint64_t)), malloc((size_t)(vocab + 16) * sizeof(double))};
  const double end = now() + t->seconds;
  long made = at.keys && at.weights ? 0 : -1;
  for (int goes_on = made == 0; goes_on;) {
    for (long r = 0; r < count; r++) {
      set(arena, t->at.tokens, r, rows[r].token);
      set(arena, t->at.positions, r, rows[r].position - 1);
      set(arena, t->at.offset, r, rows[r].position - 1);
      set(arena, t->at.segments, r, 0);
      set(arena, t->at.last, r, 0);
    }
    if (((int (*)(void *))step)(program)) { made = -1; break; }
    const float *logits = (const float *)(arena + (long)t->at.logits);
    goes_on = 0;
    for (long r = 0; r < count; r++) {
      out[made * count + r] = -1;
      if (rows[r].over) continue;
      const int32_t id = next_token(logits + r * vocab, vocab, &s, (uint32_t)rows[r].prompt, (uint32_t)rows[r].position, at);
      out[made * count + r] = rows[r].token = id;
      rows[r].position++;
      rows[r].over = ends(stops, (long)t->stops, id);
      goes_on |= !rows[r].over;
    }
    made++;
    goes_on = goes_on && made < (long)t->most && now() < end;
  }
  free(at.keys);
  free(at.weights);
  return made;
}
`
