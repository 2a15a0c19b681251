/* cuDNN: every plan is supported, needs no memory, and computes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { INTERNAL_ERROR = 4000 };
enum { DATA_TYPE = 1, INT64 = 3, DESCRIPTOR = 15, INT32 = 23, KNOBS = 302 };

int cudnnCreate(void **handle) {
  if (getenv("STANDIN_NO_CUDNN")) return INTERNAL_ERROR;
  *handle = malloc(8);
  return 0;
}
size_t cudnnGetVersion(void) { return 92400; }
size_t cudnnGetCudartVersion(void) { return 13000; }
const char *cudnnGetErrorString(int error) { return error ? "CUDNN_STATUS_INTERNAL_ERROR" : "CUDNN_STATUS_SUCCESS"; }
void cudnnGetLastErrorString(char *message, size_t size) { if (size) message[0] = 0; }
int cudnnBackendCreateDescriptor(int type, void **to) { *to = calloc(1, 64); return 0; }
int cudnnBackendDestroyDescriptor(void *descriptor) { free(descriptor); return 0; }
int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t asked, int64_t *count, void *to) {
  int has = name != KNOBS && (type == DESCRIPTOR || type == INT64 || type == DATA_TYPE || type == INT32);
  if (count) *count = has;
  if (has && asked && to && type == INT64) *(int64_t *)to = 0;
  if (has && asked && to && type == INT32) *(int32_t *)to = 0;
  return 0;
}
int cudnnBackendExecute(void *handle, void *plan, void *pack) { return getenv("STANDIN_PLANS_FAIL") ? INTERNAL_ERROR : 0; }
int cudnnGetReductionWorkspaceSize(void *handle, void *reduce, void *a, void *c, size_t *bytes) { *bytes = 0; return 0; }
int cudnnGetReductionIndicesSize(void *handle, void *reduce, void *a, void *c, size_t *bytes) { *bytes = 0; return 0; }
int cudnnGetConvolutionForwardWorkspaceSize(void *handle, void *x, void *w, void *conv, void *y, int way, size_t *bytes) { *bytes = 0; return 0; }
