#include "captures/segment_index.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>

#include "captures/record.h"
#include "captures/record_block.h"

namespace edgeward {
namespace {

std::string frame_fault(uint64_t index) { return "frame " + std::to_string(index); }

// Where the last frame of a whole segment of format 2 begins; nothing for a file that is too short.
std::optional<uint64_t> last_offset(const SegmentReader& reader) {
  const uint64_t last_bytes = frame_bytes(2, sizeof(SegmentFooter));
  if (format_of(reader.head()) != 2 || reader.size_bytes() < kSegmentHeadBytes + last_bytes) return std::nullopt;
  return reader.size_bytes() - last_bytes;
}

std::optional<Frame> try_read_last(SegmentReader& reader) {
  const auto offset = last_offset(reader);
  const auto head = offset ? reader.try_read_head(*offset) : std::nullopt;
  if (!head || !is_last_frame(static_cast<FrameType>(head->type))) return std::nullopt;
  return reader.try_read(*offset, head->index);
}

// Whether offsets rise from the first frame to `end`, and types are those of rows.
bool are_rows(const std::vector<FrameRow>& rows, uint64_t end) {
  uint64_t least = kSegmentHeadBytes;
  for (const FrameRow& row : rows) {
    const auto type = static_cast<FrameType>(row.type);
    const bool is_row = type == FrameType::ring || type == FrameType::block || type == FrameType::counters;
    if (!is_row || row.offset % kFrameAlignment != 0 || row.offset < least || row.offset >= end) return false;
    least = row.offset + kFrameAlignment;
  }
  return rows.empty() ? end == kSegmentHeadBytes : rows.front().offset == kSegmentHeadBytes;
}

// The rows that the segment's index has, when index and last frame fit each other.
std::optional<SegmentIndex> try_read_end(SegmentReader& reader) {
  const auto last = try_read_last(reader);
  if (!last) return std::nullopt;
  const FrameHead last_head = last->head;
  const auto footer = try_read_footer(last->payload, 2);
  if (!footer || footer->frame_count != last_head.index || footer->size_bytes != *last_offset(reader) ||
      footer->frame_count == 0 || footer->index_offset == 0 || footer->index_offset >= footer->size_bytes)
    return std::nullopt;
  const auto frame = reader.try_read(footer->index_offset, footer->frame_count - 1);
  if (!frame || frame->type() != FrameType::index ||
      footer->index_offset + frame_bytes(2, frame->head.payload_bytes) != footer->size_bytes ||
      frame->payload.size() != (footer->frame_count - 1) * sizeof(FrameRow))
    return std::nullopt;
  SegmentIndex index;
  index.rows.resize(footer->frame_count - 1);
  if (!index.rows.empty()) std::memcpy(index.rows.data(), frame->payload.data(), frame->payload.size());
  if (!are_rows(index.rows, footer->index_offset)) return std::nullopt;
  for (const FrameRow& row : index.rows) index.record_count += row.record_count;
  if (index.record_count != last_head.record_count) return std::nullopt;
  index.state =
      last_head.type == static_cast<uint32_t>(FrameType::footer) ? SegmentState::sealed : SegmentState::recovered;
  // Heads are in clear: compare each with what was sealed of it.
  for (uint64_t i = 0; i < index.rows.size() && index.fault.empty(); ++i) {
    const FrameRow& row = index.rows[i];
    const uint64_t end = i + 1 < index.rows.size() ? index.rows[i + 1].offset : footer->index_offset;
    const auto head = reader.try_read_head(row.offset);
    const bool is_same =
        head && head->index == i && fits(*head, row) && row.offset + frame_bytes(2, head->payload_bytes) == end;
    if (!is_same) index.fault = frame_fault(i);
  }
  if (!index.fault.empty()) index.state = SegmentState::damaged;
  return index;
}

// What the heads say, up to the last frame; nothing when one does not follow the other.
std::optional<SegmentIndex> try_read_heads(const SegmentReader& reader) {
  SegmentIndex index;
  uint64_t offset = kSegmentHeadBytes;
  for (uint64_t i = 0;; ++i) {
    const auto head = reader.try_read_head(offset);
    if (!head || head->index != i) return std::nullopt;
    const uint64_t end = offset + frame_bytes(2, head->payload_bytes);
    const auto type = static_cast<FrameType>(head->type);
    if (is_last_frame(type)) {
      if (end != reader.size_bytes() || head->record_count != index.record_count) return std::nullopt;
      index.state = type == FrameType::footer ? SegmentState::sealed : SegmentState::recovered;
      return index;
    }
    if (type != FrameType::index) index.rows.push_back(row_of({*head, {}}, offset, false));
    index.record_count += head->record_count;
    offset = end;
  }
}

SegmentState complete_state(const SegmentReader& reader) {
  if (reader.is_recovered()) return SegmentState::recovered;
  const bool is_first = format_of(reader.head()) == 1;
  if (is_first) return reader.is_encrypted() ? SegmentState::unauthenticated : SegmentState::sealed;
  return reader.is_readable() ? SegmentState::damaged : SegmentState::sealed;
}

SegmentIndex read_all(SegmentReader& reader) {
  SegmentIndex index;
  uint64_t offset = kSegmentHeadBytes;
  while (const auto frame = reader.next()) {
    if (frame->type() != FrameType::index && !is_last_frame(frame->type())) {
      index.rows.push_back(row_of(*frame, offset, reader.is_readable()));
      index.record_count += index.rows.back().record_count;
    }
    offset = reader.whole_bytes();
  }
  if (reader.is_complete()) {
    index.state = complete_state(reader);
    // A footer without the index that a writer puts before it.
    if (index.state == SegmentState::damaged) index.fault = "end";
    return index;
  }
  index.hole_count = reader.hole_count();
  const bool is_open = reader.path().ends_with(kOpenSuffix);
  index.state = is_open ? SegmentState::open : SegmentState::damaged;
  if (is_open && index.hole_count == 0) return index;
  const auto head = reader.try_read_head(offset);
  const bool is_end = head && (is_last_frame(static_cast<FrameType>(head->type)) ||
                               static_cast<FrameType>(head->type) == FrameType::index);
  index.fault = is_end || offset == reader.size_bytes() ? "end" : frame_fault(reader.frame_count());
  return index;
}

}  // namespace

SegmentIndex read_index(SegmentReader& reader) {
  if (format_of(reader.head()) == 2) {
    if (auto index = reader.is_readable() ? try_read_end(reader) : try_read_heads(reader)) return std::move(*index);
  }
  return read_all(reader);
}

FrameRow row_of(const Frame& frame, uint64_t offset, bool is_readable) {
  RecordSpan span;
  span.record_count = frame.head.record_count;
  if (is_readable && frame.type() == FrameType::block) {
    if (const auto block = RecordBlock::try_read(frame.payload)) span = block->span();
  } else if (is_readable && frame.type() == FrameType::record) {
    if (const auto record = try_read_record(frame.payload)) {
      const RecordHead& head = record->head;
      span = {1,
              0,
              0,
              head.wall_ns,
              head.wall_ns,
              head.monotonic_ns,
              head.monotonic_ns,
              head.reason,
              head.replaces != 0,
              !std::all_of(record->tensors.begin(), record->tensors.end(), is_array)};
    }
  }
  // The frame's head rules: it is what the next drain believes.
  span.record_count = frame.head.record_count;
  span.first_sequence = frame.head.first_sequence;
  span.last_sequence = frame.head.last_sequence;
  return row_of(frame.type(), frame.head.ring_id, span, offset);
}

uint64_t record_count(const std::string& path) {
  try {
    SegmentReader reader(path, nullptr);
    if (const auto last = try_read_last(reader)) return last->head.record_count;
    uint64_t count = 0;
    while (const auto frame = reader.next()) {
      if (!is_last_frame(frame->type())) count += frame->head.record_count;
    }
    return count;
  } catch (const std::exception&) {
    return 0;  // it is damaged, as far as a head
  }
}

}  // namespace edgeward
