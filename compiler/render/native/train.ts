/** The main program of a training, after the tables of its programs (`tables.ts`): the loop of `runtime/stages/training.ts` in C. */

import { cBytes, cReal, cText, cTexts } from "./text.ts"

/** What the text below takes from the stage. */
export interface TrainSettings {
  readonly name: string
  /** Sequences of a micro-batch, micro-batches of a step, steps. */
  readonly rows: number
  readonly accumulate: number
  readonly total: number
  readonly seed: number
  /** Factors of the loss's means. */
  readonly terms: readonly number[]
  /** States that go from program to program where the stage accumulates: trained weights, counts and sums. */
  readonly handed: { readonly trained: readonly string[]; readonly counts: readonly string[]; readonly sums: readonly string[] } | null
  /** null: nothing is validated. */
  readonly valid: { readonly sets: readonly { readonly name: string; readonly batches: number }[]; readonly every: number } | null
  readonly keepBest: boolean
  readonly files: readonly TrainedFile[]
}

/** A file of weights as `slm run` keeps it: the header as it is, then the data of these states, or tensors of `start.safetensors` that no step changes. */
export interface TrainedFile {
  readonly file: string
  readonly header: Uint8Array
  readonly states: readonly string[]
}

export function renderTrainMain(s: TrainSettings): string {
  const files = s.files.map((file, i) => [cBytes(`header_${i}`, file.header), cTexts(`states_${i}`, file.states)].join("\n"))
  return `
/* ---- the stage */
#define ROWS ${s.rows}L
#define ACCUMULATE ${s.accumulate}L
#define TOTAL ${s.total}L
#define TERMS ${s.terms.length}
#define SEED ${s.seed | 0}
#define VALID_SETS ${s.valid?.sets.length ?? 0}
#define VALID_EVERY ${s.valid?.every ?? 1}L
#define KEEP_BEST ${s.keepBest ? 1 : 0}
#define STATES ${s.files.reduce((n, file) => n + file.states.length, 0)}
static const double term_weights[TERMS] = {${s.terms.map(cReal).join(", ")}};
${s.handed === null ? "" : `${cTexts("trained", s.handed.trained)}\n${cTexts("counts", s.handed.counts)}\n${cTexts("sums", s.handed.sums)}\n`}${files.join("\n")}
static const struct { const char *file, *header; size_t bytes; const char *const *states; } files[] = {
${s.files.map(({ file }, i) => `  {${cText(file)}, header_${i}, sizeof header_${i} - 1, states_${i}},`).join("\n")}
};

${feeding}
${s.handed === null ? single : accumulating}
${s.valid === null ? noValidation : `static const struct { const char *name; long batches; } valid_sets[VALID_SETS] = {${s.valid.sets.map(({ name, batches }) => `{${cText(name)}, ${batches}L}`).join(", ")}};\n${validation}`}
${trainMain.replace("STAGE_NAME", cText(s.name))}`
}

const single = String.raw`/* One step over one batch. */
static code *const trained_by __attribute__((unused)) = &step_code;
static void load_all(const container *start) { load_states(&step_code, start, 0); }
static double train_step(const container *data, long step) {
  feed(&step_code, data, (step - 1) * ROWS, step);
  run(&step_code);
  double sums[TERMS], counts[TERMS];
  for (int t = 0; t < TERMS; t++) { sums[t] = *term(&step_code, "sum", t); counts[t] = *term(&step_code, "count", t); }
  return combine(sums, counts);
}
static code *const last_code = &step_code;`

const accumulating = String.raw`/* One step over ACCUMULATE batches: counts first, then gradients of sum / total count added up, then one update. */
static code *const trained_by __attribute__((unused)) = &apply_code;
static int is_among(const char *name, const char *const *names) {
  while (*names && strcmp(*names, name)) names++;
  return *names != 0;
}
/* Loaded is what start has: all that the update has, but what is summed. */
static void load_all(const container *start) {
  for (long i = 0; i < apply_code.input_count; i++) {
    const place *p = &apply_code.inputs[i];
    if (p->is_state && !is_among(p->name, sums) && !is_among(p->name, counts) && !find_state(start, p->name)) die("%s lacks %s", start->path, p->name);
  }
}
/* Those of the states that the other program has. */
static void hand(const code *from, const char *const *names, const code *to) {
  for (; *names; names++) {
    const place *p = find_input(from, *names), *q = find_input(to, *names);
    if (p && q) memcpy(numbers_of(to, q), numbers_of(from, p), (size_t)bytes_of(p));
  }
}
static void run_all(code *c, const container *data, long step) {
  const place *first = find_input(c, "first");
  hand(&apply_code, trained, c);
  for (long k = 0; k < ACCUMULATE; k++) {
    feed(c, data, ((step - 1) * ACCUMULATE + k) * ROWS, step);
    *(int32_t *)numbers_of(c, first) = k == 0;
    run(c);
  }
}
static double train_step(const container *data, long step) {
  run_all(&count_code, data, step);
  hand(&count_code, counts, &gradient_code);
  run_all(&gradient_code, data, step);
  hand(&count_code, counts, &apply_code);
  hand(&gradient_code, sums, &apply_code);
  feed(&apply_code, data, 0, step);
  run(&apply_code);
  double loss_sums[TERMS], loss_counts[TERMS];
  for (int t = 0; t < TERMS; t++) { loss_sums[t] = *term(&apply_code, "sum", t); loss_counts[t] = *term(&apply_code, "count", t); }
  return combine(loss_sums, loss_counts);
}
static code *const last_code = &apply_code;`

const noValidation = String.raw`static double validate(const container *rows, long step) { (void)rows; (void)step; return 0; }`

const validation = String.raw`/* The loss on the validation rows with the weights of the moment: of several sets the mean. */
static double validate(const container *rows, long step) {
  for (long i = 0; i < measure_code.input_count; i++) {
    const place *p = &measure_code.inputs[i], *q = p->is_state ? find_input(trained_by, p->name) : 0;
    if (q && q->is_state) memcpy(numbers_of(&measure_code, p), numbers_of(trained_by, q), (size_t)bytes_of(p));
  }
  double total = 0;
  rows_before = 0;
  for (int s = 0; s < VALID_SETS; s++) {
    double sums[TERMS] = {0}, counts[TERMS] = {0};
    for (long i = 0; i < valid_sets[s].batches; i++) {
      feed(&measure_code, rows, i * ROWS, 0);
      run(&measure_code);
      for (int t = 0; t < TERMS; t++) { sums[t] += *term(&measure_code, "sum", t); counts[t] += *term(&measure_code, "count", t); }
    }
    const double loss = combine(sums, counts);
    if (*valid_sets[s].name) printf("step %ld  valid %s %.9g\n", step, valid_sets[s].name, loss);
    total += loss;
    rows_before += valid_sets[s].batches * ROWS;
  }
  rows_before = 0;
  return total / VALID_SETS;
}`

const feeding = String.raw`/* ---- batches: rows of a file of packed data, "order" says which row each sample is */

static void run(code *c) { if (c->step(c->opened)) die("%s failed", c->name); }

/* Samples of a file that belong to earlier sets. */
static long rows_before = 0;

/* What a program takes of samples first, first + 1, ...; seed, step and the sample's number are made here. */
static void feed(const code *c, const container *data, long first, long step) {
  const tensor *order = find_tensor(data, "order");
  if (!order) die("%s lacks order", data->path);
  for (long i = 0; i < c->input_count; i++) {
    const place *p = &c->inputs[i];
    if (p->is_state) continue;
    int32_t *numbers = numbers_of(c, p);
    if (!strcmp(p->name, "seed")) *numbers = SEED;
    else if (!strcmp(p->name, "step")) *numbers = (int32_t)step;
    else if (!strcmp(p->name, "row")) for (long k = 0; k < ROWS; k++) numbers[k] = (int32_t)(first + k);
    else {
      const tensor *t = find_tensor(data, p->name);
      if (!t) continue; /* set by the step itself */
      const size_t width = (size_t)bytes_of(p) / ROWS;
      for (long k = 0; k < ROWS; k++) {
        int32_t row;
        const long sample = rows_before + first + k;
        if ((size_t)(sample + 1) * 4 > order->bytes) die("%s has no sample %ld", data->path, sample);
        memcpy(&row, order->data + 4 * sample, 4);
        if (row < 0 || ((size_t)row + 1) * width > t->bytes) die("%s has no row %d", data->path, row);
        memcpy((char *)numbers + (size_t)k * width, t->data + (size_t)row * width, width);
      }
    }
  }
}

static float *term(const code *c, const char *of, int t) {
  char name[32];
  snprintf(name, sizeof name, "%s.%d", of, t);
  float *x = output(c, name);
  if (!x) die("%s yields no %s", c->name, name);
  return x;
}

/* The loss: sum over its terms of weight * sum / count; a mean of nothing is 0. */
static double combine(const double *sums, const double *counts) {
  double loss = 0;
  for (int t = 0; t < TERMS; t++) if (counts[t] != 0) loss += (term_weights[t] * sums[t]) / counts[t];
  return loss;
}
`

const trainMain = String.raw`
/* ---- results */

static void *best[STATES];

/* Copies of the weights that the files hold. */
static void keep_best(void) {
  long n = 0;
  for (size_t f = 0; f < sizeof files / sizeof *files; f++) for (const char *const *name = files[f].states; *name; name++, n++) {
    const place *p = find_input(last_code, *name);
    if (!p) continue;
    if (!best[n]) best[n] = take((size_t)bytes_of(p));
    memcpy(best[n], numbers_of(last_code, p), (size_t)bytes_of(p));
  }
}

static void write_results(const char *folder, const container *start) {
  long n = 0;
  for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
    static piece pieces[STATES + 1];
    pieces[0] = (piece){files[f].header, files[f].bytes};
    size_t count = 1;
    for (const char *const *name = files[f].states; *name; name++, n++) {
      const place *p = find_input(last_code, *name);
      const tensor *unchanged = p ? 0 : find_tensor(start, *name);
      if (!p && !unchanged) die("%s lacks %s", start->path, *name);
      pieces[count++] = unchanged ? (piece){unchanged->data, unchanged->bytes} : (piece){best[n] ? best[n] : numbers_of(last_code, p), (size_t)bytes_of(p)};
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, files[f].file);
    write_pieces(path, pieces, count);
    printf("wrote %s\n", path);
  }
}

static const char usage[] = "train [--threads N] [--data data.safetensors] [--valid valid.safetensors] [--start start.safetensors] [--out FOLDER]\n";

int main(int argc, char **argv) {
  static const char *const names[] = {"--threads", "--data", "--valid", "--start", "--out", 0};
  check_options(argc, argv, names, usage);
  const char *data_path = option(argc, argv, "--data", 0), *valid_path = option(argc, argv, "--valid", 0), *start_path = option(argc, argv, "--start", 0), *out = option(argc, argv, "--out", 0);
  const long threads = (long)number_option(argc, argv, "--threads", (double)cores_available());
  container start = read_container(start_path ? start_path : "start.safetensors"), data = read_container(data_path ? data_path : "data.safetensors"), valid = {0};
  for (code *const *c = codes; *c; c++) { open_code(*c, threads); load_states(*c, &start, 1); }
  load_all(&start);
  if (VALID_SETS) valid = read_container(valid_path ? valid_path : "valid.safetensors");
  printf("%s: %ld steps of %ld sequences, %ld threads\n", STAGE_NAME, TOTAL, ROWS * ACCUMULATE, threads);
  double lowest = 0;
  const double began = seconds();
  for (long step = 1; step <= TOTAL; step++) {
    const double loss = train_step(&data, step);
    const float *norm = output(last_code, "grad_norm"), *lr = output(last_code, "lr");
    printf("step %ld  loss %.9g", step, loss);
    if (norm) printf("  grad_norm %.9g", *norm);
    if (lr) printf("  lr %.9g", *lr);
    putchar('\n');
    if (loss - loss != 0 || (norm && *norm - *norm != 0)) die("the loss or the gradient is not a number any more at step %ld", step);
    if (VALID_SETS && (step % VALID_EVERY == 0 || step == TOTAL)) {
      const double now = validate(&valid, step);
      printf("step %ld  valid %.9g\n", step, now);
      if (KEEP_BEST && (!best[0] || now < lowest)) { lowest = now; keep_best(); }
    }
    fflush(stdout);
  }
  printf("%.1f s\n", seconds() - began);
  write_results(out ? out : ".", &start);
  for (code *const *c = codes; *c; c++) close_code(*c);
  free_container(&data);
  free_container(&start);
  if (valid.bytes) free_container(&valid);
  return 0;
}
`
