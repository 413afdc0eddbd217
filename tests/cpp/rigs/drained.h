// What goes into rings and what came out of a drain, told apart by numbers: each record's bytes follow from its ring
// and its sequence, so that a mixture of two, one that is missing and one that is there twice are all seen.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "captures/record.h"
#include "captures/record_block.h"
#include "captures/ring_writer.h"
#include "captures/segment_reader.h"
#include "rigs/directory.h"
#include "rigs/numbered_record.h"
#include "system/file.h"

namespace edgeward {

using Sequences = Numbers;

// A record of one tensor of `tensor_bytes`, with the ring's id as its correlation. False when there is no room.
inline bool try_put_record(RingWriter& writer, uint64_t sequence, uint32_t tensor_bytes) {
  const auto form = lay_out_record(
      {{RecordSide::input, 0, DType::uint8, Shape{static_cast<int64_t>(tensor_bytes)}, tensor_bytes, 0}}, 0);
  RecordHead head;
  head.size_bytes = form->size_bytes;
  head.tensor_count = 1;
  head.sequence = sequence;
  head.position = writer.position();
  head.lost_before = writer.lost();
  head.correlation_id = writer.ring_id();
  const std::span<std::byte> room = writer.try_claim(head.size_bytes);
  if (room.empty()) return false;
  write_record_head(head, *form, {}, room);
  for (uint64_t at = 0; at < tensor_bytes; at += 8) {
    const uint64_t word = numbered_word(sequence, at);
    std::memcpy(room.data() + form->tensors[0].offset + at, &word, std::min<uint64_t>(8, tensor_bytes - at));
  }
  writer.commit();
  return true;
}

inline bool put_records(RingWriter& writer, uint64_t first, uint64_t last, uint32_t tensor_bytes = 100) {
  for (uint64_t sequence = first; sequence <= last; ++sequence) {
    if (!try_put_record(writer, sequence, tensor_bytes)) return false;
  }
  return true;
}

// Whether a record of `ring_id` is as try_put_record made it.
inline bool is_as_put(const RecordHead& head, Bytes tensor, uint64_t ring_id) {
  if (head.correlation_id != ring_id) return false;
  for (uint64_t at = 0; at < tensor.size(); at += 8) {
    const uint64_t word = numbered_word(head.sequence, at);
    if (std::memcmp(tensor.data() + at, &word, std::min<uint64_t>(8, tensor.size() - at)) != 0) return false;
  }
  return true;
}

// What all segments of a directory hold together, in the order of their names.
struct Drained {
  std::map<uint64_t, Sequences> sequences;  // by ring
  std::map<uint64_t, Sequences> counters;   // by ring, the last ones; ring 0: the drain's
  size_t segment_count = 0;
  std::string complaint;  // the first thing that must not be: empty

  uint64_t record_count() const {
    uint64_t count = 0;
    for (const auto& [ring_id, some] : sequences) count += some.size();
    return count;
  }
};

inline void add_segment(Drained& all, const std::string& path, const PrivateKey* key) {
  const auto complain = [&](const std::string& what) {
    if (all.complaint.empty()) all.complaint = path + ": " + what;
  };
  ++all.segment_count;
  SegmentReader reader(path, key);
  std::set<uint64_t> described;
  while (const auto frame = reader.next()) {
    const uint64_t ring_id = frame->head.ring_id;
    if (frame->type() == FrameType::ring) described.insert(ring_id);
    if (frame->type() == FrameType::counters) {
      Sequences& counters = all.counters[ring_id];
      counters.resize(frame->payload.size() / 8);
      std::memcpy(counters.data(), frame->payload.data(), counters.size() * 8);
    }
    if (frame->type() != FrameType::block) continue;
    const auto block = RecordBlock::try_read(frame->payload);
    if (!block || block->tensors().size() != 1) {
      complain("a block that nobody put");
      continue;
    }
    if (described.count(ring_id) == 0) complain("a record before its ring");
    Sequences& sequences = all.sequences[ring_id];
    for (uint32_t i = 0; i < block->count(); ++i) {
      const RecordHead head = block->head(i);
      if (!is_as_put(head, block->tensor(0, i), ring_id)) complain("a record that nobody put");
      if (!sequences.empty() && sequences.back() >= head.sequence) complain("a record twice, or out of order");
      sequences.push_back(head.sequence);
    }
    const RecordSpan span = block->span();
    const bool is_told = span.record_count == frame->head.record_count &&
                         span.first_sequence == frame->head.first_sequence &&
                         span.last_sequence == frame->head.last_sequence;
    if (!is_told) complain("a frame of another sequence");
  }
  if (path.ends_with(".ewc") && !reader.is_complete()) complain("not complete");
  if (reader.hole_count() != 0) complain("a hole");
}

// Of the sealed ones.
inline Drained drained(const std::string& directory, const PrivateKey* key = nullptr) {
  Drained all;
  for (const std::string& path : paths_in(directory, ".ewc")) add_segment(all, path, key);
  return all;
}

}  // namespace edgeward
