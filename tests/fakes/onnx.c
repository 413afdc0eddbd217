/* A libonnxruntime.so that computes nothing: it knows one model, tests/models/onnx_models.add((16,), "uint64"),
 * and a run writes two addresses into the output: the input's memory, and the output's own.
 * LATEST_API is the newest version of the table that it serves: that of ONNX Runtime 1.LATEST_API. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef LATEST_API
#define LATEST_API 32
#endif
#define TEXT_OF(macro) #macro
#define TEXT(macro) TEXT_OF(macro)

typedef void* Status;              /* NULL: success */
static char refusal[] = "refused"; /* the one error there is */

enum { kUint64 = 13 };

typedef struct {
  uint64_t* data; /* the caller's */
} Value;

static int something; /* what every handle without content points to */

static Status make(void** made) {
  *made = &something;
  return NULL;
}

static const char* error_message(Status status) { return status; }
static void release(void* handle) { (void)handle; }

static Status create_env(int severity, const char* id, void** made) {
  (void)severity, (void)id;
  return make(made);
}
static Status create_session(void* env, const void* bytes, size_t size, void* options, void** made) {
  (void)env, (void)bytes, (void)size, (void)options;
  return make(made);
}
static Status set_number(void* options, int number) {
  (void)options, (void)number;
  return NULL;
}
static Status add_config(void* options, const char* key, const char* value) {
  (void)options, (void)key, (void)value;
  return NULL;
}
static Status create_memory_info(int allocator, int memory, void** made) {
  (void)allocator, (void)memory;
  return make(made);
}

static Status count_one(void* session, size_t* count) {
  (void)session;
  *count = 1;
  return NULL;
}
static Status name_of(const char* name, char** made) {
  *made = strdup(name);
  return *made == NULL ? refusal : NULL;
}
static Status input_name(void* session, size_t index, void* allocator, char** made) {
  (void)session, (void)index, (void)allocator;
  return name_of("x", made);
}
static Status output_name(void* session, size_t index, void* allocator, char** made) {
  (void)session, (void)index, (void)allocator;
  return name_of("y", made);
}
static Status allocator_free(void* allocator, void* memory) {
  (void)allocator;
  free(memory);
  return NULL;
}
static Status tensor_type(void* session, size_t index, void** made) {
  (void)session, (void)index;
  return make(made);
}
static Status tensor_info(void* type, void** info) {
  (void)type;
  return make(info);
}
static Status element_type(void* info, int* element) {
  (void)info;
  *element = kUint64;
  return NULL;
}
static Status dims(void* info, int64_t* values, size_t rank) {
  (void)info;
  if (rank != 1) return refusal;
  values[0] = 16;
  return NULL;
}
static Status symbolic_dims(void* info, const char** names, size_t rank) {
  (void)info;
  if (rank != 1) return refusal;
  names[0] = "";
  return NULL;
}

static Status create_value(void* memory, void* data, size_t size, const int64_t* shape, size_t rank, int element,
                           void** made) {
  (void)memory;
  if (size != 16 * sizeof(uint64_t) || rank != 1 || shape[0] != 16 || element != kUint64) return refusal;
  Value* value = malloc(sizeof *value);
  if (value == NULL) return refusal;
  value->data = data;
  *made = value;
  return NULL;
}
static void release_value(void* value) { free(value); }

static Status run(void* session, void* options, const char* const* input_names, Value* const* inputs,
                  size_t input_count, const char* const* output_names, size_t output_count, Value** outputs) {
  (void)session, (void)options;
  if (input_count != 1 || strcmp(input_names[0], "x") != 0) return refusal;
  if (output_count != 1 || strcmp(output_names[0], "y") != 0 || outputs[0] == NULL) return refusal;
  const uint64_t addresses[] = {(uintptr_t)inputs[0]->data, (uintptr_t)outputs[0]->data};
  memcpy(outputs[0]->data, addresses, sizeof addresses); /* the memory may lie on any address */
  return NULL;
}

static void* const kTable[] = {
    [2] = error_message, [3] = create_env,     [8] = create_session,      [9] = run,
    [10] = make, /* CreateSessionOptions */
    [39] = make, /* CreateRunOptions */
    [23] = set_number,   [24] = set_number,    [25] = set_number,         [30] = count_one,
    [31] = count_one,    [33] = tensor_type,   [34] = tensor_type,        [36] = input_name,
    [37] = output_name,  [49] = create_value,  [55] = tensor_info,        [60] = element_type,
    [61] = count_one, /* GetDimensionsCount */
    [62] = dims,         [63] = symbolic_dims, [69] = create_memory_info, [76] = allocator_free,
    [78] = make, /* GetAllocatorWithDefaultOptions */
    [93] = release,      [95] = release,       [96] = release_value,      [98] = release,
    [99] = release,      [100] = release,      [130] = add_config,
    [165] = add_config, /* AddRunConfigEntry */
};

typedef struct {
  const void* (*api)(uint32_t version);
  const char* (*version)(void);
} ApiBase;

static const void* api(uint32_t version) { return version <= LATEST_API ? kTable : NULL; }
static const char* version(void) { return "1." TEXT(LATEST_API) ".0"; }

static const ApiBase kBase = {api, version};
const ApiBase* OrtGetApiBase(void) { return &kBase; }
