/** A tokenizer as C: tables of its entries, and the functions that cut, merge and spell. */
import { cBytes, cNumbers, cText } from "./text.ts"

/** Everything an encoder knows. */
export interface TokenizerTables {
  /** `bpe`: words are cut as GPT-2 does and merged; `byte`: one token a byte; `char`: one token a character. */
  readonly kind: "byte" | "char" | "bpe"
  /** The bytes of each id. */
  readonly tokens: readonly Uint8Array[]
  readonly special: readonly { readonly text: string; readonly id: number }[]
  readonly endOfText: number
  /** `char`: the id of what has no entry. */
  readonly unknown: number | null
  /** The id of each byte, -1 where there is none. */
  readonly bytes: readonly number[]
  /** left, right, merged: the earlier ones first. */
  readonly merges: readonly (readonly [number, number, number])[]
}

export const tokenizerHeader = `/* tokenizer.h: text to numbers and back. */
#ifndef TOKENIZER_H
#define TOKENIZER_H
#include <stddef.h>
#include <stdint.h>

extern const int32_t end_of_text;
typedef struct { int32_t *ids; size_t count, room; } id_list;
void push_id(id_list *list, int32_t id);
/* UTF-8; special tokens that are written in the text are taken as such. */
void encode(id_list *to, const char *text, size_t bytes);
/* A new text of so many bytes: what is not UTF-8 becomes U+FFFD. */
char *decode(const int32_t *ids, size_t count, size_t *bytes);
#endif
`

export function tokenizerFile(t: TokenizerTables): string {
  const offsets = [0]
  for (const token of t.tokens) offsets.push((offsets.at(-1) ?? 0) + token.length)
  const all = new Uint8Array(offsets.at(-1) ?? 0)
  t.tokens.forEach((token, i) => all.set(token, offsets[i] ?? 0))
  // The longest first: of several that begin at one place it is the one.
  const special = [...t.special].sort((a, b) => b.text.length - a.text.length)
  return [
    `/* tokenizer.c: ${t.tokens.length} entries (${t.kind}); see tokenizer.h. */`,
    "#include \"tokenizer.h\"", "#include \"slm.h\"", "#include <stdlib.h>", "#include <string.h>", "",
    `const int32_t end_of_text = ${t.endOfText};`,
    `#define ENTRIES ${t.tokens.length}`,
    cBytes("token_text", all), cNumbers("token_at", "uint32_t", offsets),
    `static const struct { const char *text; size_t bytes; int32_t id; } special[] = {${special.map(({ text, id }) => `{${cText(text)}, ${new TextEncoder().encode(text).length}, ${id}}, `).join("")}{0, 0, 0}};`,
    common, t.kind === "char" ? characters(t) : byteLevel(t), special.length > 0 ? encoding : plainEncoding,
  ].join("\n")
}

function characters({ tokens, special, unknown }: TokenizerTables): string {
  const control = new Set(special.map(({ id }) => id))
  const points = tokens.flatMap((bytes, id) => {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
    const point = text.codePointAt(0)
    return control.has(id) || point === undefined || String.fromCodePoint(point) !== text ? [] : [[point, id] as const]
  }).sort(([a], [b]) => a - b)
  return [
    cNumbers("points", "uint32_t", points.map(([point]) => point)), cNumbers("point_ids", "int32_t", points.map(([, id]) => id)),
    `#define POINTS ${points.length}`, `#define UNKNOWN ${unknown ?? 0}`, characterEncoding,
  ].join("\n")
}

function byteLevel({ kind, bytes, merges }: TokenizerTables): string {
  const ranked = merges.map(([a, b, made], rank) => ({ a, b, made, rank })).sort((x, y) => x.a - y.a || x.b - y.b || x.rank - y.rank)
  const first = ranked.filter((merge, i) => merge.a !== ranked[i - 1]?.a || merge.b !== ranked[i - 1]?.b)
  const lines: string[] = []
  for (let i = 0; i < first.length; i += 6) lines.push(`  ${first.slice(i, i + 6).map(({ a, b, made, rank }) => `{${a}, ${b}, ${made}, ${rank}}`).join(", ")},`)
  return [
    cNumbers("byte_ids", "int32_t", bytes),
    "/* left, right, what they make, rank: sorted by left and right */",
    `static const struct { int32_t left, right, made, rank; } merges[] = {\n${lines.join("\n")}\n  {-1, -1, -1, -1}};`,
    `static const size_t merge_count = ${first.length};`, mergeEncoding, kind === "bpe" ? wordEncoding() : wholeEncoding,
  ].join("\n")
}

/** Runs of code points that a test holds for. */
function rangesOf(test: (text: string) => boolean): [number, number][] {
  const ranges: [number, number][] = []
  for (let point = 0; point < 0x110000; point++) {
    if (point === 0xd800) point = 0xe000
    if (!test(String.fromCodePoint(point))) continue
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === point - 1) last[1] = point
    else ranges.push([point, point])
  }
  return ranges
}

/** Letters, numbers and white space as the Unicode of this compiler has them: the same as its own expressions. */
function wordEncoding(): string {
  const classes = [[1, /^\p{L}$/u], [2, /^\p{N}$/u], [3, /^\p{White_Space}$/u]] as const
  const ranges = classes.flatMap(([number, pattern]) => rangesOf((text) => pattern.test(text)).map(([low, high]) => [low, high, number] as const)).sort(([a], [b]) => a - b)
  const lines: string[] = []
  for (let i = 0; i < ranges.length; i += 8) lines.push(`  ${ranges.slice(i, i + 8).map((range) => `{${range.join(", ")}}`).join(", ")},`)
  return `/* letters (1), numbers (2) and white space (3) of Unicode; everything else is 0 */
static const struct { uint32_t low, high; int of; } classes[] = {\n${lines.join("\n")}\n};
#define CLASSES ${ranges.length}\n${words}`
}

const common = String.raw`
void push_id(id_list *list, int32_t id) {
  if (list->count == list->room) {
    list->room = list->room ? 2 * list->room : 64;
    list->ids = realloc(list->ids, list->room * sizeof *list->ids);
    if (!list->ids) die("there is no memory for %zu tokens", list->room);
  }
  list->ids[list->count++] = id;
}

/* The bytes of the next character of UTF-8, and whether it is one; of a broken one the longest beginning that could be one. */
static size_t character(const unsigned char *p, size_t left, uint32_t *point) {
  const unsigned char c = p[0];
  const size_t wanted = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  *point = 0xfffd;
  if (!wanted) return 1;
  uint32_t x = wanted == 1 ? c : c & (0x7fu >> wanted);
  for (size_t i = 1; i < wanted; i++) {
    const unsigned char low = i == 1 && c == 0xe0 ? 0xa0 : i == 1 && c == 0xf0 ? 0x90 : 0x80, high = i == 1 && c == 0xed ? 0x9f : i == 1 && c == 0xf4 ? 0x8f : 0xbf;
    if (i >= left || p[i] < low || p[i] > high) return i;
    x = x << 6 | (p[i] & 63);
  }
  *point = x;
  return wanted;
}

char *decode(const int32_t *ids, size_t count, size_t *length_of) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++) if (ids[i] >= 0 && ids[i] < ENTRIES) bytes += token_at[ids[i] + 1] - token_at[ids[i]];
  unsigned char *raw = take(bytes + 1);
  char *out = take(3 * bytes + 1);
  size_t n = 0, to = 0;
  for (size_t i = 0; i < count; i++) if (ids[i] >= 0 && ids[i] < ENTRIES) {
    memcpy(raw + n, token_text + token_at[ids[i]], token_at[ids[i] + 1] - token_at[ids[i]]);
    n += token_at[ids[i] + 1] - token_at[ids[i]];
  }
  for (size_t at = 0; at < n;) {
    uint32_t point;
    const size_t length = character(raw + at, n - at, &point);
    const int fine = point != 0xfffd || (length == 3 && raw[at] == 0xef && raw[at + 1] == 0xbf && raw[at + 2] == 0xbd);
    memcpy(out + to, fine ? (const char *)raw + at : "\xef\xbf\xbd", fine ? length : 3);
    to += fine ? length : 3;
    at += length;
  }
  free(raw);
  *length_of = to;
  return out;
}
`

const characterEncoding = String.raw`
static void encode_plain(id_list *to, const char *text, size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    uint32_t point;
    at += character((const unsigned char *)text + at, bytes - at, &point);
    size_t low = 0, high = POINTS;
    while (low < high) { const size_t middle = (low + high) / 2; if (points[middle] < point) low = middle + 1; else high = middle; }
    push_id(to, low < POINTS && points[low] == point ? point_ids[low] : UNKNOWN);
  }
}
`

const mergeEncoding = String.raw`
/* The place of a merge in the table, or merge_count. */
static size_t merge_of(int32_t left, int32_t right) {
  size_t low = 0, high = merge_count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (merges[middle].left < left || (merges[middle].left == left && merges[middle].right < right)) low = middle + 1; else high = middle;
  }
  return low < merge_count && merges[low].left == left && merges[low].right == right ? low : merge_count;
}

/* Applies the merge of smallest rank, the leftmost of equals, until none applies. */
static void encode_word(id_list *to, const char *word, size_t bytes) {
  const size_t first = to->count;
  for (size_t i = 0; i < bytes; i++) { const int32_t id = byte_ids[(unsigned char)word[i]]; if (id >= 0) push_id(to, id); }
  for (;;) {
    size_t best = merge_count, place = 0;
    for (size_t i = first; i + 1 < to->count; i++) {
      const size_t m = merge_of(to->ids[i], to->ids[i + 1]);
      if (m < merge_count && (best == merge_count || merges[m].rank < merges[best].rank)) { best = m; place = i; }
    }
    if (best == merge_count) return;
    to->ids[place] = merges[best].made;
    memmove(to->ids + place + 1, to->ids + place + 2, (to->count - place - 2) * sizeof *to->ids);
    to->count--;
  }
}
`

const wholeEncoding = `
static void encode_plain(id_list *to, const char *text, size_t bytes) { encode_word(to, text, bytes); }
`

const words = String.raw`
static int class_of(uint32_t point) {
  size_t low = 0, high = CLASSES;
  while (low < high) { const size_t middle = (low + high) / 2; if (classes[middle].high < point) low = middle + 1; else high = middle; }
  return low < CLASSES && classes[low].low <= point ? classes[low].of : 0;
}

/* Where the run of one class that begins here ends. */
static size_t run_of(const char *text, size_t at, size_t bytes, int of) {
  while (at < bytes) {
    uint32_t point;
    const size_t length = character((const unsigned char *)text + at, bytes - at, &point);
    if (class_of(point) != of) break;
    at += length;
  }
  return at;
}

/* The words of GPT-2 (Radford et al., 2019): 's 't 're 've 'm 'll 'd, letters, numbers, others (each with one blank before), white space. */
static size_t word_end(const char *text, size_t at, size_t bytes) {
  static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  for (size_t i = 0; i < 7; i++) if (bytes - at >= strlen(endings[i]) && !memcmp(text + at, endings[i], strlen(endings[i]))) return at + strlen(endings[i]);
  const size_t start = text[at] == ' ' ? at + 1 : at;
  uint32_t point;
  if (start < bytes) {
    character((const unsigned char *)text + start, bytes - start, &point);
    const int of = class_of(point);
    if (of != 3) return run_of(text, start, bytes, of);
  }
  const size_t end = run_of(text, at, bytes, 3);
  if (end >= bytes) return end;
  size_t last = end;
  do last--; while (last > at && ((unsigned char)text[last] & 0xc0) == 0x80);
  return last > at ? last : end; /* the last blank belongs to the word that follows */
}

static void encode_plain(id_list *to, const char *text, size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    const size_t end = word_end(text, at, bytes);
    encode_word(to, text + at, end - at);
    at = end;
  }
}
`

const encoding = String.raw`
void encode(id_list *to, const char *text, size_t bytes) {
  size_t from = 0;
  for (size_t at = 0; at < bytes;) {
    size_t s = 0;
    while (special[s].text && (bytes - at < special[s].bytes || memcmp(text + at, special[s].text, special[s].bytes))) s++;
    if (!special[s].text) { at++; continue; }
    encode_plain(to, text + from, at - from);
    push_id(to, special[s].id);
    from = at += special[s].bytes;
  }
  encode_plain(to, text + from, bytes - from);
}
`

const plainEncoding = `
void encode(id_list *to, const char *text, size_t bytes) { encode_plain(to, text, bytes); }
`
