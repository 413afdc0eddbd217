#include "packages/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <iomanip>
#include <optional>
#include <string_view>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "error.h"
#include "system/file.h"

namespace edgeward {
namespace {

constexpr std::string_view kPrivateWord = "edgeward-private-key ";
constexpr std::string_view kPublicWord = "edgeward-public-key ";
constexpr size_t kMaxBytes = 256;

// A key's text, wiped by the destructor.
struct Text {
  Text() = default;
  ~Text() { wipe(std::as_writable_bytes(std::span(chars))); }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  std::array<char, kMaxBytes> chars;
};

std::string_view view(Bytes text) { return {reinterpret_cast<const char*>(text.data()), text.size()}; }

struct Line {
  KeyAlgorithm algorithm;
  std::string_view digits;
};

std::optional<Line> try_split(std::string_view line, std::string_view word) {
  if (!line.starts_with(word)) return std::nullopt;
  line.remove_prefix(word.size());
  if (line.ends_with('\n')) line.remove_suffix(1);
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto algorithm = key_algorithm(line.substr(0, space));
  if (!algorithm) return std::nullopt;
  return Line{*algorithm, line.substr(space + 1)};
}

// What comes before the key in a SubjectPublicKeyInfo (RFC 8410, 4; RFC 5480, 2): DER, the same for every key.
struct Prefix {
  KeyAlgorithm algorithm;
  std::string_view digits;
  size_t key_bytes;
};
constexpr Prefix kPrefixes[] = {
    {KeyAlgorithm::ed25519, "302a300506032b6570032100", 32},
    {KeyAlgorithm::x25519, "302a300506032b656e032100", 32},
    {KeyAlgorithm::ecdsa_p256, "3059301306072a8648ce3d020106082a8648ce3d030107034200", 65},
};
constexpr std::string_view kPemBegin = "-----BEGIN PUBLIC KEY-----";
constexpr std::string_view kPemEnd = "-----END PUBLIC KEY-----";

PublicKey parse_pem(std::string_view text) {
  text.remove_prefix(kPemBegin.size());
  const size_t end = text.find(kPemEnd);
  std::string base64(text.substr(0, end));
  std::erase_if(base64, [](char character) { return character == '\n' || character == '\r'; });
  const auto der = try_decode_base64(base64);
  if (end != std::string_view::npos && der) {
    const std::string digits = hex(*der);
    for (const Prefix& prefix : kPrefixes) {
      if (!digits.starts_with(prefix.digits) || der->size() != prefix.digits.size() / 2 + prefix.key_bytes) continue;
      return {prefix.algorithm, {der->end() - static_cast<ptrdiff_t>(prefix.key_bytes), der->end()}};
    }
  }
  throw Error(Code::malformed_key, "expected a PEM public key of ed25519, ecdsa-p256 or x25519, got another");
}

// Returns what `parse` reads from the file's text, which is then wiped.
template <class Key>
Key read_key(const File& file, Key (*parse)(Bytes)) {
  if (file.size_bytes() > kMaxBytes) {
    throw Error(Code::malformed_key, "key \"", file.path(), "\": expected a line of text, got ", file.size_bytes(),
                " bytes");
  }
  Text text;
  const auto read = std::as_writable_bytes(std::span(text.chars)).first(file.size_bytes());
  file.read_at(0, read);
  try {
    return parse(read);
  } catch (const Error& error) {
    throw Error(error.code(), "key \"", file.path(), "\": ", error.what());
  }
}

}  // namespace

PrivateKey parse_private_key(Bytes text) {
  if (view(text).starts_with(kPublicWord)) throw Error(Code::malformed_key, "expected a private key, got a public one");
  const auto line = try_split(view(text), kPrivateWord);
  Secret secret;
  if (!line || !try_decode_hex(line->digits, secret.bytes())) {
    throw Error(Code::malformed_key, "expected a line \"", kPrivateWord,
                "ALGORITHM HEX\" as edgeward keygen writes, got something else");
  }
  PrivateKey key{line->algorithm, std::move(secret)};
  public_key(key);  // refuses a scalar that is no key
  return key;
}

PublicKey parse_public_key(Bytes text) {
  if (view(text).starts_with(kPrivateWord))
    throw Error(Code::malformed_key, "expected a public key, got a private one: give the .pub file beside it");
  if (view(text).starts_with(kPemBegin)) return parse_pem(view(text));
  const auto line = try_split(view(text), kPublicWord);
  PublicKey key{KeyAlgorithm::ed25519, {}};
  if (line) {
    key.algorithm = line->algorithm;
    key.bytes.resize(line->algorithm == KeyAlgorithm::ecdsa_p256 ? 65 : 32);
  }
  if (!line || !try_decode_hex(line->digits, key.bytes)) {
    throw Error(Code::malformed_key, "expected a line \"", kPublicWord,
                "ALGORITHM HEX\" as edgeward keygen writes, got something else");
  }
  return key;
}

std::string text(const PublicKey& key) {
  std::string line(kPublicWord);
  line += name(key.algorithm);
  line += ' ';
  const size_t start = line.size();
  line.resize(start + 2 * key.bytes.size());
  encode_hex(key.bytes, std::span(line).subspan(start));
  return line + "\n";
}

PrivateKey read_private_key(const std::string& path) {
  const File file("key", path, File::Links::followed);
  PrivateKey key = read_key(file, parse_private_key);
  const uint32_t mode = file.permissions();
  if ((mode & (S_IRWXG | S_IRWXO)) != 0) {
    throw Error(Code::bad_input, "key \"", path, "\": expected a file that only its owner may read, got mode 0",
                std::oct, mode, ": chmod 600 it");
  }
  return key;
}

PrivateKey read_credential(const std::string& path) {
  return read_key(File("key", path, File::Links::followed), parse_private_key);
}

PublicKey read_public_key(const std::string& path) {
  return read_key(File("key", path, File::Links::followed), parse_public_key);
}

void write_private_key(const PrivateKey& key, const std::string& path) {
  Text text;
  const std::span line(text.chars);
  const std::string_view algorithm = name(key.algorithm);
  size_t size = kPrivateWord.copy(line.data(), kPrivateWord.size());
  size += algorithm.copy(line.data() + size, algorithm.size());
  line[size++] = ' ';
  encode_hex(key.secret.bytes(), line.subspan(size));
  size += 2 * kSecretBytes;
  line[size++] = '\n';
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), path);
  // A short write reports its cause only on the next call.
  size_t done = 0;
  ssize_t put = 0;
  do {
    put = write(file.number(), line.data() + done, size - done);
    if (put > 0) done += static_cast<size_t>(put);
  } while (done < size && (put >= 0 || errno == EINTR));
  if (done == size && fsync(file.number()) == 0) return;
  const int refusal = errno;
  unlink(path.c_str());
  throw std::filesystem::filesystem_error("key", path, {refusal, std::generic_category()});
}

}  // namespace edgeward
