#include "engines/last_words.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace edgeward {
namespace {

// Fast enough for a call that compiles a model: no call of ours that is made often has last words.
thread_local LastWords* innermost = nullptr;

// Severities that inform; what has another one, or none, is a reason.
constexpr std::string_view kInformative[] = {"INFO:", "VERBOSE:", "DEBUG:"};
constexpr std::string_view kErroneous = "ERROR: ";

}  // namespace

struct LastWordsStream {
  static ssize_t write(void*, const char* bytes, size_t size) {
    LastWords* words = innermost;
    if (words == nullptr || words->log_ == EngineLog::shown) (void)std::fwrite(bytes, 1, size, stderr);
    if (words != nullptr) {
      const size_t room = std::min(size, sizeof(words->bytes_) - words->size_);
      std::memcpy(words->bytes_ + words->size_, bytes, room);
      words->size_ += room;
    }
    return static_cast<ssize_t>(size);
  }

  // Unbuffered, as standard error is; never closed. Null when there is no memory for it.
  static std::FILE* open() {
    cookie_io_functions_t functions{};
    functions.write = write;
    std::FILE* stream = fopencookie(nullptr, "w", functions);
    if (stream != nullptr) (void)std::setvbuf(stream, nullptr, _IONBF, 0);
    return stream;
  }
};

void hear(const Library& library) {
  static std::FILE* stream = LastWordsStream::open();
  if (stream != nullptr) (void)library.try_redirect("stderr", &stderr, &stream);
}

LastWords::LastWords(EngineLog log) : log_(log), outer_(innermost) { innermost = this; }

LastWords::~LastWords() { innermost = outer_; }

std::string LastWords::text() const { return std::string(bytes_, size_); }

std::string as_reason(const std::string& lines) {
  std::string reason;
  for (std::string_view rest = lines; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (std::any_of(std::begin(kInformative), std::end(kInformative),
                    [&](std::string_view severity) { return line.starts_with(severity); }))
      continue;
    if (line.starts_with(kErroneous)) line.remove_prefix(kErroneous.size());
    // "[error_reporter.cc:27] ": where in the engine's source.
    if (line.starts_with('[') && line.find("] ") != line.npos) line.remove_prefix(line.find("] ") + 2);
    while (!line.empty() && (line.back() <= ' ' || line.back() == '.')) line.remove_suffix(1);
    if (!line.empty()) reason.append(reason.empty() ? ": " : "; ").append(line);
  }
  return reason;
}

}  // namespace edgeward
