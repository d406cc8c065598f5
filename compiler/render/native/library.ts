/** What a C program needs beside its kernels: tensors in files, random bits, options and the cores it may use. libc and POSIX threads alone. */
import { randomBits } from "./choice.ts"

export const libraryHeader = String.raw`/* slm.h: tensors in files, states of programs, random bits, options. */
#ifndef SLM_H
#define SLM_H
#include <stddef.h>
#include <stdint.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are read and written as they lie in memory: this needs a little-endian machine"
#endif

/* ---- programs: one step of the graph, see the C file of each */
typedef struct program program;
typedef enum { F32, I32, BOOL, F16, BF16 } dtype; /* F16, BF16: f32 in two bytes */
/* A number array within a program's arena. */
typedef struct { const char *name; int is_state; dtype type; long offset, count; } place;
typedef struct {
  const char *name;
  program *(*open)(long threads);
  void *(*arena)(program *);
  int (*step)(program *);
  void (*close)(program *);
  const place *inputs, *outputs;
  long input_count, output_count;
  program *opened;
} code;

void open_code(code *c, long threads);
void close_code(code *c);
long bytes_of(const place *p);
const place *find_input(const code *c, const char *name);
const place *find_output(const code *c, const char *name);
/* The numbers of a place; the program is open. */
void *numbers_of(const code *c, const place *p);
float *output(const code *c, const char *name);

/* ---- safetensors */
typedef struct { char *name, type[8]; uint64_t rank, shape[16]; const char *data; size_t bytes; } tensor;
typedef struct { char *bytes; size_t size; tensor *tensors; size_t count; const char *path; } container;

container read_container(const char *path);
void free_container(container *c);
const tensor *find_tensor(const container *c, const char *name);
/* The tensor of a state: under its own name, or under that of a file of weights, "path#values". */
const tensor *find_state(const container *c, const char *name);
/* Sets every state of the program that the container has; dies where one is missing unless "some" is allowed to be. */
void load_states(const code *c, const container *from, int some);
/* Writes a whole file under another name first: it appears whole or not at all. */
typedef struct { const void *bytes; size_t count; } piece;
void write_pieces(const char *path, const piece *pieces, size_t count);

/* ---- the rest */
uint32_t random_bits(uint32_t seed, uint32_t stream, uint32_t step, uint32_t row, uint32_t element);
long cores_available(void);
/* The value after a name, or 0; "next" says where to go on, from 0. */
const char *option(int argc, char **argv, const char *name, int *next);
double number_option(int argc, char **argv, const char *name, double otherwise);
/* Dies at an argument that is none of the options. */
void check_options(int argc, char **argv, const char *const *names, const char *usage);
double seconds(void);
void *take(size_t bytes);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
`

export const librarySource = String.raw`/* slm.c: see slm.h. */
#define _GNU_SOURCE
#include "slm.h"
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fflush(stdout);
  fputs("error: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

void *take(size_t bytes) {
  void *p = calloc(bytes ? bytes : 1, 1);
  if (!p) die("there is no memory for %zu bytes", bytes);
  return p;
}

/* ---- programs */

void open_code(code *c, long threads) {
  c->opened = c->open(threads);
  if (!c->opened) die("there is no memory for the program %s", c->name);
}

void close_code(code *c) {
  if (c->opened) c->close(c->opened);
  c->opened = 0;
}

long bytes_of(const place *p) { return p->count * (p->type == BOOL ? 1 : p->type == F16 || p->type == BF16 ? 2 : 4); }

static const place *find(const place *list, long count, const char *name) {
  for (long i = 0; i < count; i++) if (!strcmp(list[i].name, name)) return &list[i];
  return 0;
}
const place *find_input(const code *c, const char *name) { return find(c->inputs, c->input_count, name); }
const place *find_output(const code *c, const char *name) { return find(c->outputs, c->output_count, name); }
void *numbers_of(const code *c, const place *p) { return (char *)c->arena(c->opened) + p->offset; }
float *output(const code *c, const char *name) {
  const place *p = find_output(c, name);
  return p ? numbers_of(c, p) : 0;
}

/* ---- safetensors: 8 bytes of length, a header in JSON, then the data. Nothing in a file is believed. */

typedef struct { const char *at, *end, *path; } reader;

static _Noreturn void damaged(const reader *r) { die("%s is not a safetensors file", r->path); }

static char peek(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) r->at++;
  return r->at < r->end ? *r->at : 0;
}
static int skip(reader *r, char c) {
  if (peek(r) != c) return 0;
  r->at++;
  return 1;
}
static void expect(reader *r, char c) { if (!skip(r, c)) damaged(r); }

static unsigned hex4(reader *r) {
  unsigned x = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    if (r->at >= r->end) damaged(r);
    const char c = *r->at;
    x = 16 * x + (c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : (damaged(r), 0));
  }
  return x;
}

static char *utf8(char *to, unsigned long x) {
  if (x < 0x80) *to++ = (char)x;
  else if (x < 0x800) { *to++ = (char)(0xc0 | x >> 6); *to++ = (char)(0x80 | (x & 63)); }
  else if (x < 0x10000) { *to++ = (char)(0xe0 | x >> 12); *to++ = (char)(0x80 | (x >> 6 & 63)); *to++ = (char)(0x80 | (x & 63)); }
  else { *to++ = (char)(0xf0 | x >> 18); *to++ = (char)(0x80 | (x >> 12 & 63)); *to++ = (char)(0x80 | (x >> 6 & 63)); *to++ = (char)(0x80 | (x & 63)); }
  return to;
}

/* A text in quotes; no form of it in JSON is shorter than in UTF-8. */
static char *text(reader *r) {
  expect(r, '"');
  const char *stop = r->at;
  while (stop < r->end && *stop != '"') stop += *stop == '\\' ? 2 : 1;
  if (stop >= r->end) damaged(r);
  char *out = take((size_t)(stop - r->at) + 1), *to = out;
  while (r->at < r->end && *r->at != '"') {
    if (*r->at != '\\') { *to++ = *r->at++; continue; }
    const char c = r->at[1];
    r->at += 2;
    if (c == 'u') {
      unsigned long x = hex4(r);
      if (x >= 0xd800 && x < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') { r->at += 2; x = 0x10000 + ((x - 0xd800) << 10) + (hex4(r) - 0xdc00); }
      to = utf8(to, x);
    } else *to++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
  }
  expect(r, '"');
  return out;
}

static uint64_t whole(reader *r) {
  if (peek(r) < '0' || *r->at > '9') damaged(r);
  uint64_t x = 0;
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
    if (x > UINT64_MAX / 16) damaged(r);
    x = 10 * x + (uint64_t)(*r->at++ - '0');
  }
  return x;
}

/* "__metadata__": texts by name. */
static void skip_metadata(reader *r) {
  expect(r, '{');
  if (skip(r, '}')) return;
  do { free(text(r)); expect(r, ':'); free(text(r)); } while (skip(r, ','));
  expect(r, '}');
}

static uint64_t width_of(const char *type) {
  static const struct { const char *name; uint64_t bytes; } widths[] = {{"F32", 4}, {"I32", 4}, {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"U16", 2}, {"I16", 2}, {"U8", 1}, {"I8", 1}, {"BOOL", 1}, {"F64", 8}, {"I64", 8}, {"U64", 8}};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) if (!strcmp(widths[i].name, type)) return widths[i].bytes;
  return 0;
}

static tensor entry(reader *r, const char *data, size_t bytes) {
  tensor t = {0};
  uint64_t from = 0, to = 0;
  expect(r, '{');
  do {
    char *field = text(r);
    expect(r, ':');
    if (!strcmp(field, "dtype")) { char *type = text(r); snprintf(t.type, sizeof t.type, "%s", type); free(type); }
    else if (!strcmp(field, "shape")) {
      expect(r, '[');
      if (!skip(r, ']')) { do { if (t.rank == 16) damaged(r); t.shape[t.rank++] = whole(r); } while (skip(r, ',')); expect(r, ']'); }
    } else if (!strcmp(field, "data_offsets")) { expect(r, '['); from = whole(r); expect(r, ','); to = whole(r); expect(r, ']'); }
    else damaged(r);
    free(field);
  } while (skip(r, ','));
  expect(r, '}');
  uint64_t wanted = width_of(t.type);
  for (uint64_t i = 0; i < t.rank; i++) if (t.shape[i] > bytes || (wanted *= t.shape[i]) > bytes) damaged(r);
  if (from > to || to > bytes || to - from != wanted) damaged(r);
  t.data = data + from;
  t.bytes = (size_t)(to - from);
  return t;
}

container read_container(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) die("%s cannot be read: %s", path, strerror(errno));
  container c = {.path = path};
  if (fseek(f, 0, SEEK_END) || (long)(c.size = (size_t)ftell(f)) < 8 || fseek(f, 0, SEEK_SET)) die("%s is not a safetensors file", path);
  c.bytes = take(c.size);
  if (fread(c.bytes, 1, c.size, f) != c.size) die("%s cannot be read: %s", path, strerror(errno));
  fclose(f);
  uint64_t header;
  memcpy(&header, c.bytes, 8);
  reader r = {c.bytes + 8, c.bytes + 8, path};
  if (header > c.size - 8) damaged(&r);
  r.end += header;
  expect(&r, '{');
  if (!skip(&r, '}')) {
    do {
      char *name = text(&r);
      expect(&r, ':');
      if (!strcmp(name, "__metadata__")) { free(name); skip_metadata(&r); continue; }
      c.tensors = realloc(c.tensors, (c.count + 1) * sizeof *c.tensors);
      if (!c.tensors) die("there is no memory for the tensors of %s", path);
      c.tensors[c.count] = entry(&r, c.bytes + 8 + header, c.size - 8 - header);
      c.tensors[c.count++].name = name;
    } while (skip(&r, ','));
    expect(&r, '}');
  }
  return c;
}

void free_container(container *c) {
  for (size_t i = 0; i < c->count; i++) free(c->tensors[i].name);
  free(c->tensors);
  free(c->bytes);
  c->bytes = 0;
}

const tensor *find_tensor(const container *c, const char *name) {
  for (size_t i = 0; i < c->count; i++) if (!strcmp(c->tensors[i].name, name)) return &c->tensors[i];
  return 0;
}

const tensor *find_state(const container *c, const char *name) {
  const tensor *t = find_tensor(c, name);
  if (t || strncmp(name, "model.", 6)) return t;
  char *stored = take(strlen(name) + 8);
  sprintf(stored, "%s#values", name + 6);
  t = find_tensor(c, stored);
  free(stored);
  return t;
}

void load_states(const code *c, const container *from, int some) {
  for (long i = 0; i < c->input_count; i++) {
    const place *p = &c->inputs[i];
    if (!p->is_state) continue;
    const tensor *t = find_state(from, p->name);
    if (!t && some) continue;
    if (!t) die("%s lacks %s", from->path, p->name);
    if (t->bytes != (size_t)bytes_of(p)) die("%s of %s has %zu bytes instead of %ld", p->name, from->path, t->bytes, bytes_of(p));
    memcpy(numbers_of(c, p), t->data, t->bytes);
  }
}

void write_pieces(const char *path, const piece *pieces, size_t count) {
  char *half = take(strlen(path) + 5);
  sprintf(half, "%s.tmp", path);
  FILE *f = fopen(half, "wb");
  if (!f) die("%s cannot be written: %s", half, strerror(errno));
  for (size_t i = 0; i < count; i++) if (fwrite(pieces[i].bytes, 1, pieces[i].count, f) != pieces[i].count) die("%s cannot be written: %s", half, strerror(errno));
  if (fflush(f) || fsync(fileno(f)) || fclose(f) || rename(half, path)) die("%s cannot be written: %s", path, strerror(errno));
  free(half);
}

${randomBits("")}
/* ---- the machine */

long cores_available(void) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
  cpu_set_t set;
  if (!sched_getaffinity(0, sizeof set, &set)) cores = CPU_COUNT(&set);
  FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
  double quota, period;
  if (f && fscanf(f, "%lf %lf", &quota, &period) == 2 && period > 0 && quota / period + 0.01 < (double)cores) cores = (long)(quota / period + 0.01);
  if (f) fclose(f);
#endif
  return cores < 1 ? 1 : cores;
}

double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- options: --name value */

const char *option(int argc, char **argv, const char *name, int *next) {
  int none = 0;
  if (!next) next = &none;
  for (int i = *next ? *next : 1; i + 1 < argc; i += 2) if (!strcmp(argv[i], name)) { *next = i + 2; return argv[i + 1]; }
  return 0;
}

double number_option(int argc, char **argv, const char *name, double otherwise) {
  const char *given = option(argc, argv, name, 0);
  if (!given) return otherwise;
  char *end;
  const double x = strtod(given, &end);
  if (end == given || *end || !(x >= 0)) die("%s takes a number, not \"%s\"", name, given);
  return x;
}

void check_options(int argc, char **argv, const char *const *names, const char *usage) {
  for (int i = 1; i < argc; i += 2) {
    int known = 0;
    for (const char *const *name = names; *name; name++) known |= !strcmp(argv[i], *name);
    if (!known || i + 1 >= argc) { fprintf(stderr, "%s", usage); exit(!strcmp(argv[i], "--help") ? 0 : 2); }
  }
}
`
