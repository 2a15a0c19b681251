/* The runtime: memory is the host's, copies are made, kernels do nothing. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_OF_MEMORY = 2, DRIVER_TOO_OLD = 35, HEADER = 256 };
enum { UNREGISTERED, HOST, DEVICE };

static __thread int current;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static size_t used;
static struct { char *start, *end; int kind; } spans[1 << 16];
static int count;

static size_t total(void) { const char *bytes = getenv("STANDIN_MEMORY"); return bytes ? strtoull(bytes, 0, 10) : 16ull << 30; }
static int too_old(void) { return getenv("STANDIN_OLD_DRIVER") ? DRIVER_TOO_OLD : 0; }

static int take(void **to, size_t bytes, int kind) {
  int failed = 0;
  pthread_mutex_lock(&turn);
  if (kind == DEVICE && used + bytes > total()) failed = OUT_OF_MEMORY;
  char *memory = failed ? 0 : aligned_alloc(HEADER, (bytes + 2 * HEADER - 1) / HEADER * HEADER);
  int place = 0;
  while (place < count && spans[place].start) place++;
  if (!memory || place == sizeof spans / sizeof *spans) failed = OUT_OF_MEMORY;
  if (!failed) {
    if (place == count) count++;
    spans[place].start = memory, spans[place].end = memory + bytes, spans[place].kind = kind;
    if (kind == DEVICE) used += bytes;
    *to = memory;
  }
  pthread_mutex_unlock(&turn);
  return failed;
}

static int give_back(void *memory) {
  pthread_mutex_lock(&turn);
  for (int place = 0; memory && place < count; place++)
    if (spans[place].start == memory) {
      if (spans[place].kind == DEVICE) used -= spans[place].end - spans[place].start;
      spans[place].start = 0;
      free(memory);
      break;
    }
  pthread_mutex_unlock(&turn);
  return 0;
}

static int kind_of(const char *memory) {
  int kind = UNREGISTERED;
  pthread_mutex_lock(&turn);
  for (int place = 0; place < count; place++)
    if (spans[place].start && spans[place].start <= memory && memory < spans[place].end) kind = spans[place].kind;
  pthread_mutex_unlock(&turn);
  return kind;
}

int cudaGetDeviceCount(int *number) { const char *gpus = getenv("STANDIN_GPUS"); *number = gpus ? atoi(gpus) : 1; return too_old(); }
int cudaGetDevice(int *device) { *device = current; return too_old(); }
int cudaSetDevice(int device) { current = device; return too_old(); }
int cudaDriverGetVersion(int *version) { *version = too_old() ? 12040 : 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaMalloc(void **to, size_t bytes) { return too_old() ? too_old() : take(to, bytes, DEVICE); }
int cudaFree(void *memory) { return give_back(memory); }
int cudaMallocHost(void **to, size_t bytes) { return take(to, bytes, HOST); }
int cudaHostAlloc(void **to, size_t bytes, unsigned flags) { return take(to, bytes, HOST); }
int cudaFreeHost(void *memory) { return give_back(memory); }
int cudaMemGetInfo(size_t *left, size_t *all) { *all = total(); *left = *all > used ? *all - used : 0; return 0; }
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) { memcpy(to, from, bytes); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) { memcpy(to, from, bytes); return 0; }
int cudaMemset(void *to, int value, size_t bytes) { memset(to, value, bytes); return 0; }
int cudaMemsetAsync(void *to, int value, size_t bytes, void *stream) { memset(to, value, bytes); return 0; }
int cudaStreamCreate(void **stream) { *stream = malloc(8); return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { *stream = malloc(8); return 0; }
int cudaStreamCreateWithPriority(void **stream, unsigned flags, int priority) { *stream = malloc(8); return 0; }
int cudaStreamDestroy(void *stream) { free(stream); return 0; }
int cudaEventCreate(void **event) { *event = malloc(8); return 0; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { *event = malloc(8); return 0; }
int cudaEventDestroy(void *event) { free(event); return 0; }
int cudaEventElapsedTime(float *milliseconds, void *from, void *to) { *milliseconds = 1; return 0; }
int cudaStreamIsCapturing(void *stream, int *is_capturing) { *is_capturing = 0; return 0; }
int cudaDeviceCanAccessPeer(int *can, int device, int peer) { *can = 0; return 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = *greatest = 0; return 0; }
/* 75 and 76 are the compute capability */
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 1024;
  return 0;
}
/* offsets are those of CUDA 13's cudaDeviceProp */
int cudaGetDeviceProperties(char *to, int device) {
  memset(to, 0, 700);
  strcpy(to, "Stand-in");
  *(size_t *)(to + 288) = total();
  *(size_t *)(to + 296) = 48 << 10;
  *(int *)(to + 308) = 32;
  *(int *)(to + 320) = 1024;
  *(int *)(to + 360) = 8;
  *(int *)(to + 364) = 6;
  return too_old();
}
int cudaPointerGetAttributes(char *to, const void *memory) {
  *(int *)to = kind_of(memory);
  *(int *)(to + 4) = 0;
  *(const void **)(to + 8) = *(const void **)(to + 16) = memory;
  return 0;
}
const char *cudaGetErrorString(int error) {
  return error == OUT_OF_MEMORY    ? "out of memory"
         : error == DRIVER_TOO_OLD ? "CUDA driver version is insufficient for CUDA runtime version"
         : error                   ? "stand-in error"
                                   : "no error";
}
const char *cudaGetErrorName(int error) {
  return error == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : error == DRIVER_TOO_OLD ? "cudaErrorInsufficientDriver" : "cudaSuccess";
}
int cudaGetLastError(void) { return 0; }
void **__cudaRegisterFatBinary(void *binary) { static void *handle; return &handle; }
