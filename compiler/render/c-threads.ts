import { mostBlocks } from "../schedule/cpu.ts"

/** The pool of threads of a program: workers spin while a step runs and sleep between steps. */
export const threads = `
/* ---- threads: the caller is thread 0; workers spin for a while within a step and after it, then sleep until the next */
typedef struct program {
  char *arena, *scratch;
  long bytes;                   /* taken from the system */
  long threads, started;
  _Atomic long arrived, turn;   /* of the barrier */
  _Atomic long step;            /* changed under the lock */
  int quit;
  _Atomic long finished;
  _Atomic unsigned char *claimed; /* blocks of this step's kernels that a thread has taken */
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t ids[256];
} program;

#if defined(__x86_64__)
#define PAUSE() _mm_pause()
#else
#define PAUSE() ((void)0)
#endif

/* All threads wait here for one another. A thread that waits long gives its core away. */
static void barrier(program *p) {
  if (p->threads == 1) return;
  const long turn = atomic_load_explicit(&p->turn, memory_order_relaxed);
  if (atomic_fetch_add(&p->arrived, 1) == p->threads - 1) {
    atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&p->turn, turn + 1, memory_order_release);
    return;
  }
  for (long spins = 0; atomic_load_explicit(&p->turn, memory_order_acquire) == turn; spins++) {
    if (spins < 4000) PAUSE(); else sched_yield();
  }
}

/* Equal shares lo to hi of a kernel, for one thread to do. */
typedef struct { long turn, lo, hi; } range;

/* The next block of n shares: first a thread's own, then what others have not begun. A kernel is claimed in \`each\` blocks for each thread. */
static __attribute__((noinline)) int claim(program *p, long thread, long site, long n, long each, range *at) {
  const long blocks = p->threads == 1 ? 1 : MIN(n, each * p->threads), own = blocks * thread / p->threads;
  _Atomic unsigned char *claimed = p->claimed + site * ${mostBlocks} * p->threads;
  while (at->turn < blocks) {
    const long c = (own + at->turn++) % blocks;
    if (atomic_load_explicit(&claimed[c], memory_order_relaxed) || atomic_exchange_explicit(&claimed[c], 1, memory_order_relaxed)) continue;
    at->lo = n * c / blocks;
    at->hi = n * (c + 1) / blocks;
    return 1;
  }
  return 0;
}
#define CLAIM(site, n, each) for (at.turn = 0; claim(p, thread, site, n, each, &at);)

/* A thread's part of n shares, in loops, whose turns cannot be claimed. */
static __attribute__((noinline, unused)) int share(program *p, long thread, long n, range *at) {
  *at = (range){at->turn + 1, n * thread / p->threads, n * (thread + 1) / p->threads};
  return at->turn == 1 && at->lo < at->hi;
}
#define SHARE(n) for (at.turn = 0; share(p, thread, n, &at);)

static void run_step(program *p, long thread);

/* Numbers too small to be normal count as 0: they are slow, and nothing here needs them. */
static unsigned flush_small(void) {
#if defined(__x86_64__)
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  return before;
#else
  return 0;
#endif
}
static void restore_small(unsigned before) {
#if defined(__x86_64__)
  _mm_setcsr(before);
#else
  (void)before;
#endif
}

typedef struct { program *p; long thread; } worker;
static void *work(void *given) {
  worker w = *(worker *)given;
  free(given);
  flush_small();
  for (long seen = 0;;) {
    /* Steps may follow one another closely: for less than it takes to sleep and wake, wait here. */
    for (long spins = 0; spins < 2000 && atomic_load_explicit(&w.p->step, memory_order_acquire) == seen; spins++) PAUSE();
    pthread_mutex_lock(&w.p->lock);
    while (w.p->step == seen && !w.p->quit) pthread_cond_wait(&w.p->wake, &w.p->lock);
    seen = w.p->step;
    const int quit = w.p->quit;
    pthread_mutex_unlock(&w.p->lock);
    if (quit) return 0;
    run_step(w.p, w.thread);
    atomic_fetch_add(&w.p->finished, 1);
  }
}
`

export function entryPoints(arena: number, scratch: number, sites: number, inTiles: boolean): string {
  return `
/* ---- what the caller sees */
void slm_close(program *p);

/* Zeros, in large pages where the system has them; under a sanitizer from the heap, which it watches. */
#if defined(__SANITIZE_ADDRESS__)
static char *pages(program *p, size_t bytes) {
  char *at = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (at) memset(at, 0, bytes);
  p->bytes += bytes;
  return at;
}
static void give_back(char *p, size_t bytes) { (void)bytes; free(p); }
#else
static char *pages(program *p, size_t bytes) {
  void *at = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return 0;
#if defined(MADV_HUGEPAGE)
  madvise(at, bytes, MADV_HUGEPAGE);
#endif
  p->bytes += (long)bytes;
  return at;
}
static void give_back(char *p, size_t bytes) { if (p) munmap(p, bytes); }
#endif

/* A program with its arena, all zeros but for constants, and threads that sleep; 0 if there is no memory for it. */
program *slm_open(long threads) {
${inTiles ? "  if (!allow_tiles()) return 0;\n" : ""}  program *p = calloc(1, sizeof *p);
  if (!p) return 0;
  p->threads = MAX(1, MIN(threads, 256));
  pthread_mutex_init(&p->lock, 0);
  pthread_cond_init(&p->wake, 0);
  p->arena = pages(p, ${arena}L);
  p->scratch = pages(p, ${scratch}L * p->threads);
  p->claimed = calloc(${Math.max(1, sites)}, ${mostBlocks} * p->threads);
  p->bytes += ${Math.max(1, sites)}L * ${mostBlocks} * p->threads;
  if (!p->arena || !p->scratch || !p->claimed) { slm_close(p); return 0; }
  fill_constants(p->arena);
  for (p->started = 1; p->started < p->threads; p->started++) {
    worker *w = malloc(sizeof *w);
    if (!w) { slm_close(p); return 0; }
    *w = (worker){p, p->started};
    if (pthread_create(&p->ids[p->started], 0, work, w)) { free(w); slm_close(p); return 0; }
  }
  return p;
}

void *slm_arena(program *p) { return p->arena; }
/* Bytes that the program has taken for numbers. */
long slm_bytes(program *p) { return p->bytes; }

/* One step. */
int slm_step(program *p) {
  const unsigned before = flush_small();
  memset((void *)p->claimed, 0, ${Math.max(1, sites)} * ${mostBlocks} * p->threads);
  if (p->threads > 1) {
    atomic_store(&p->finished, 0);
    pthread_mutex_lock(&p->lock);
    p->step++;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
  }
  run_step(p, 0);
  for (long spins = 0; atomic_load(&p->finished) < p->threads - 1; spins++) { if (p->threads == 1) break; if (spins < 4000) PAUSE(); else sched_yield(); }
  restore_small(before);
  return 0;
}

void slm_close(program *p) {
  pthread_mutex_lock(&p->lock);
  p->quit = 1;
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
  for (long i = 1; i < p->started; i++) pthread_join(p->ids[i], 0);
  pthread_mutex_destroy(&p->lock);
  pthread_cond_destroy(&p->wake);
  give_back(p->arena, ${arena}L);
  give_back(p->scratch, ${scratch}L * p->threads);
  free((void *)p->claimed);
  free(p);
}
`
}
