/** The main program of a generation, after the tables of its programs: `runtime/stages/decode.ts` in C. */
import { choice } from "./choice.ts"
import { cBytes, cReal, cText } from "./text.ts"

/** Prompts that are run together, by programs of their own. */
export interface GenerateGroup {
  /** Prompts. */
  readonly rows: number
  /** Tokens of a prompt that one call takes. */
  readonly tokens: number
  /** Places of the caches. */
  readonly capacity: number
  readonly prefill: string
  readonly step: string
  readonly caches: readonly GenerateCache[]
  /** How a model that answers reads texts first; null: it continues them. */
  readonly reading: GenerateReading | null
}

/** A program for texts of so many tokens; its outputs are states of the prefill and of the step. */
export interface GenerateReading { readonly program: string; readonly tokens: number; readonly states: readonly string[] }

/** A state that the step takes over from the prefill: [lines, places, inner] there, a ring of `ring` places here; `inner` in bytes. */
export interface GenerateCache { readonly name: string; readonly lines: number; readonly places: number; readonly ring: number; readonly inner: number }

export interface GenerateSettings {
  readonly name: string
  readonly groups: readonly GenerateGroup[]
  readonly prompts: readonly string[]
  /** What a prompt stands between: how the model has seen questions. */
  readonly before: string
  readonly after: string
  readonly isChat: boolean
  readonly vocab: number
  /** null: nothing bounds it. */
  readonly context: number | null
  readonly tokens: number
  readonly temperature: number
  readonly topK: number | null
  readonly topP: number | null
  readonly seed: number
  readonly stop: readonly string[]
  readonly stopIds: readonly number[]
  /** Of the random numbers. */
  readonly stream: number
}

const bytes = (text: string): number => new TextEncoder().encode(text).length

export function renderGenerateMain(s: GenerateSettings): string {
  const lists = s.groups.map((group, i) => `static const cache caches_${i}[] = {${[...group.caches.map(({ name, lines, places, ring, inner }) => `{${cText(name)}, ${lines}L, ${places}L, ${ring}L, ${inner}L}`), "{0}"].join(", ")}};`)
  const states = s.groups.map(({ reading }, i) => `static const char *const states_${i}[] = {${[...(reading?.states ?? []).map(cText), "0"].join(", ")}};`)
  const groups = s.groups.map((g, i) => `  {${g.rows}, ${g.tokens}, ${g.capacity}, &${g.prefill}_code, &${g.step}_code, caches_${i}, ${g.reading === null ? "0, 0" : `${g.reading.tokens}, &${g.reading.program}_code`}, states_${i}},`)
  return `
/* ---- the stage */
#include "tokenizer.h"
#define VOCAB ${s.vocab}L
#define CONTEXT ${s.context ?? "LONG_MAX"} /* tokens the model can look at */
#define STREAM ${s.stream >>> 0}u
#define IS_CHAT ${s.isChat ? 1 : 0}
${cBytes("before_prompt", new TextEncoder().encode(s.before))}
${cBytes("after_prompt", new TextEncoder().encode(s.after))}
static const struct { const char *text; size_t bytes; } given_prompts[] = {${s.prompts.map((text) => `{${cText(text)}, ${bytes(text)}}, `).join("")}{0, 0}};
static const char *const given_stops[] = {${[...s.stop.map(cText), "0"].join(", ")}};
static const int32_t stop_ids[] = {${[...s.stopIds, -1].join(", ")}};
static const double given_tokens = ${cReal(s.tokens)}, given_temperature = ${cReal(s.temperature)}, given_top_k = ${cReal(s.topK ?? -1)}, given_top_p = ${cReal(s.topP ?? -1)}, given_seed = ${cReal(s.seed)};

/* Keys, values and segments of earlier tokens: [lines, places, inner] bytes while prompts are read; then a ring, where place p holds the last token whose number is p modulo the ring. */
typedef struct { const char *name; long lines, places, ring, inner; } cache;
/* Prompts that run together: rows, tokens of a prompt in one call, places of the caches. A model that answers reads texts of so many tokens first, and what it makes of them are states. */
typedef struct { long rows, tokens, capacity; code *prefill, *step; const cache *caches; long read_tokens; code *read; const char *const *states; } group;
${[...lists, ...states].join("\n")}
static const group groups[] = {
${groups.join("\n")}
};
#define GROUPS ${s.groups.length}
#define MOST_ROWS ${Math.max(...s.groups.map((g) => g.rows))}
${choice}
${writing}`
}

const writing = String.raw`#include <limits.h>

typedef struct { sampling how; long tokens; const char *const *stops; } asked;
typedef enum { GOES_ON, AT_STOP, AT_LENGTH, AT_CONTEXT } ending;
typedef struct { id_list text, prompt, made; ending end; const char *shown; size_t shown_bytes; } row;

/* ---- rows of texts */

/* Where the first stop text begins, or the end. */
static size_t stop_in(const char *text, size_t bytes, const char *const *stops) {
  size_t first = bytes;
  for (; *stops; stops++) {
    const size_t n = strlen(*stops);
    for (size_t at = 0; n && at + n <= bytes && at < first; at++) if (!memcmp(text + at, *stops, n)) first = at;
  }
  return first;
}

static int stops_at(const row *r, const asked *s) {
  if (!*s->stops) return 0;
  size_t bytes;
  char *text = decode(r->made.ids, r->made.count, &bytes);
  const int found = stop_in(text, bytes, s->stops) < bytes;
  free(text);
  return found;
}

/* Adds a token to a row that goes on. */
static void choose(row *r, const float *logits, const asked *s, long number) {
  if (r->end != GOES_ON) return;
  static uint64_t keys[2 * VOCAB];
  static double weights[VOCAB + 16];
  const int32_t id = next_token(logits, VOCAB, &s->how, (uint32_t)number, (uint32_t)(r->prompt.count + r->made.count), (room){keys, weights});
  for (const int32_t *stop = stop_ids; *stop >= 0; stop++) if (id == *stop) { r->end = AT_STOP; return; }
  push_id(&r->made, id);
  if (stops_at(r, s)) r->end = AT_STOP;
  else if ((long)r->made.count >= s->tokens) r->end = AT_LENGTH;
  else if ((long)(r->prompt.count + r->made.count) >= CONTEXT) r->end = AT_CONTEXT;
}

/* Sets a batch input of the program where it has one: "width" numbers for each row. */
static int32_t *input(const code *c, const char *name) {
  const place *p = find_input(c, name);
  return p && !p->is_state ? numbers_of(c, p) : 0;
}
static void set(int32_t *numbers, long i, long x) { if (numbers) numbers[i] = (int32_t)x; }

static const float *logits_of(const code *c) {
  const float *logits = output(c, "logits");
  if (!logits) die("%s yields no logits", c->name);
  return logits;
}

static void run(code *c) { if (c->step(c->opened)) die("%s failed", c->name); }

/* A whole cache as it lies, or of each prompt the last places that a ring holds. */
static void hand_over(const cache *k, const char *from, char *to, long row_count, const row *rows) {
  if (k->ring == k->places) { memcpy(to, from, (size_t)(k->lines * k->places * k->inner)); return; }
  memset(to, 0, (size_t)(k->lines * k->ring * k->inner));
  for (long line = 0; line < k->lines; line++) {
    const long n = (long)rows[line * row_count / k->lines].prompt.count;
    for (long at = n > k->ring ? n - k->ring : 0; at < n; at++) memcpy(to + (line * k->ring + at % k->ring) * k->inner, from + (line * k->places + at) * k->inner, (size_t)k->inner);
  }
}

/* The bits of a number that is one of f16. */
static uint16_t half_of(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  const uint32_t sign = u >> 16 & 0x8000u, size = u & 0x7fffffffu;
  if (size >= 0x7f800000u) return (uint16_t)(sign | 0x7c00u | (size > 0x7f800000u ? 0x200u : 0));
  if (size >= 0x38800000u) return (uint16_t)(sign | (size - 0x38000000u) >> 13);
  return (uint16_t)(sign | (uint32_t)((x < 0 ? -x : x) * 16777216.0f)); /* whole multiples of 2^-24 */
}

/* Sets a state of the program where it has one, in the form in which it lies there. */
static void give(const code *c, const char *name, const void *made) {
  const place *p = find_input(c, name);
  if (!p) return;
  uint16_t *to = numbers_of(c, p);
  if (p->type == F16) for (long i = 0; i < p->count; i++) to[i] = half_of(((const float *)made)[i]);
  else if (p->type == BF16) for (long i = 0; i < p->count; i++) to[i] = (uint16_t)(((const uint32_t *)made)[i] >> 16);
  else memcpy(to, made, (size_t)bytes_of(p));
}

/* What a model makes of the texts that it answers. */
static void read_texts(const group *g, const row *rows) {
  code *c = g->read;
  int32_t *tokens = input(c, "read.tokens"), *positions = input(c, "read.positions"), *segments = input(c, "read.segments");
  for (long r = 0; r < g->rows; r++) for (long i = 0; i < g->read_tokens; i++) {
    const long n = (long)rows[r].text.count, at = r * g->read_tokens + i;
    set(tokens, at, i < n ? rows[r].text.ids[i] : 0);
    set(positions, at, i);
    set(segments, at, i < n ? 0 : -1);
  }
  run(c);
  for (const char *const *name = g->states; *name; name++) {
    const void *made = output(c, *name);
    give(g->prefill, *name, made);
    give(g->step, *name, made);
  }
}

/* Runs the prompts, a block of tokens at a time; each row's token comes from the logits after its last one. */
static void prefill(const group *g, row *rows, const asked *s, long first) {
  code *c = g->prefill;
  int32_t *tokens = input(c, "tokens"), *positions = input(c, "positions"), *segments = input(c, "segments"), *offset = input(c, "offset"), *last = input(c, "last");
  for (long i = 0; i < c->input_count; i++) for (const cache *k = g->caches; k->name; k++) if (!strcmp(c->inputs[i].name, k->name)) memset(numbers_of(c, &c->inputs[i]), 0, (size_t)bytes_of(&c->inputs[i]));
  long longest = 1;
  for (long r = 0; r < g->rows; r++) if ((long)rows[r].prompt.count > longest) longest = (long)rows[r].prompt.count;
  for (long done = 0; done < longest;) {
    const long from = done + g->tokens <= g->capacity ? done : g->capacity - g->tokens;
    for (long r = 0; r < g->rows; r++) {
      const long n = (long)rows[r].prompt.count;
      for (long i = 0; i < g->tokens; i++) {
        set(tokens, r * g->tokens + i, from + i < n ? rows[r].prompt.ids[from + i] : 0);
        set(positions, r * g->tokens + i, from + i);
        set(segments, r * g->tokens + i, from + i < n ? 0 : -1);
      }
      set(offset, r, from);
      set(last, r, n - 1 - from < 0 ? 0 : n - 1 - from < g->tokens ? n - 1 - from : g->tokens - 1);
    }
    run(c);
    for (long r = 0; r < g->rows; r++) {
      const long end = (long)rows[r].prompt.count - 1;
      if (end >= done && end < from + g->tokens) choose(&rows[r], logits_of(c) + r * VOCAB, s, first + r);
    }
    done = from + g->tokens;
  }
  for (const cache *k = g->caches; k->name; k++) {
    const place *p = find_input(c, k->name), *q = find_input(g->step, k->name);
    if (p && q) hand_over(k, numbers_of(c, p), numbers_of(g->step, q), g->rows, rows);
  }
}

/* One more token for each row. A row that has ended writes over its last place, which nobody reads. */
static void step(const group *g, row *rows, const asked *s, long first) {
  code *c = g->step;
  int32_t *tokens = input(c, "tokens"), *positions = input(c, "positions"), *segments = input(c, "segments"), *offset = input(c, "offset"), *last = input(c, "last");
  for (long r = 0; r < g->rows; r++) {
    const long at = (long)(rows[r].prompt.count + rows[r].made.count) - 1;
    set(tokens, r, rows[r].made.count ? rows[r].made.ids[rows[r].made.count - 1] : rows[r].prompt.ids[rows[r].prompt.count - 1]);
    set(positions, r, at);
    set(segments, r, 0);
    set(offset, r, at);
    set(last, r, 0);
  }
  run(c);
  for (long r = 0; r < g->rows; r++) choose(&rows[r], logits_of(c) + r * VOCAB, s, first + r);
}

static int goes_on(const row *rows, long n) {
  for (long r = 0; r < n; r++) if (rows[r].end == GOES_ON) return 1;
  return 0;
}

/* A text to continue; nothing is continued from the end of a text. Of one too long for the model the end is kept. A text to answer is read with its end, and an answer begins behind one. */
static void read_prompt(const group *g, row *r, const char *prompt, size_t bytes, const asked *s) {
  while (IS_CHAT && bytes && strchr(" \t\n\r", prompt[bytes - 1])) bytes--;
  while (IS_CHAT && bytes && strchr(" \t\n\r", *prompt)) { prompt++; bytes--; }
  char *whole = take(sizeof before_prompt + sizeof after_prompt + bytes);
  size_t n = 0;
  memcpy(whole, before_prompt, n = sizeof before_prompt - 1);
  memcpy(whole + n, prompt, bytes);
  memcpy(whole + (n += bytes), after_prompt, sizeof after_prompt - 1);
  encode(g->read ? &r->text : &r->prompt, whole, n + sizeof after_prompt - 1);
  free(whole);
  if (g->read) {
    push_id(&r->text, end_of_text);
    if ((long)r->text.count > g->read_tokens) die("this program reads texts of at most %ld tokens, and this one has %zu: give the recipe's stage a longer prompt", g->read_tokens, r->text.count);
  }
  if (!r->prompt.count) push_id(&r->prompt, end_of_text);
  if ((long)r->prompt.count >= CONTEXT) {
    const size_t kept = CONTEXT / 2 > 1 ? CONTEXT / 2 : 1;
    memmove(r->prompt.ids, r->prompt.ids + r->prompt.count - kept, kept * sizeof *r->prompt.ids);
    r->prompt.count = kept;
  }
  r->shown = prompt;
  r->shown_bytes = bytes;
  r->end = (long)r->prompt.count >= CONTEXT ? AT_CONTEXT : s->tokens == 0 ? AT_LENGTH : GOES_ON;
  const long needed = (long)r->prompt.count + s->tokens;
  if (r->end == GOES_ON && (needed < CONTEXT ? needed : CONTEXT) > g->capacity) die("this program has room for %ld tokens, and the prompt with its answer takes %ld: ask for fewer --tokens, or give the recipe's stage more", g->capacity, needed);
}

static void write_row(const row *r, const asked *s) {
  size_t bytes;
  char *text = decode(r->made.ids, r->made.count, &bytes);
  if (!IS_CHAT && !r->text.count) fwrite(r->shown, 1, r->shown_bytes, stdout);
  fwrite(text, 1, stop_in(text, bytes, s->stops), stdout);
  putchar('\n');
  free(text);
}

/* Prompts number first, first + 1, ... of all. */
static void write_group(const group *g, const char **prompts, const size_t *lengths, long count, const asked *s, long first) {
  row rows[MOST_ROWS] = {{{0}, {0}, {0}, GOES_ON, 0, 0}};
  for (long r = 0; r < g->rows; r++) {
    if (r < count) { read_prompt(g, &rows[r], prompts[r], lengths[r], s); continue; }
    push_id(&rows[r].text, end_of_text);
    push_id(&rows[r].prompt, end_of_text);
    rows[r].end = AT_LENGTH;
  }
  if (g->read && goes_on(rows, g->rows)) read_texts(g, rows);
  if (goes_on(rows, g->rows)) prefill(g, rows, s, first);
  while (goes_on(rows, g->rows)) step(g, rows, s, first);
  for (long r = 0; r < count; r++) write_row(&rows[r], s);
  for (long r = 0; r < g->rows; r++) { free(rows[r].text.ids); free(rows[r].prompt.ids); free(rows[r].made.ids); }
}

static const char usage[] = "generate [--prompt TEXT]... [--tokens N] [--temperature T] [--top-k K] [--top-p P] [--stop TEXT]... [--seed N] [--threads N] [--weights weights.safetensors]\n";

int main(int argc, char **argv) {
  static const char *const names[] = {"--prompt", "--tokens", "--temperature", "--top-k", "--top-p", "--stop", "--seed", "--threads", "--weights", 0};
  check_options(argc, argv, names, usage);
  const long threads = (long)number_option(argc, argv, "--threads", (double)cores_available());
  const char *path = option(argc, argv, "--weights", 0), **stops = take(((size_t)argc + 1) * sizeof *stops), **prompts = take(((size_t)argc + 1) * sizeof *prompts);
  size_t *lengths = take(((size_t)argc + 1) * sizeof *lengths);
  long count = 0;
  int next = 0, stop_count = 0;
  for (const char *text; (text = option(argc, argv, "--stop", &next));) stops[stop_count++] = text;
  next = 0;
  for (const char *text; (text = option(argc, argv, "--prompt", &next)); count++) { prompts[count] = text; lengths[count] = strlen(text); }
  const asked s = {
    .how = {
      .temperature = number_option(argc, argv, "--temperature", given_temperature), .top_p = number_option(argc, argv, "--top-p", given_top_p),
      .top_k = (long)number_option(argc, argv, "--top-k", given_top_k), .seed = (uint32_t)(int64_t)number_option(argc, argv, "--seed", given_seed), .stream = STREAM,
    },
    .tokens = (long)number_option(argc, argv, "--tokens", given_tokens), .stops = stop_count ? stops : given_stops,
  };
  container weights = read_container(path ? path : "weights.safetensors");
  for (code *const *c = codes; *c; c++) {
    open_code(*c, threads);
    for (long i = 0; i < (*c)->input_count; i++) {
      const place *p = &(*c)->inputs[i];
      int is_made = 0; /* by a program */
      for (long k = 0; k < GROUPS; k++) {
        for (const cache *of = groups[k].caches; of->name; of++) is_made |= !strcmp(p->name, of->name);
        for (const char *const *of = groups[k].states; *of; of++) is_made |= !strcmp(p->name, *of);
      }
      if (p->is_state && !is_made && !find_state(&weights, p->name)) die("%s lacks %s", weights.path, p->name);
    }
    load_states(*c, &weights, 1);
  }
  free_container(&weights);
  if (count) for (long first = 0; first < count; first += groups[GROUPS - 1].rows) {
    const group *g = &groups[GROUPS - 1];
    write_group(g, prompts + first, lengths + first, count - first < g->rows ? count - first : g->rows, &s, first);
  } else {
    long first = 0;
    for (long k = 0; k < GROUPS; first += groups[k++].rows) {
      const char *texts[MOST_ROWS];
      size_t sizes[MOST_ROWS];
      for (long r = 0; r < groups[k].rows; r++) { texts[r] = given_prompts[first + r].text; sizes[r] = given_prompts[first + r].bytes; }
      write_group(&groups[k], texts, sizes, groups[k].rows, &s, first);
    }
  }
  for (code *const *c = codes; *c; c++) close_code(*c);
  free(stops);
  free(prompts);
  free(lengths);
  return 0;
}
`
