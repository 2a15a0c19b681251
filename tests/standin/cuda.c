/* The driver: what programs ask before they use the runtime. */
#include <stdlib.h>

static int gpus(void) { const char *count = getenv("STANDIN_GPUS"); return count ? atoi(count) : 1; }

int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = gpus(); return 0; }
int cuDriverGetVersion(int *version) { *version = getenv("STANDIN_OLD_DRIVER") ? 12040 : 13000; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuCtxGetCurrent(void **context) { *context = (void *)8; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)8; return 0; }
/* 75 and 76 are the compute capability */
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 1024;
  return 0;
}
