// A libLiteRt.so that knows one model, y = -x over float32 [-1, 4], and checks every call it gets as the real one does
// not. Reads past the end of its inputs as XNNPACK's kernels do. An instance of fake_litert.h says how it shall fail.
#include "rigs/fake_litert.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace {

using Status = int;

FakeLitert fake;

enum class Kind {
  environment,
  model,
  options,
  opaque,
  compiled,
  buffer
};

struct Object {
  explicit Object(Kind what) : kind(what) { ++fake.live_objects; }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object() { --fake.live_objects; }
  Kind kind;
};

struct Layout {
  unsigned rank : 7;
  unsigned has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
};
struct RankedTensorType {
  int element_type;
  Layout layout;
};
struct EnvironmentOption {
  int tag;
  struct {
    int type;
    int64_t integer;
  } value;
};
struct ProfilerEvent {
  const char* tag;
  uint32_t kind;
  uint64_t times[2];
  uint64_t memory[6];
  uint64_t node_index;
  uint64_t metadata;
  int source;
};

struct Opaque : Object {
  Opaque(void* text, void (*end)(void*)) : Object(Kind::opaque), payload(text), destroy(end) {}
  ~Opaque() { destroy(payload); }
  void* payload;
  void (*destroy)(void*);
};
struct Buffer : Object {
  Buffer(const RankedTensorType& shape, void* memory, size_t size)
      : Object(Kind::buffer), type(shape), data(memory), size_bytes(size) {
    ++fake.live_buffers;
  }
  ~Buffer() { --fake.live_buffers; }
  RankedTensorType type;
  void* data;
  size_t size_bytes;
};
constexpr size_t kCacheBytes = 4096;

// The cache that the next compiled model is told of: options go where they belong to in one thread.
thread_local std::string cache_path;

// Writes a cache that is empty, and maps any other. Null where that fails.
void* map_cache() {
  if (cache_path.empty() || !fake.takes_caches) return nullptr;
  int file = open(cache_path.c_str(), O_RDONLY);
  const bool is_empty = file >= 0 && lseek(file, 0, SEEK_END) == 0;
  if (is_empty) {
    close(file);
    file = open(cache_path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
    const std::string bytes(kCacheBytes, 'w');
    if (write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(kCacheBytes)) ++fake.packs;
  }
  void* pages = mmap(nullptr, kCacheBytes, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  return pages == MAP_FAILED ? nullptr : pages;
}

struct Compiled : Object {
  Compiled() : Object(Kind::compiled), cache(map_cache()) {
    if (cache != nullptr) ++fake.mapped;
  }
  ~Compiled() {
    if (cache == nullptr) return;
    --fake.mapped;
    munmap(cache, kCacheBytes);
  }
  void* cache;
  int rows = 1;
  void* input_data = nullptr;  // of the last run, where an input stays that is null
  size_t input_bytes = 0;
  bool has_run = false;
  std::atomic<bool> is_in_use{false};
};

constexpr int kColumns = 4;
constexpr int kFloat32 = 1;
constexpr size_t kAlignmentBytes = 64;
constexpr size_t kOverreadBytes = 16;

bool expect(bool is_right) {
  if (!is_right) ++fake.complaints;
  return is_right;
}
bool is(const void* object, Kind kind) {
  return expect(object != nullptr && static_cast<const Object*>(object)->kind == kind);
}

template <class T, class... Arguments>
Status make(Status status, void** object, Arguments&&... arguments) {
  if (status == 0) *object = static_cast<Object*>(new T(arguments...));
  return status;
}
template <class T>
void destroy(void* object, Kind kind) {
  if (is(object, kind)) delete static_cast<T*>(static_cast<Object*>(object));
}

__attribute__((no_sanitize("address", "thread"))) void read_past(const void* data, size_t size_bytes) {
  const volatile char* end = static_cast<const char*>(data) + size_bytes;
  for (size_t i = 0; i < kOverreadBytes; ++i) (void)end[i];
}

bool fits(const Buffer& buffer, const Compiled& compiled) {
  return is(&buffer, Kind::buffer) &&
         expect(buffer.size_bytes == sizeof(float) * kColumns * static_cast<size_t>(compiled.rows)) &&
         expect(buffer.type.element_type == kFloat32 && buffer.type.layout.rank == 2) &&
         expect(buffer.type.layout.dimensions[0] == compiled.rows && buffer.type.layout.dimensions[1] == kColumns);
}

}  // namespace

extern "C" {

FakeLitert* fake_litert() { return &fake; }

void* fake_litert_allocate(size_t size_bytes) {
  void* memory = nullptr;
  return posix_memalign(&memory, 64, size_bytes) == 0 ? memory : nullptr;
}

void fake_litert_say(const char* line) { std::fprintf(stderr, "%s\n", line); }

Status LiteRtCreateEnvironment(int count, const EnvironmentOption* options, void** object) {
  constexpr int kAutoRegisterAccelerators = 24;
  for (int i = 0; i < count; ++i) {
    if (options[i].tag == kAutoRegisterAccelerators) fake.looked_for_accelerators = options[i].value.integer;
  }
  return make<Object>(fake.environment_status, object, Kind::environment);
}
void LiteRtDestroyEnvironment(void* environment) { destroy<Object>(environment, Kind::environment); }

Status LiteRtCreateModelFromBuffer(void* environment, const void* bytes, size_t size, void** object) {
  is(environment, Kind::environment);
  expect(size > 8 && std::memcmp(static_cast<const char*>(bytes) + 4, "TFL3", 4) == 0);
  return make<Object>(fake.model_status, object, Kind::model);
}
void LiteRtCreateModelFromFd() {}
void LiteRtDestroyModel(void* model) { destroy<Object>(model, Kind::model); }

Status LiteRtCreateOptions(void** object) { return make<Object>(0, object, Kind::options); }
void LiteRtDestroyOptions(void* options) { destroy<Object>(options, Kind::options); }
Status LiteRtSetOptionsHardwareAccelerators(void* options, int mask) {
  is(options, Kind::options);
  fake.accelerators = mask;
  return 0;
}
Status LiteRtCreateOpaqueOptions(const char* kind, void* payload, void (*end)(void*), void** object) {
  int threads = 0;
  if (std::strcmp(kind, "xnnpack") == 0 &&
      expect(std::sscanf(static_cast<const char*>(payload), "num_threads = %d", &threads) == 1)) {
    fake.threads = threads;
    const std::string text(static_cast<const char*>(payload));
    const std::string key = "\nweight_cache_file_path = \"";
    const size_t path = text.find(key);
    cache_path = path == std::string::npos ? "" : text.substr(path + key.size());
    if (!cache_path.empty()) cache_path.pop_back();
  }
  return make<Opaque>(0, object, payload, end);
}
// Takes the opaque options over, as the real one does.
Status LiteRtAddOpaqueOptions(void* options, void* opaque) {
  is(options, Kind::options);
  destroy<Opaque>(opaque, Kind::opaque);
  return 0;
}

Status LiteRtCreateCompiledModel(void* environment, void* model, void* options, void** object) {
  is(environment, Kind::environment);
  is(model, Kind::model);
  is(options, Kind::options);
  ++fake.compilations;
  return make<Compiled>(fake.compile_status, object);
}
void LiteRtDestroyCompiledModel(void* compiled) { destroy<Compiled>(compiled, Kind::compiled); }

Status LiteRtGetCompiledModelOutputTensorLayouts(void* handle, size_t signature, size_t count, Layout* layouts, bool) {
  if (!is(handle, Kind::compiled) || !expect(signature == 0 && count == 1)) return 1;
  const auto* compiled = static_cast<Compiled*>(static_cast<Object*>(handle));
  const int rows_after_run = fake.rows_after_run;
  layouts[0] = Layout{};
  layouts[0].rank = 2;
  layouts[0].dimensions[0] = compiled->has_run && rows_after_run != 0 ? rows_after_run : compiled->rows;
  layouts[0].dimensions[1] = kColumns;
  return 0;
}
Status LiteRtCompiledModelResizeInputTensor(void* handle, size_t signature, size_t index, const int* dims,
                                            size_t rank) {
  if (!is(handle, Kind::compiled) || !expect(signature == 0 && index == 0 && rank == 2 && dims[1] == kColumns))
    return 1;
  if (fake.resize_status != 0) return fake.resize_status;
  static_cast<Compiled*>(static_cast<Object*>(handle))->rows = dims[0];
  return 0;
}

Status LiteRtCreateTensorBufferFromHostMemory(const RankedTensorType* type, void* data, size_t size, void (*end)(void*),
                                              void** object) {
  expect(end == nullptr);
  if (reinterpret_cast<uintptr_t>(data) % kAlignmentBytes != 0) return 1;
  return make<Buffer>(fake.buffer_status, object, *type, data, size);
}
void LiteRtDestroyTensorBuffer(void* buffer) { destroy<Buffer>(buffer, Kind::buffer); }

Status LiteRtRunCompiledModel(void* handle, size_t signature, size_t input_count, void** inputs, size_t output_count,
                              void** outputs) {
  if (!is(handle, Kind::compiled) || !expect(signature == 0 && input_count == 1 && output_count == 1)) return 1;
  auto* compiled = static_cast<Compiled*>(static_cast<Object*>(handle));
  expect(!compiled->is_in_use.exchange(true));
  ++fake.runs;
  if (inputs[0] != nullptr) {
    const auto* input = static_cast<Buffer*>(static_cast<Object*>(inputs[0]));
    if (fits(*input, *compiled)) {
      compiled->input_data = input->data;
      compiled->input_bytes = input->size_bytes;
    }
    ++fake.registrations;
  }
  const auto* output = static_cast<Buffer*>(static_cast<Object*>(outputs[0]));
  Status status = fake.run_status;
  const size_t expected_bytes = sizeof(float) * kColumns * static_cast<size_t>(compiled->rows);
  if (!expect(compiled->input_bytes == expected_bytes) || !fits(*output, *compiled)) status = 1;
  if (status == 0) {
    read_past(compiled->input_data, compiled->input_bytes);
    const auto* from = static_cast<const float*>(compiled->input_data);
    auto* to = static_cast<float*>(output->data);
    for (size_t i = 0; i < compiled->input_bytes / sizeof(float); ++i) to[i] = -from[i];
    compiled->has_run = true;
  }
  compiled->is_in_use = false;
  return status;
}

Status LiteRtCompiledModelGetProfiler(void* compiled, void** profiler) {
  *profiler = compiled;
  return is(compiled, Kind::compiled) ? 0 : 1;
}
Status LiteRtStartProfiler(void* profiler) { return is(profiler, Kind::compiled) ? 0 : 1; }
// One event for the whole run, and one for each node that fell back.
Status LiteRtGetNumProfilerEvents(void*, int* count) {
  *count = 1 + fake.fallback_count;
  return 0;
}
Status LiteRtGetProfilerEvents(void*, int count, ProfilerEvent* events) {
  constexpr uint32_t kRun = 1;
  constexpr uint32_t kOperator = 2;
  for (int i = 0; i < count; ++i) {
    events[i] = ProfilerEvent{};
    events[i].kind = i == 0 ? kRun : kOperator;
    events[i].node_index = static_cast<uint64_t>(i);
  }
  return 0;
}

Status LiteRtGetNumModelSignatures(void* model, size_t* count) {
  *count = 1;
  return is(model, Kind::model) ? 0 : 1;
}
Status LiteRtGetModelSignature(void* model, size_t index, void** signature) {
  *signature = model;  // lies inside the model
  return is(model, Kind::model) && expect(index == 0) ? 0 : 1;
}
Status LiteRtGetSignatureKey(void*, const char** key) {
  *key = "<placeholder signature>";
  return 0;
}
Status LiteRtGetNumSignatureInputs(void*, size_t* count) {
  *count = 1;
  return 0;
}
Status LiteRtGetNumSignatureOutputs(void*, size_t* count) {
  *count = 1;
  return 0;
}
Status LiteRtGetSignatureInputName(void*, size_t, const char** name) {
  *name = fake.input_name;
  return 0;
}
Status LiteRtGetSignatureOutputName(void*, size_t, const char** name) {
  *name = "y";
  return 0;
}

}  // extern "C"
