// Where a .tflite file's buffers may lie: inside the flatbuffer, or behind it in the same file.
#include "model_files/tflite_buffers.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "rigs/tflite_model.h"
#include "system/memory.h"

namespace edgeward {
namespace {

using namespace testing;

// A convolution whose bias lies `gap` bytes behind the flatbuffer, with `size` bytes.
FlatNode outer_model(uint64_t offset, uint64_t size) {
  FlatNode model = conv_model();
  at(model, schema::model::buffers).nodes[2] = {scalar(schema::buffer::offset, offset),
                                                scalar(schema::buffer::size, size)};
  return model;
}
const uint64_t kEnd = file(outer_model(2, 12)).size();
// A flatbuffer of kEnd bytes, and more behind it.
void read_outer(uint64_t offset, uint64_t size, size_t more) {
  read_tflite(view(file(outer_model(offset, size)) + std::string(more, '\1')));
}

TEST_CASE("a buffer may lie behind the flatbuffer, up to the end of the file") {
  REQUIRE(kEnd % 4 == 0);
  CHECK_NOTHROW(read_outer(kEnd, 12, 12));
  CHECK_NOTHROW(read_outer(kEnd + 8, 12, 20));
  CHECK_NOTHROW(read_outer(kEnd, 16, 16));
}

TEST_CASE("a buffer may lie where no flatbuffer reaches") {
  constexpr uint64_t kFar = (uint64_t{1} << 31) + 16;
  if constexpr (sizeof(size_t) > 4) {
    const Block far = Block::sparse(static_cast<size_t>(kFar + 12));
    const auto read = [&](uint64_t offset) {
      const std::string flatbuffer = file(outer_model(offset, 12));
      std::memcpy(far.data(), flatbuffer.data(), flatbuffer.size());
      read_tflite({far.data(), far.size_bytes()});
    };
    CHECK_NOTHROW(read(kFar));
    check_refusal(Code::malformed_model, {"buffer 2: 12 bytes", "leave the file"}, [&] { read(kFar + 16); });
    const uint32_t root = 0x7fff'fffcU;  // inside the file, and behind what a flatbuffer can be
    std::memcpy(far.data(), &root, sizeof root);
    check_refusal(Code::malformed_model, {"root offset"}, [&] { read_tflite({far.data(), far.size_bytes()}); });
  }
}

TEST_CASE("the bytes of a buffer are in the file, behind the flatbuffer") {
  check_refusal(Code::malformed_model, {"buffer 2: 12 bytes", "leave the file"}, [] { read_outer(kEnd, 12, 11); });
  check_refusal(Code::malformed_model, {"leave the file"}, [] { read_outer(kEnd, ~uint64_t{0}, 12); });
  check_refusal(Code::malformed_model, {"leave the file"}, [] { read_outer(~uint64_t{0} - 8, 12, 12); });
  check_refusal(Code::malformed_model, {"buffer 2", "behind the flatbuffer, which ends at"},
                [] { read_outer(kEnd - 4, 12, 12); });
  check_refusal(Code::malformed_model, {"behind the flatbuffer"}, [] { read_outer(2, 12, 12); });
  check_refusal(Code::malformed_model, {"tensor 2: float32 [3] needs 12 bytes", "has 8"},
                [] { read_outer(kEnd, 8, 12); });
  check_refusal(Code::malformed_model, {"tensor 2: buffer 2", "not aligned to 4"},
                [] { read_outer(kEnd + 2, 12, 16); });
}

TEST_CASE("a file cut at any byte of a buffer behind the flatbuffer is refused") {
  for (size_t more = 0; more < 12; ++more) CHECK_THROWS_AS(read_outer(kEnd, 12, more), Error);
}

TEST_CASE("an offset of 1 is a writer's place-holder") {
  FlatNode model = conv_model();
  set(at(model, schema::model::buffers).nodes[2], scalar<uint64_t>(schema::buffer::offset, 1));
  set(at(model, schema::model::buffers).nodes[2], scalar<uint64_t>(schema::buffer::size, 1));
  CHECK_NOTHROW(read(model));
}

TEST_CASE("a buffer does not lie in two places") {
  check_edit(Code::malformed_model, {"buffer 2: 12 bytes inside the flatbuffer and 8 behind it"}, conv_model(),
             [](FlatNode& model) {
               set(at(model, schema::model::buffers).nodes[2], scalar<uint64_t>(schema::buffer::offset, 4096));
               set(at(model, schema::model::buffers).nodes[2], scalar<uint64_t>(schema::buffer::size, 8));
             });
}

TEST_CASE("buffers behind the flatbuffer share bytes within limits") {
  FlatNode model = conv_model();
  auto& buffers = at(model, schema::model::buffers).nodes;
  for (int i = 0; i < 40; ++i)
    buffers.push_back({scalar<uint64_t>(schema::buffer::offset, 65536), scalar<uint64_t>(schema::buffer::size, 65536)});
  check_refusal(Code::malformed_model, {"16 times"}, [&] {
    std::string bytes = file(model);
    bytes.resize(131072);
    read_tflite(view(bytes));
  });
}

TEST_CASE("large options of an operator are in the file, behind the flatbuffer") {
  const auto with = [](uint64_t offset, uint64_t size) {
    FlatNode model = neg_model();
    set(operator_of(model), scalar(schema::operation::large_custom_options_offset, offset));
    set(operator_of(model), scalar(schema::operation::large_custom_options_size, size));
    return file(model) + std::string(64, '\0');
  };
  const uint64_t end = with(2, 2).size() - 64;
  CHECK_NOTHROW(read_tflite(view(with(end, 64))));
  check_refusal(Code::malformed_model, {"NEG", "options: 65 bytes", "leave the file"},
                [&] { read_tflite(view(with(end, 65))); });
  check_refusal(Code::malformed_model, {"NEG", "options", "behind the flatbuffer"},
                [&] { read_tflite(view(with(end - 1, 8))); });
}

}  // namespace
}  // namespace edgeward
