#include "model_files/tflite_copy.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "model_files/flatbuffer.h"
#include "model_files/tflite_schema.h"

namespace edgeward {
namespace {

namespace schema = tflite_schema;

// Objects behind the end of a flatbuffer. An offset leads forward, so what refers is appended before what it
// refers to. Positions are those in the file.
class Appendix {
 public:
  explicit Appendix(size_t end) : start_(static_cast<uint32_t>(round_up(end, kAlignment))) {}

  uint32_t start() const { return start_; }
  Bytes bytes() const { return bytes_; }

  // `count` words, all 0.
  uint32_t append_vector(uint32_t count) {
    const uint32_t position = append((1 + count) * kWord);
    set(position, count);
    return position;
  }

  uint32_t append_string(std::string_view text) {
    const uint32_t position = append(kWord + text.size() + 1);
    set(position, static_cast<uint32_t>(text.size()));
    std::memcpy(bytes_.data() + (position - start_) + kWord, text.data(), text.size());
    return position;
  }

  // A table of words with these fields, in ascending order: the k-th of them is the k-th word behind the first.
  uint32_t append_table(std::initializer_list<uint16_t> fields) {
    const auto entries = static_cast<uint16_t>(std::max(fields) + 1);
    const auto vtable_bytes = static_cast<uint16_t>(2 * (2 + entries));
    const auto table_bytes = static_cast<uint16_t>(kWord * (1 + fields.size()));
    const uint32_t vtable = append(vtable_bytes);
    const uint32_t table = append(table_bytes);
    set(vtable, vtable_bytes);
    set(vtable + 2, table_bytes);
    set(table, table - vtable);
    uint16_t offset = kWord;
    for (const uint16_t field : fields) {
      set(vtable + 4u + 2u * field, offset);
      offset += kWord;
    }
    return table;
  }

  template <class T>
  void set(uint32_t position, T value) {
    std::memcpy(bytes_.data() + (position - start_), &value, sizeof value);
  }
  void point(uint32_t slot, uint32_t target) { set(slot, target - slot); }

  static constexpr uint32_t kWord = 4;

 private:
  static constexpr size_t kAlignment = 8;

  uint32_t append(size_t size_bytes) {
    const auto position = static_cast<uint32_t>(start_ + bytes_.size());
    bytes_.resize(bytes_.size() + round_up(size_bytes, kWord));
    return position;
  }

  uint32_t start_;
  std::vector<std::byte> bytes_;
};

// `wanted`, or more of it until no name equals it.
std::string unlike(const std::set<std::string>& names, std::string wanted) {
  while (names.count(wanted) != 0) wanted += '\'';
  return wanted;
}

uint32_t append_inputs(Appendix& appendix, const FlatVector<int32_t>& inputs,
                       const std::vector<TfliteTensor>& variables) {
  const uint32_t vector = appendix.append_vector(inputs.size() + static_cast<uint32_t>(variables.size()));
  uint32_t slot = vector + Appendix::kWord;
  for (uint32_t i = 0; i < inputs.size(); ++i, slot += Appendix::kWord) appendix.set(slot, inputs[i]);
  for (const TfliteTensor& variable : variables) {
    appendix.set(slot, variable.tensor_index);
    slot += Appendix::kWord;
  }
  return vector;
}

void append_maps(Appendix& appendix, uint32_t slot, const std::vector<TfliteTensor>& tensors) {
  const uint32_t vector = appendix.append_vector(static_cast<uint32_t>(tensors.size()));
  appendix.point(slot, vector);
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const uint32_t map = appendix.append_table({schema::tensor_map::name, schema::tensor_map::tensor_index});
    appendix.point(vector + (1 + i) * Appendix::kWord, map);
    appendix.set(map + 2 * Appendix::kWord, tensors[i].tensor_index);
    appendix.point(map + Appendix::kWord, appendix.append_string(tensors[i].name));
  }
}

void append_signature(Appendix& appendix, uint32_t slot, const TfliteSignature& signature) {
  const uint32_t table = appendix.append_table({schema::signature::inputs, schema::signature::outputs,
                                                schema::signature::signature_key, schema::signature::subgraph_index});
  appendix.point(slot, table);
  std::vector<TfliteTensor> inputs = signature.inputs;
  std::set<std::string> names;
  for (const TfliteTensor& input : inputs) names.insert(input.name);
  for (TfliteTensor variable : signature.variables) {
    variable.name = unlike(names, "state of tensor " + std::to_string(variable.tensor_index));
    inputs.push_back(std::move(variable));
  }
  append_maps(appendix, table + Appendix::kWord, inputs);
  append_maps(appendix, table + 2 * Appendix::kWord, signature.outputs);
  appendix.point(table + 3 * Appendix::kWord, appendix.append_string(signature.key));
  appendix.set(table + 4 * Appendix::kWord, static_cast<uint32_t>(signature.subgraph_index));
}

uint32_t append_signatures(Appendix& appendix, const std::vector<TfliteSignature>& written,
                           const std::vector<int32_t>& initializers) {
  std::vector<TfliteSignature> signatures = written;
  std::set<std::string> keys;
  for (const TfliteSignature& signature : written) keys.insert(signature.key);
  for (const int32_t initializer : initializers) {
    TfliteSignature& signature = signatures.emplace_back();
    signature.key = unlike(keys, "first values of subgraph " + std::to_string(initializer));
    signature.subgraph_index = static_cast<size_t>(initializer);
  }
  const uint32_t vector = appendix.append_vector(static_cast<uint32_t>(signatures.size()));
  for (uint32_t i = 0; i < signatures.size(); ++i)
    append_signature(appendix, vector + (1 + i) * Appendix::kWord, signatures[i]);
  return vector;
}

constexpr size_t kBufferAlignment = 64;  // above what writers give to buffers behind the flatbuffer

// Moves the offset in that field of `table`, of something behind the flatbuffer, on by `distance`.
void move_on(Block& copy, const FlatTable& table, uint32_t field, uint64_t distance) {
  const auto offset = table.scalar<uint64_t>(field, 0);
  if (offset <= 1) return;  // nothing is there
  const uint64_t moved = offset + distance;
  std::memcpy(copy.data() + table.position(field), &moved, sizeof moved);
}

void move_on(Block& copy, const FlatTable& root, uint64_t distance) {
  const FlatTables buffers = root.tables(schema::model::buffers);
  for (uint32_t i = 0; i < buffers.size(); ++i) move_on(copy, buffers[i], schema::buffer::offset, distance);
  const FlatTables subgraphs = root.tables(schema::model::subgraphs);
  for (uint32_t i = 0; i < subgraphs.size(); ++i) {
    const FlatTables operators = subgraphs[i].tables(schema::subgraph::operators);
    for (uint32_t k = 0; k < operators.size(); ++k)
      move_on(copy, operators[k], schema::operation::large_custom_options_offset, distance);
  }
}

}  // namespace

TfliteCopy copy_with_state(Bytes file, const TfliteFile& facts) {
  const auto [root, end] = schema::read_tables(file);
  Appendix appendix(end);
  std::vector<std::pair<uint32_t, uint32_t>> redirected;  // from the position of an offset to what it shall lead to
  std::set<int32_t> initializers;
  for (const TfliteSignature& signature : facts.signatures) {
    initializers.insert(signature.initializers.begin(), signature.initializers.end());
    if (signature.variables.empty()) continue;
    const FlatTable subgraph = root.tables(schema::model::subgraphs)[static_cast<uint32_t>(signature.subgraph_index)];
    redirected.emplace_back(
        subgraph.position(schema::subgraph::inputs),
        append_inputs(appendix, subgraph.vector<int32_t>(schema::subgraph::inputs), signature.variables));
  }
  TfliteCopy copy{{}, {initializers.begin(), initializers.end()}};
  if (root.has(schema::model::signature_defs)) {
    redirected.emplace_back(root.position(schema::model::signature_defs),
                            append_signatures(appendix, facts.signatures, copy.initializers));
  }
  const size_t distance = round_up(appendix.start() + appendix.bytes().size() - end, kBufferAlignment);
  copy.file = Block::secret(file.size() + distance);
  std::memset(copy.file.data() + end, 0, distance);
  std::memcpy(copy.file.data(), file.data(), end);
  std::copy(appendix.bytes().begin(), appendix.bytes().end(), copy.file.data() + appendix.start());
  std::copy(file.begin() + static_cast<ptrdiff_t>(end), file.end(), copy.file.data() + end + distance);
  move_on(copy.file, root, distance);
  for (const auto& [slot, target] : redirected) {
    const uint32_t offset = target - slot;
    std::memcpy(copy.file.data() + slot, &offset, sizeof offset);
  }
  // Parts of a file may overlap; then the offsets above are also something else.
  read_tflite({copy.file.data(), copy.file.size_bytes()});
  return copy;
}

TfliteMarksCleared::TfliteMarksCleared(const Block& file, const TfliteFile& facts)
    : file_(file.data()), marks_(facts.marks) {
  for (const TfliteMark& mark : marks_) std::memcpy(&contents_.emplace_back(0), file_ + mark.position, mark.size_bytes);
  for (const TfliteMark& mark : marks_) std::memset(file_ + mark.position, 0, mark.size_bytes);
  try {
    schema::read_tables({file.data(), file.size_bytes()});
  } catch (...) {
    restore();
    throw;
  }
}

TfliteMarksCleared::~TfliteMarksCleared() { restore(); }

void TfliteMarksCleared::restore() noexcept {
  for (size_t i = 0; i < marks_.size(); ++i)
    std::memcpy(file_ + marks_[i].position, &contents_[i], marks_[i].size_bytes);
}

}  // namespace edgeward
