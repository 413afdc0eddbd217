/* A libLiteRt.so that computes nothing: it knows one model, tests/models/tflite_models.add((16,), "uint64"),
 * and a run writes two addresses into the output: the input's memory, and the output's own.
 * LACKS_RUN and LACKS_MODEL_FROM_FD each leave out one symbol. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef int Status;
enum { kOk = 0, kInvalidArgument = 1, kNoMemory = 2 };

typedef struct {
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
} Layout;

typedef struct {
  uint64_t* data; /* the caller's */
} Buffer;

typedef struct {
  uint64_t* input; /* of the last run, where an input stays that is null */
} Compiled;

static int something; /* what every handle without content points to */

static Status make(void** made) {
  *made = &something;
  return kOk;
}

Status LiteRtCreateEnvironment(int count, const void* options, void** made) {
  (void)count, (void)options;
  return make(made);
}
void LiteRtDestroyEnvironment(void* environment) { (void)environment; }

Status LiteRtCreateModelFromBuffer(void* environment, const void* bytes, size_t size, void** made) {
  (void)environment, (void)bytes, (void)size;
  return make(made);
}
void LiteRtDestroyModel(void* model) { (void)model; }

#ifndef LACKS_MODEL_FROM_FD
Status LiteRtCreateModelFromFd(void* environment, int fd, size_t offset, size_t size, void** made) {
  (void)environment, (void)fd, (void)offset, (void)size;
  return make(made);
}
#endif

Status LiteRtCreateOptions(void** made) { return make(made); }
void LiteRtDestroyOptions(void* options) { (void)options; }
Status LiteRtSetOptionsHardwareAccelerators(void* options, int mask) {
  (void)options, (void)mask;
  return kOk;
}
Status LiteRtCreateOpaqueOptions(const char* id, void* payload, void (*destroy)(void*), void** made) {
  (void)id;
  destroy(payload);
  return make(made);
}
Status LiteRtAddOpaqueOptions(void* options, void* opaque) {
  (void)options, (void)opaque;
  return kOk;
}

Status LiteRtCreateCompiledModel(void* environment, void* model, void* options, void** made) {
  (void)environment, (void)model, (void)options;
  *made = calloc(1, sizeof(Compiled));
  return *made == NULL ? kNoMemory : kOk;
}
void LiteRtDestroyCompiledModel(void* compiled) { free(compiled); }
Status LiteRtCompiledModelIsFullyAccelerated(void* compiled, bool* answer) {
  (void)compiled;
  *answer = true;
  return kOk;
}
Status LiteRtGetCompiledModelOutputTensorLayouts(void* compiled, size_t signature, size_t count, Layout* layouts,
                                                 bool update) {
  (void)compiled, (void)signature, (void)update;
  if (count != 1) return kInvalidArgument;
  layouts[0] = (Layout){.rank = 1, .dimensions = {16}};
  return kOk;
}
Status LiteRtCompiledModelResizeInputTensor(void* compiled, size_t signature, size_t index, const int* dims,
                                            size_t rank) {
  (void)compiled, (void)signature, (void)index, (void)dims, (void)rank;
  return kInvalidArgument; /* the model is static */
}

Status LiteRtCreateTensorBufferFromHostMemory(const void* type, void* data, size_t size, void (*destroy)(void*),
                                              void** made) {
  (void)type;
  if (size != 16 * sizeof(uint64_t) || destroy != NULL || (uintptr_t)data % 64 != 0) return kInvalidArgument;
  Buffer* buffer = malloc(sizeof *buffer);
  if (buffer == NULL) return kNoMemory;
  buffer->data = data;
  *made = buffer;
  return kOk;
}
void LiteRtDestroyTensorBuffer(void* buffer) { free(buffer); }

#ifndef LACKS_RUN
Status LiteRtRunCompiledModel(Compiled* compiled, size_t signature, size_t input_count, Buffer** inputs,
                              size_t output_count, Buffer** outputs) {
  (void)signature;
  if (input_count != 1 || output_count != 1) return kInvalidArgument;
  if (inputs[0] != NULL) compiled->input = inputs[0]->data;
  outputs[0]->data[0] = (uintptr_t)compiled->input;
  outputs[0]->data[1] = (uintptr_t)outputs[0]->data;
  return kOk;
}
#endif

Status LiteRtGetNumModelSignatures(void* model, size_t* count) {
  (void)model;
  *count = 1;
  return kOk;
}
Status LiteRtGetModelSignature(void* model, size_t index, void** signature) {
  (void)model;
  return index == 0 ? make(signature) : kInvalidArgument;
}
Status LiteRtGetSignatureKey(void* signature, const char** key) {
  (void)signature;
  *key = "<placeholder signature>";
  return kOk;
}
Status LiteRtGetNumSignatureInputs(void* signature, size_t* count) {
  (void)signature;
  *count = 1;
  return kOk;
}
Status LiteRtGetNumSignatureOutputs(void* signature, size_t* count) {
  (void)signature;
  *count = 1;
  return kOk;
}
Status LiteRtGetSignatureInputName(void* signature, size_t index, const char** name) {
  (void)signature;
  *name = "x";
  return index == 0 ? kOk : kInvalidArgument;
}
Status LiteRtGetSignatureOutputName(void* signature, size_t index, const char** name) {
  (void)signature;
  *name = "y";
  return index == 0 ? kOk : kInvalidArgument;
}
