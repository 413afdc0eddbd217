// StatisticsCounter: counts the inferences of one session. What it has counted is taken as Statistics. One thread at a
// time.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bytes/bytes.h"
#include "captures/row_counter.h"
#include "captures/statistics.h"
#include "captures/value_counter.h"
#include "tensor/signature.h"

namespace edgeward {

// The edges of a tensor's bins, by whether it is an output, and its name: a list for each part, in the order of
// TensorParts. A list for one part, of a tensor that has several, is of all its values: its columns are not counted
// then. Other tensors have adaptive bins.
using TensorEdges = std::map<std::pair<bool, std::string>, std::vector<std::vector<float>>>;

class StatisticsCounter {
 public:
  // Of a tensor with more elements than this that is no rows, every k-th stretch of kStretch elements is counted, where
  // k is the least that keeps to the limit. The first of them moves on by one from run to run: each element has its
  // turn.
  static constexpr size_t kStretch = 16;
  static constexpr size_t kMaxElements = 8'192;
  // What of such a tensor is compared with the inference before, spread evenly: elements, or pixels of a picture.
  static constexpr size_t kMaxSample = 256;

  // Inferences of no more bytes wait, until there are so many.
  static constexpr size_t kMaxWaitingBytes = 2'048;
  static constexpr size_t kMaxWaiting = 16;

  // Throws Error(bad_input) for edges of a tensor that has other parts, and for edges that do not ascend.
  StatisticsCounter(const Signature& signature, const TensorEdges& edges);

  // The views are of all inputs and outputs, in the signature's order.
  void add(std::span<const TensorView> inputs, std::span<const TensorView> outputs, uint64_t latency_ns);
  void add_failure() { ++error_count_; }

  // All that was counted since the last take().
  Statistics statistics();
  // The same; what is counted from here on begins at zero. When memory runs out, nothing is taken.
  Statistics take();

 private:
  struct Tensor {
    bool is_output;
    TensorSpec spec;
    TensorParts parts;
    float zero = 0;       // the stored score that stands for 0
    float scale = 1;      // of one stored unit
    ValueCounter values;  // unless it has columns
    RowCounter columns;
    bool has_laid_figures = false;  // and which counter they are in
    size_t first_figure = 0;        // among its columns
    std::vector<float> row;         // one, and what is read beyond it
    std::vector<float> sample;      // of the last inference
    std::vector<uint64_t> classes;
  };
  // The figures of all tensors, one row an inference.
  struct Figures {
    std::vector<PartName> names;
    std::vector<std::vector<float>> edges;
    std::vector<float> row;
    RowCounter counter;
  };
  // Small inferences, copied, which are counted some at a time: between two runs of a model what counts them leaves the
  // nearest caches, and so it is fetched once for all.
  struct Waiting {
    std::vector<std::byte> bytes;  // kMaxWaitingBytes for each, and a vector behind them
    bool are_copies = true;        // in `bytes`, and not a single one that did not wait
    std::vector<Bytes> tensors;    // of each, all inputs and outputs
    std::vector<uint64_t> latencies_ns;
    size_t run_count = 0;
    size_t counted_count = 0;  // of these
  };
  // What one inference gives to the figures of a tensor.
  struct Run {
    Moments moments;
    double margin = 0;
    double entropy = 0;
    size_t row_count = 0;
  };

  void add_tensor_of(const TensorSpec& spec, bool is_output, const TensorEdges& edges);
  Figures& figures_of(const Tensor& tensor) { return tensor.has_laid_figures ? laid_figures_ : adaptive_figures_; }
  void count_waiting();
  void count(std::span<const Bytes> tensors, uint64_t latency_ns);
  void add_tensor(Tensor& tensor, Bytes bytes);
  template <class Element, class ToFloat>
  void add_rows(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float, Run& run);
  template <class Element, class ToFloat>
  void add_values(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float, Run& run);
  template <class Element, class ToFloat>
  void add_sample(Tensor& tensor, const Element* elements, size_t count, const ToFloat& to_float);
  static void add_scores(Tensor& tensor, const float* row, Run& run);
  void put_figures(const Tensor& tensor, const Run& run);

  uint64_t run_count_ = 0;
  uint64_t turn_ = 0;  // runs ever: which elements of a large tensor are counted
  uint64_t error_count_ = 0;
  LatencyHistogram latency_;
  Waiting waiting_;
  std::vector<Tensor> tensors_;
  Figures adaptive_figures_;
  Figures laid_figures_;
};

}  // namespace edgeward
