#include "packages/key_file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <regex>
#include <sstream>
#include <system_error>

#include "bytes/base64.h"
#include "rigs/child.h"
#include "rigs/damage.h"
#include "rigs/directory.h"
#include "rigs/octets.h"
#include "rigs/own_memory.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr KeyAlgorithm kAlgorithms[] = {KeyAlgorithm::ed25519, KeyAlgorithm::ecdsa_p256, KeyAlgorithm::x25519};

// The private key of bytes 01, whose text is known.
PrivateKey key_of_ones(KeyAlgorithm algorithm) { return {algorithm, Secret(Octets(32, std::byte{1}))}; }

std::string private_text(KeyAlgorithm algorithm) {
  std::string text = "edgeward-private-key " + std::string(name(algorithm)) + " ";
  for (int i = 0; i < 32; ++i) text += "01";
  return text + "\n";
}

PrivateKey parsed_private(std::string_view text) { return parse_private_key(std::as_bytes(std::span(text))); }
PublicKey parsed_public(std::string_view text) { return parse_public_key(std::as_bytes(std::span(text))); }

bool is_same_key(const PrivateKey& a, const PrivateKey& b) {
  return a.algorithm == b.algorithm && is_same(a.secret.bytes(), b.secret.bytes());
}

bool is_same_key(const PublicKey& a, const PublicKey& b) { return a.algorithm == b.algorithm && a.bytes == b.bytes; }

// Expects `call` to fail with malformed_key in a message that shows no digits of a key.
template <class Call>
void check_malformed(const std::vector<std::string_view>& words, Call&& call) {
  check_refusal(Code::malformed_key, words, call);
  try {
    call();
  } catch (const Error& error) {
    CHECK_FALSE(std::regex_search(error.what(), std::regex("[0-9a-fA-F]{8}")));
  }
}

template <class Call>
std::error_code system_refusal(Call&& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code();
  }
  return {};
}

// The umask, as it was again at the end.
class Umask {
 public:
  explicit Umask(mode_t mask) : before_(umask(mask)) {}
  ~Umask() { umask(before_); }
  Umask(const Umask&) = delete;
  Umask& operator=(const Umask&) = delete;

 private:
  mode_t before_;
};

TEST_CASE("a public key in PEM, as OpenSSL writes it, is the same key") {
  const std::pair<KeyAlgorithm, std::string> keys[] = {
      {KeyAlgorithm::ed25519, "MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="},
      {KeyAlgorithm::ecdsa_p256,
       "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEb/A7lJJBzh2t1DUZ5pYOCoW0Gmmg\n"
       "XDKBA6orzhWUyhY8T3U6Vb8B3FP2wLDH7ueLQMb/fSWpbiKCuYnO9xwUSg=="},
      {KeyAlgorithm::x25519, "MCowBQYDK2VuAyEA" + encode_base64(public_key(key_of_ones(KeyAlgorithm::x25519)).bytes)},
  };
  for (const auto& [algorithm, base64] : keys) {
    const std::string pem = "-----BEGIN PUBLIC KEY-----\n" + base64 + "\n-----END PUBLIC KEY-----\n";
    CHECK(is_same_key(parsed_public(pem), public_key(key_of_ones(algorithm))));
    std::string windows;
    for (const char character : pem) windows += character == '\n' ? std::string("\r\n") : std::string(1, character);
    CHECK(is_same_key(parsed_public(windows), parsed_public(pem)));
    for (size_t size = 0; size + 1 < pem.size(); ++size)
      check_malformed({}, [&] { parsed_public(std::string_view(pem).substr(0, size)); });
  }
}

TEST_CASE("PEM of another kind of key is refused") {
  const auto pem = [](const std::string& base64) {
    return "-----BEGIN PUBLIC KEY-----\n" + base64 + "\n-----END PUBLIC KEY-----\n";
  };
  // Nothing, no base64, Ed448's prefix, a key that is a byte longer, P-384.
  for (const char* base64 :
       {"", "!", "MEMwBQYDK2VxAzoA",
        "MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1wAA==", "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE"}) {
    check_malformed({"PEM public key of ed25519, ecdsa-p256 or x25519"}, [&] { parsed_public(pem(base64)); });
  }
}

}  // namespace

TEST_CASE("a private key is a line of text in a file that its owner alone may read, and is read from there") {
  const Directory directory;
  for (const mode_t mask : {0, 022, 077}) {
    const Umask umask(mask);
    for (const KeyAlgorithm algorithm : kAlgorithms) {
      CAPTURE(mask);
      CAPTURE(name(algorithm));
      const std::string path = directory.at(std::to_string(mask) + std::string(name(algorithm)));
      write_private_key(key_of_ones(algorithm), path);
      CHECK(content_of(path) == private_text(algorithm));
      CHECK(mode_of(path) == 0600);
      CHECK(is_same_key(read_private_key(path), key_of_ones(algorithm)));
      CHECK(is_same_key(read_credential(path), key_of_ones(algorithm)));
    }
  }
  CHECK(directory.names().size() == 9);
}

TEST_CASE("a public key's text is read as the key it is of") {
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    CAPTURE(name(algorithm));
    const PublicKey key = public_key(key_of_ones(algorithm));
    const std::string line = text(key);
    CHECK(line.starts_with("edgeward-public-key " + std::string(name(algorithm)) + " "));
    CHECK(line.ends_with("\n"));
    CHECK(line.find('\n') == line.size() - 1);
    CHECK(is_same_key(parsed_public(line), key));
    CHECK(is_same_key(parsed_public(line.substr(0, line.size() - 1)), key));
  }
}

TEST_CASE("a private key that others may read is refused with what to do, and is a credential all the same") {
  const Directory directory;
  const std::string path = directory.at("key");
  write_private_key(key_of_ones(KeyAlgorithm::x25519), path);
  size_t refused = 0;
  for (mode_t mode = 0; mode < 01000; ++mode) {
    CAPTURE(mode);
    REQUIRE(chmod(path.c_str(), mode) == 0);
    // What the owner may do does not matter here, and a test of it would not hold for root.
    if ((mode & S_IRUSR) == 0) continue;
    CHECK(is_same_key(read_credential(path), key_of_ones(KeyAlgorithm::x25519)));
    if ((mode & 077) == 0) {
      CHECK(is_same_key(read_private_key(path), key_of_ones(KeyAlgorithm::x25519)));
      continue;
    }
    std::ostringstream shown;
    shown << "mode 0" << std::oct << mode;
    check_refusal(Code::bad_input, {path, "its owner", shown.str(), "chmod 600"}, [&] { read_private_key(path); });
    ++refused;
  }
  CHECK(refused == 4 * 63);
}

TEST_CASE("a public key is no private one, and the other way round, and the message says so") {
  const Directory directory;
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    CAPTURE(name(algorithm));
    const std::string public_line = text(public_key(key_of_ones(algorithm)));
    const std::string private_line = private_text(algorithm);
    check_malformed({"expected a public key, got a private one", ".pub"}, [&] { parsed_public(private_line); });
    check_refusal(Code::malformed_key, {"expected a private key, got a public one"},
                  [&] { parsed_private(public_line); });
    const std::string path = write_file(directory.at("key.pub"), public_line);
    REQUIRE(chmod(path.c_str(), 0600) == 0);
    check_refusal(Code::malformed_key, {path, "got a public one"}, [&] { read_private_key(path); });
    check_refusal(Code::malformed_key, {path, "got a public one"}, [&] { read_credential(path); });
  }
}

TEST_CASE("a text that is not a key is refused, and the message shows nothing of it") {
  const std::string digits(64, '7');
  const std::string texts[] = {
      "",
      "\n",
      "7777777777777777",
      digits,
      "ed25519 " + digits + "\n",
      "edgeward-private-key",
      "edgeward-private-key ed25519",
      "edgeward-private-key ed25519\n",
      "edgeward-private-key " + digits,
      "edgeward-private-key  ed25519 " + digits,
      "edgeward-private-key ed25519  " + digits,
      "edgeward-private-key ed25519\t" + digits,
      "edgeward-private-key ed448 " + digits,
      "edgeward-private-key ED25519 " + digits,
      "edgeward-private-key ed25519 " + digits + " ",
      "edgeward-private-key ed25519 " + digits + "\r\n",
      "edgeward-private-key ed25519 " + digits + "\n\n",
      "edgeward-private-key ed25519 " + digits + digits,
      "edgeward-private-key ed25519 " + digits.substr(1),
      "edgeward-private-key ed25519 " + digits.substr(2) + "AA",
      " edgeward-private-key ed25519 " + digits,
      "EDGEWARD-PRIVATE-KEY ed25519 " + digits,
      "\xEF\xBB\xBF"
      "edgeward-private-key ed25519 " +
          digits,
      "-----BEGIN PRIVATE KEY-----\n" + digits + "\n-----END PRIVATE KEY-----\n",
  };
  for (const std::string& text : texts) {
    CAPTURE(text);
    check_malformed({"edgeward-private-key ALGORITHM HEX"}, [&] { parsed_private(text); });
    std::string other = text;
    const size_t at = other.find("private");
    if (at != std::string::npos) other.replace(at, 7, "public");
    check_malformed({"edgeward-public-key ALGORITHM HEX"}, [&] { parsed_public(other); });
  }
  // Digits of the size of another kind's key.
  check_malformed({"ALGORITHM HEX"}, [&] { parsed_public("edgeward-public-key ecdsa-p256 " + digits); });
  check_malformed({"ALGORITHM HEX"}, [&] {
    parsed_public("edgeward-public-key x25519 " + text(public_key(key_of_ones(kAlgorithms[1]))).substr(31));
  });
}

TEST_CASE("a number that is no P-256 key is refused when it is read") {
  const Directory directory;
  for (const char digit : {'0', 'f'}) {
    const std::string line = "edgeward-private-key ecdsa-p256 " + std::string(64, digit) + "\n";
    check_malformed({"ecdsa-p256", "from 1 to n - 1"}, [&] { parsed_private(line); });
    const std::string path = write_file(directory.at("key"), line);
    REQUIRE(chmod(path.c_str(), 0600) == 0);
    check_refusal(Code::malformed_key, {path, "from 1 to n - 1"}, [&] { read_private_key(path); });
  }
}

TEST_CASE("a key that is cut, longer or changed in a bit is refused or is another key, and no reader goes past it") {
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    CAPTURE(name(algorithm));
    const PrivateKey key = key_of_ones(algorithm);
    const PublicKey half = public_key(key);
    const auto check = [](const std::string& line, const auto& whole, const auto& parse) {
      const Damage damage(from_text(line));
      damage.for_each_cut([&](Bytes text) {
        if (text.size() + 1 == line.size()) {
          CHECK(is_same_key(parse(text), whole));  // without its newline
        } else {
          check_refusal(Code::malformed_key, {"expected a"}, [&] { parse(text); });
        }
      });
      damage.for_each_byte_more(
          [&](Bytes text) { check_refusal(Code::malformed_key, {"expected a"}, [&] { parse(text); }); });
      size_t others = 0;
      size_t refused = 0;
      damage.for_each_flip([&](Bytes text) {
        try {
          const auto other = parse(text);
          CHECK_FALSE(is_same_key(other, whole));
          ++others;
        } catch (const Error& error) {
          CHECK(error.code() == Code::malformed_key);
          ++refused;
        }
      });
      CHECK(others > 0);
      CHECK(refused > 0);
    };
    check(private_text(algorithm), key, [](Bytes text) { return parse_private_key(text); });
    check(text(half), half, [](Bytes text) { return parse_public_key(text); });
  }
}

TEST_CASE("a file that is no line of text is refused by its size, and what is no file by what it is") {
  const Directory directory;
  const auto of_mode_0600 = [&](const std::string& content) {
    const std::string path = write_file(directory.at("key"), content);
    REQUIRE(chmod(path.c_str(), 0600) == 0);
    return path;
  };
  check_refusal(Code::malformed_key, {"key", "a line of text", "got 257 bytes"},
                [&] { read_private_key(of_mode_0600(std::string(257, '7'))); });
  check_refusal(Code::malformed_key, {"key", "got 1000000 bytes"},
                [&] { read_credential(of_mode_0600(std::string(1'000'000, '7'))); });
  for (const size_t size : {0, 256}) {
    check_refusal(Code::malformed_key, {"ALGORITHM HEX"},
                  [&] { read_private_key(of_mode_0600(std::string(size, '7'))); });
  }
  CHECK(system_refusal([&] { read_private_key(directory.at("missing")); }) == std::errc::no_such_file_or_directory);
  CHECK(system_refusal([&] { read_private_key(directory.at(".")); }) == std::errc::is_a_directory);
  REQUIRE(mkfifo(directory.at("fifo").c_str(), 0600) == 0);
  check_refusal(Code::bad_input, {"regular file"}, [&] { read_private_key(directory.at("fifo")); });
}

TEST_CASE("a symbolic link to a key is followed, and it is the key's mode that counts") {
  const Directory directory;
  const std::string key = directory.at("key");
  const std::string link = directory.at("link");
  write_private_key(key_of_ones(KeyAlgorithm::ed25519), key);
  REQUIRE(symlink(key.c_str(), link.c_str()) == 0);
  CHECK(is_same_key(read_private_key(link), key_of_ones(KeyAlgorithm::ed25519)));
  REQUIRE(chmod(key.c_str(), 0640) == 0);
  check_refusal(Code::bad_input, {"mode 0640", "chmod 600"}, [&] { read_private_key(link); });
}

TEST_CASE("a name that is taken stays as it is, whatever it names") {
  const Directory directory;
  const PrivateKey key = key_of_ones(KeyAlgorithm::ed25519);
  const std::string file = write_file(directory.at("file"), "content");
  const std::string link = directory.at("link");
  const std::string dangling = directory.at("dangling");
  REQUIRE(symlink(file.c_str(), link.c_str()) == 0);
  REQUIRE(symlink(directory.at("nowhere").c_str(), dangling.c_str()) == 0);
  REQUIRE(mkdir(directory.at("directory").c_str(), 0700) == 0);
  const auto names = directory.names();
  const unsigned mode = mode_of(file);
  for (const std::string& path : {file, link, dangling, directory.at("directory")}) {
    CAPTURE(path);
    CHECK(system_refusal([&] { write_private_key(key, path); }) == std::errc::file_exists);
  }
  CHECK(content_of(file) == "content");
  CHECK(mode_of(file) == mode);
  CHECK(directory.names() == names);
  CHECK(system_refusal([&] { write_private_key(key, directory.at("missing/key")); }) ==
        std::errc::no_such_file_or_directory);
}

TEST_CASE("a key that is not written whole is not there, and the error says why") {
  const Directory directory;
  const std::string path = directory.at("key");
  const size_t whole = private_text(KeyAlgorithm::ed25519).size();
  for (const size_t limit : {size_t{0}, size_t{1}, size_t{50}, whole - 1}) {
    CAPTURE(limit);
    CHECK(outcome_in_child([&] {
            // The kernel writes up to the limit, and refuses the rest.
            signal(SIGXFSZ, SIG_IGN);
            const rlimit size{limit, limit};
            if (setrlimit(RLIMIT_FSIZE, &size) != 0) return false;
            const PrivateKey key = key_of_ones(KeyAlgorithm::ed25519);
            return system_refusal([&] { write_private_key(key, path); }) == std::errc::file_too_large;
          }) == "");
    CHECK(directory.names().empty());
  }
}

TEST_CASE("a key stays nowhere else in memory when it was written, read, used or refused, neither bytes nor text") {
  const Directory directory;
  const auto search = [](const Secret& secret) {
    const Bytes bytes = secret.bytes();
    Octets text;
    for (const std::byte byte : complement_of(bytes)) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const auto value = std::to_integer<size_t>(~byte);
      for (const size_t half : {value / 16, value % 16}) text.push_back(~static_cast<std::byte>(kDigits[half]));
    }
    const Octets forwards = complement_of(bytes);
    const Octets backwards(forwards.rbegin(), forwards.rend());
    const size_t texts = places_in_own_memory(text, bytes.data());
    const size_t numbers = places_in_own_memory(forwards, bytes.data()) + places_in_own_memory(backwards, bytes.data());
    return texts + numbers != 0;
  };
  // A function that the dynamic linker binds when the search first calls it has the registers of then saved on the
  // stack, the key among them: all are bound by a search for another key.
  const auto is_elsewhere = [&](const Secret& secret) {
    search(generate_key(KeyAlgorithm::x25519).secret);
    return search(secret);
  };
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    CAPTURE(name(algorithm));
    const std::string path = directory.at(std::string(name(algorithm)));
    // Each in a process of its own, which has not seen the key before.
    CHECK(outcome_in_child([&] {
            const PrivateKey key = generate_key(algorithm);
            write_private_key(key, path);
            return !is_elsewhere(key.secret);
          }) == "");
    CHECK(outcome_in_child([&] {
            const PrivateKey key = generate_key(algorithm);
            const bool is_refused = system_refusal([&] { write_private_key(key, path); }) == std::errc::file_exists;
            return is_refused && !is_elsewhere(key.secret);
          }) == "");
    CHECK(outcome_in_child([&] {
            const PrivateKey key = read_private_key(path);
            if (algorithm == KeyAlgorithm::x25519) {
              if (!x25519(key.secret, public_key(key).bytes)) return false;
            } else {
              sign(key, {});
            }
            return !is_elsewhere(key.secret);
          }) == "");
  }
  // The search itself: a copy is found, text or bytes.
  CHECK(outcome_in_child([&] {
          const PrivateKey key = read_private_key(directory.at("ed25519"));
          const std::string copy = content_of(directory.at("ed25519"));
          return is_elsewhere(key.secret) && copy.size() > 64;
        }) == "");
  CHECK(outcome_in_child([&] {
          const PrivateKey key = generate_key(KeyAlgorithm::ed25519);
          const Octets copy(key.secret.bytes().begin(), key.secret.bytes().end());
          return is_elsewhere(key.secret) && copy.size() == 32;
        }) == "");
}

}  // namespace edgeward
