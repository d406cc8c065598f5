/**
 * The pool of threads of a program: workers spin while a step runs and sleep between steps. What counts is work that is done, not threads
 * that arrive: a thread that sleeps, or has lost its core to a neighbour, is waited for only if it was cut off in the midst of a block.
 */
import { meetingBytes, mostBlocks, queueBytes } from "../schedule/cpu.ts"

export const threads = `
/* ---- threads: the caller is thread 0; workers spin for a while within a step and after it, then sleep until the next */
/* The end of a wave: blocks that are done, counted over all turns, and the last turn that is over. */
typedef struct { _Atomic long done; char apart[56]; _Atomic long over; char rest[56]; } meeting;
/* A thread's own blocks of a kernel: those of turn t that were taken are t * ${mostBlocks} and on, up to the next. */
typedef struct { _Atomic long next; char apart[56]; } queue;
typedef struct program {
  char *arena, *scratch;
  long bytes;                   /* taken from the system */
  long threads, started;
  _Atomic long step;            /* the turn that runs; changed under the lock */
  int quit;
  queue *queues;                /* for each kernel and thread */
  meeting *meetings;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t ids[256];
} program;

#if defined(__x86_64__)
#define PAUSE() _mm_pause()
#else
#define PAUSE() ((void)0)
#endif

/* Equal shares lo to hi of a kernel, for one thread to do; the threads whose blocks it has taken or found taken, and blocks it took since threads met last; whether the block is its first of the kernel. */
typedef struct { long tried, lo, hi, mine, fresh; } range;

/* A kernel of n shares is taken in so many blocks, at most \`each\` for each thread. */
#define BLOCKS(n, each) (p->threads == 1 ? 1 : MIN((long)(n), (each) * p->threads))

/* The next block of n shares that is ours in this turn: first a thread's own, then what others have not begun. Turns only grow: whoever lags behind in an old one finds all its blocks taken. */
static __attribute__((noinline)) int claim(program *p, long thread, long site, long turn, long n, long each, range *at) {
  const long blocks = BLOCKS(n, each);
  for (; at->tried < p->threads; at->tried++) {
    const long of = (thread + at->tried) % p->threads, first = blocks * of / p->threads, count = blocks * (of + 1) / p->threads - first;
    _Atomic long *next = &p->queues[site * p->threads + of].next;
    long seen = atomic_load_explicit(next, memory_order_relaxed);
    for (;;) {
      const long taken = MAX(seen - turn * ${mostBlocks}, 0);
      if (taken >= count) break;
      if (!atomic_compare_exchange_weak_explicit(next, &seen, turn * ${mostBlocks} + taken + 1, memory_order_acquire, memory_order_relaxed)) continue;
      at->lo = n * (first + taken) / blocks;
      at->hi = n * (first + taken + 1) / blocks;
      at->mine++;
      return 1;
    }
  }
  return 0;
}
#define CLAIM(site, turn, n, each) for (at.tried = 0, at.fresh = 1; claim(p, thread, site, turn, n, each, &at); at.fresh = 0)
/* Shares lo to hi of a member of several kernels that are claimed as one, if the block has any of its shares, which go from \`start\` to \`end\`. */
#define OF(start, end) for (long lo = MAX(at.lo, start) - (start), hi = MIN(at.hi, end) - (start); lo < hi; lo = hi)

/* The end of a wave of so many blocks: 1 for the thread that did the last of them, which says when the turn is over; the others wait for that. A thread that waits long gives its core away. */
static __attribute__((noinline)) int ends(program *p, long wave, long turn, long blocks, range *at) {
  meeting *m = &p->meetings[wave];
  const long mine = at->mine;
  at->mine = 0;
  if (mine > 0 && atomic_fetch_add_explicit(&m->done, mine, memory_order_acq_rel) + mine == turn * blocks) return 1;
  for (long spins = 0; atomic_load_explicit(&m->over, memory_order_acquire) < turn; spins++) {
    if (spins < 4000) PAUSE(); else sched_yield();
  }
  return 0;
}
static void declare_over(program *p, long wave, long turn) { atomic_store_explicit(&p->meetings[wave].over, turn, memory_order_release); }

static void run_step(program *p, long thread, long turn);

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
    /* Steps may follow one another closely, as when tokens are chosen between them: for a while that takes, about 0.1 ms, wait here. */
    for (long spins = 0; spins < 6000 && atomic_load_explicit(&w.p->step, memory_order_acquire) == seen; spins++) PAUSE();
    pthread_mutex_lock(&w.p->lock);
    while (w.p->step == seen && !w.p->quit) pthread_cond_wait(&w.p->wake, &w.p->lock);
    seen = w.p->step;
    const int quit = w.p->quit;
    pthread_mutex_unlock(&w.p->lock);
    if (quit) return 0;
    run_step(w.p, w.thread, seen);
  }
}
`

export function entryPoints(arena: number, scratch: number, { sites, meetings }: { readonly sites: number; readonly meetings: number }, inTiles: boolean): string {
  const queues = `${Math.max(1, sites)}L * p->threads`
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
  p->queues = calloc(${queues}, sizeof(queue));
  p->meetings = calloc(${Math.max(1, meetings)}, sizeof(meeting));
  p->bytes += ${queues} * ${queueBytes} + ${Math.max(1, meetings) * meetingBytes}L;
  if (!p->arena || !p->scratch || !p->queues || !p->meetings) { slm_close(p); return 0; }
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
  const long turn = p->step + 1;
  if (p->threads > 1) {
    pthread_mutex_lock(&p->lock);
    p->step = turn;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
  } else p->step = turn;
  run_step(p, 0, turn);
  restore_small(before);
  return 0;
}

/* For loops over steps in other libraries. */
void *slm_step_address(void) { return (void *)slm_step; }

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
  free(p->queues);
  free(p->meetings);
  free(p);
}
`
}
