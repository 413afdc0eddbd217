#include "packages/trust_root.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bytes/base64.h"
#include "bytes/hex.h"
#include "rigs/refusal.h"

namespace edgeward {
namespace {

constexpr std::string_view kBodyType = "application/vnd.edgeward.ewp.body.v1";
constexpr auto kEd25519 = KeyAlgorithm::ed25519;
constexpr auto kP256 = KeyAlgorithm::ecdsa_p256;

Bytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// One who signs: the key whose secret is the hash of its name, the same in every run.
struct Signer {
  explicit Signer(std::string_view name, KeyAlgorithm algorithm = kEd25519)
      : key{algorithm, Secret(sha256(bytes(name)))}, half(public_key(key)), id(key_id(half)) {}
  PrivateKey key;
  PublicKey half;
  Digest id;
};

std::string quoted(std::string_view text) {
  std::string json(1, '"');
  json += text;
  json += '"';
  return json;
}

std::string list(const std::vector<std::string>& parts) {
  std::string json = "[";
  for (const std::string& part : parts) json += (json.size() > 1 ? "," : "") + part;
  return json + "]";
}

std::string id_text(const Signer& signer) { return quoted(hex(signer.id)); }

std::string key_text(std::string_view id, std::string_view algorithm, Bytes half) {
  return R"({"id":")" + std::string(id) + R"(","alg":")" + std::string(algorithm) + R"(","pub":")" +
         encode_base64(half) + R"("})";
}

std::string key_text(const Signer& signer) {
  return key_text(hex(signer.id), name(signer.half.algorithm), signer.half.bytes);
}

std::vector<std::string> ids(const std::vector<const Signer*>& signers) {
  std::vector<std::string> texts;
  for (const Signer* signer : signers) texts.push_back(id_text(*signer));
  return texts;
}

std::string role_text(const std::vector<std::string>& key_ids, std::string_view threshold) {
  return R"({"keyids":)" + list(key_ids) + R"(,"threshold":)" + std::string(threshold) + "}";
}

std::string publisher_text(const std::vector<std::string>& key_ids, std::string_view threshold,
                           std::string_view prefixes = R"([""])") {
  return R"({"keyids":)" + list(key_ids) + R"(,"threshold":)" + std::string(threshold) + R"(,"prefixes":)" +
         std::string(prefixes) + "}";
}

// A root as JSON text, field by field, so that each can be any text.
struct Draft {
  std::string version = "1";
  std::string epoch = "0";
  std::string issued = "1000";
  std::string expires = "2000";
  std::vector<std::string> keys;
  std::map<std::string, std::string> roles;
  std::vector<std::string> revoked;
  std::string further;  // more fields, each with its comma first
  std::string_view left_out = "";

  std::string text() const {
    std::string role_texts;
    for (const auto& [role, value] : roles) add(role_texts, role, value);
    std::string json;
    for (const auto& [field, value] : std::map<std::string_view, std::string>{{"version", version},
                                                                              {"epoch", epoch},
                                                                              {"issued", issued},
                                                                              {"expires", expires},
                                                                              {"keys", list(keys)},
                                                                              {"roles", "{" + role_texts + "}"},
                                                                              {"revoked", list(revoked)}}) {
      if (field != left_out) add(json, field, value);
    }
    return "{" + json + further + "}";
  }

 private:
  static void add(std::string& json, std::string_view field, const std::string& value) {
    if (!json.empty()) json += ',';
    json += quoted(field) + ":" + value;
  }
};

// `threshold` of these sign roots; nobody publishes.
Draft draft(const std::vector<const Signer*>& root_signers, size_t threshold = 1) {
  Draft draft;
  for (const Signer* signer : root_signers) draft.keys.push_back(key_text(*signer));
  draft.roles["root"] = role_text(ids(root_signers), std::to_string(threshold));
  return draft;
}

EnvelopeSignature signature_of(const Signer& signer, std::string_view type, std::string_view payload) {
  const SignatureBytes signature = sign(signer.key, pre_authentication_encoding(type, bytes(payload)));
  return {signer.id, {signature.begin(), signature.end()}};
}

std::string envelope_of(std::string_view payload, const std::vector<EnvelopeSignature>& signatures,
                        std::string_view type = kRootType) {
  const Bytes content = bytes(payload);
  return write_envelope({std::string(type), {content.begin(), content.end()}, signatures});
}

std::string signed_by(const std::vector<const Signer*>& signers, std::string_view payload) {
  std::vector<EnvelopeSignature> signatures;
  for (const Signer* signer : signers) signatures.push_back(signature_of(*signer, kRootType, payload));
  return envelope_of(payload, signatures);
}

TrustRoot first(std::string_view envelope) { return TrustRoot::first(bytes(envelope)); }

ClaimedSignature claim(const EnvelopeSignature& signature) { return {signature.key_id, signature.signature}; }

EnvelopeSignature with_flipped_bit(EnvelopeSignature signature) {
  signature.signature[20] ^= std::byte{4};
  return signature;
}

void append(std::vector<std::string>& list, const std::string& text, size_t count) {
  list.insert(list.end(), count, text);
}

}  // namespace

TEST_CASE("a root that its own keys signed is believed, with each algorithm") {
  for (const auto algorithm : {kEd25519, kP256}) {
    CAPTURE(name(algorithm));
    const Signer owner("owner", algorithm);
    Draft document = draft({&owner});
    document.version = "7";
    document.epoch = "65535";
    const TrustRoot root = first(signed_by({&owner}, document.text()));
    CHECK(root.version() == 7);
    CHECK(root.epoch() == 65535);
    CHECK(root.issued_s() == 1000);
    CHECK(root.expires_s() == 2000);
  }
}

TEST_CASE("a root holds until the second it expires") {
  const Signer owner("owner");
  const TrustRoot root = first(signed_by({&owner}, draft({&owner}).text()));
  for (const int64_t now_s : {INT64_MIN, int64_t{0}, int64_t{1999}}) root.require_current(now_s);
  for (const int64_t now_s : {int64_t{2000}, int64_t{2001}, INT64_MAX})
    check_refusal(Code::expired_root, {"version 1: expires", "got 1970-01-01T00:33:20Z"},
                  [&] { root.require_current(now_s); });
}

TEST_CASE("a document that is not a root's is malformed, whoever signed it") {
  const Signer owner("owner");
  const Signer device("device", KeyAlgorithm::x25519);
  const Signer other("other");
  const Signer p256("p256", kP256);
  const std::string root_role = role_text({id_text(owner)}, "1");
  const std::string publisher = publisher_text({id_text(owner)}, "1");
  auto compressed = p256.half.bytes;
  compressed[0] = std::byte{2};
  compressed.resize(33);
  struct Row {
    const char* what;
    std::function<void(Draft&)> change;
    std::vector<std::string_view> words;
  };
  const Row rows[] = {
      {"version 0", [](Draft& d) { d.version = '0'; }, {"version", "got 0"}},
      {"version below 0", [](Draft& d) { d.version = "-1"; }, {"version", "got -1"}},
      {"version that is text", [](Draft& d) { d.version = R"("1")"; }, {"version", "whole number"}},
      {"version with a fraction", [](Draft& d) { d.version = "1.0"; }, {"whole number"}},
      {"version with an exponent", [](Draft& d) { d.version = "1e0"; }, {"whole number"}},
      {"version beyond 63 bits", [](Draft& d) { d.version = "9223372036854775808"; }, {"whole number"}},
      {"epoch below 0", [](Draft& d) { d.epoch = "-1"; }, {"epoch", "got -1"}},
      {"epoch beyond 16 bits", [](Draft& d) { d.epoch = "65536"; }, {"epoch", "got 65536"}},
      {"issued before 1970", [](Draft& d) { d.issued = "-1"; }, {"issued"}},
      {"expires when issued", [](Draft& d) { d.expires = "1000"; }, {"expires", "1001", "got 1000"}},
      {"issued at the last second", [](Draft& d) { d.issued = d.expires = "9223372036854775807"; }, {"issued"}},
      {"a field more", [](Draft& d) { d.further = R"(,"comment":"")"; }, {"comment"}},
      {"a field twice", [](Draft& d) { d.further = R"(,"epoch":1)"; }, {"each key once"}},
      {"no root role", [](Draft& d) { d.roles.clear(); }, {"root"}},
      {"root role without keys", [](Draft& d) { d.roles["root"] = role_text({}, "1"); }, {"roles.root.keyids"}},
      {"root role with prefixes",
       [&](Draft& d) { d.roles["root"] = publisher; },
       {"roles.root", "no field \"prefixes\""}},
      {"root role that is a list", [](Draft& d) { d.roles["root"] = "[]"; }, {"roles.root", "an object"}},
      {"role of no known kind", [&](Draft& d) { d.roles["director"] = root_role; }, {"director"}},
      {"publisher without a name", [&](Draft& d) { d.roles["publisher:"] = publisher; }, {"publisher:NAME"}},
      {"publisher with a dot first", [&](Draft& d) { d.roles["publisher:.a"] = publisher; }, {"publisher:NAME"}},
      {"publisher with a space", [&](Draft& d) { d.roles["publisher:A B"] = publisher; }, {"publisher:NAME"}},
      {"publisher without prefixes",
       [&](Draft& d) { d.roles["publisher:a"] = root_role; },
       {"roles.publisher:a", "\"prefixes\""}},
      {"publisher with no prefix",
       [&](Draft& d) { d.roles["publisher:a"] = publisher_text({id_text(owner)}, "1", "[]"); },
       {"prefixes", "at least one"}},
      {"prefix that no name has",
       [&](Draft& d) { d.roles["publisher:a"] = publisher_text({id_text(owner)}, "1", R"(["A/"])"); },
       {"prefixes", "\"A/\""}},
      {"role of a key that is not listed",
       [&](Draft& d) { d.roles["publisher:a"] = publisher_text({id_text(other)}, "1"); },
       {"listed keys"}},
      {"role that lists a key twice",
       [&](Draft& d) {
         d.roles["root"] = role_text({id_text(owner), id_text(owner)}, "1");
       },
       {"keyids", "twice"}},
      {"key id in capitals",
       [&](Draft& d) {
         std::string id = id_text(owner);
         std::transform(id.begin(), id.end(), id.begin(), [](char c) { return static_cast<char>(std::toupper(c)); });
         d.roles["root"] = role_text({id}, "1");
       },
       {"keyids", "hexadecimal"}},
      {"key that is listed twice", [&](Draft& d) { d.keys.push_back(d.keys[0]); }, {"keys", "twice"}},
      {"key whose id is not its hash",
       [&](Draft& d) { d.keys.push_back(key_text(hex(other.id), "ed25519", owner.half.bytes)); },
       {"keys.id", "hash of its key"}},
      {"key whose id is that of another algorithm",
       [&](Draft& d) {
         d.keys.push_back(key_text(hex(key_id({kP256, owner.half.bytes})), "ed25519", owner.half.bytes));
       },
       {"keys.id", "hash of its key"}},
      {"one key under a second algorithm, ecdsa-p256",
       [&](Draft& d) {
         d.keys.push_back(key_text(hex(key_id({kP256, owner.half.bytes})), "ecdsa-p256", owner.half.bytes));
       },
       {"keys.pub", "65 bytes"}},
      {"one key under a second algorithm, x25519",
       [&](Draft& d) {
         d.keys.push_back(key_text(hex(key_id({KeyAlgorithm::x25519, owner.half.bytes})), "x25519", owner.half.bytes));
       },
       {"keys.alg", "x25519"}},
      {"key of a device", [&](Draft& d) { d.keys.push_back(key_text(device)); }, {"keys.alg", "x25519"}},
      {"key of no known algorithm",
       [&](Draft& d) { d.keys.push_back(key_text(hex(other.id), "rsa", other.half.bytes)); },
       {"keys.alg", "rsa"}},
      {"key of the short form of a point",
       [&](Draft& d) {
         d.keys.push_back(key_text(hex(key_id({kP256, compressed})), "ecdsa-p256", compressed));
       },
       {"keys.pub", "65 bytes"}},
      {"key without its bytes",
       [&](Draft& d) { d.keys.push_back(R"({"id":)" + id_text(other) + R"(,"alg":"ed25519"})"); },
       {"keys", "\"pub\""}},
      {"key with a field more",
       [&](Draft& d) { d.keys.push_back(key_text(other).replace(0, 1, R"({"threshold":0,)", 15)); },
       {"keys", "threshold"}},
      {"revoked key twice", [&](Draft& d) { append(d.revoked, id_text(other), 2); }, {"revoked", "twice"}},
      {"revoked key that is no id", [](Draft& d) { d.revoked = {R"("all")"}; }, {"revoked", "hexadecimal"}},
  };
  const Draft fine = draft({&owner});
  CHECK_NOTHROW((void)first(signed_by({&owner}, fine.text())));
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Draft changed = fine;
    row.change(changed);
    const std::string envelope = signed_by({&owner}, changed.text());
    check_refusal(Code::malformed_root, row.words, [&] { (void)first(envelope); });
  }
}

TEST_CASE("each field must be there") {
  const Signer owner("owner");
  for (const std::string_view field : {"version", "epoch", "issued", "expires", "keys", "roles", "revoked"}) {
    CAPTURE(field);
    Draft document = draft({&owner});
    document.left_out = field;
    check_refusal(Code::malformed_root, {quoted(field), "got none"},
                  [&] { (void)first(signed_by({&owner}, document.text())); });
  }
}

TEST_CASE("what is not an object of fields is malformed") {
  const Signer owner("owner");
  for (const std::string_view payload : {"", "null", "[]", "1", "\"root\"", "{}", "{", "{}x", "\xff"}) {
    CAPTURE(payload);
    check_refusal(Code::malformed_root, {}, [&] { (void)first(signed_by({&owner}, payload)); });
    check_refusal(Code::malformed_root, {}, [&] { (void)first(payload); });
  }
}

TEST_CASE("a threshold is at least one and at most the number of keys") {
  const Signer owner("owner");
  const Signer second("second");
  for (const std::string_view threshold : {"0", "-1", "-9223372036854775808", "3", "256", "65537", "4294967296",
                                           "4294967297", "9223372036854775807", "true", "null", "\"1\"", "[]"}) {
    CAPTURE(threshold);
    Draft document = draft({&owner, &second});
    const Draft fine = document;
    document.roles["root"] = role_text(ids({&owner, &second}), threshold);
    check_refusal(Code::malformed_root, {"threshold"}, [&] {
      (void)first(signed_by({&owner, &second}, document.text()));
    });
    document = fine;
    document.roles["publisher:a"] = publisher_text(ids({&owner, &second}), threshold);
    check_refusal(Code::malformed_root, {"threshold"}, [&] {
      (void)first(signed_by({&owner, &second}, document.text()));
    });
  }
}

TEST_CASE("each limit holds to the last one") {
  const Signer owner("owner");
  struct Row {
    const char* what;
    size_t most;
    std::function<void(Draft&, size_t)> fill;  // so that there are so many
  };
  std::vector<Signer> many;
  for (size_t i = 0; i < 64; ++i) many.emplace_back("many " + std::to_string(i));
  const Row rows[] = {
      {"keys", 64,
       [&](Draft& d, size_t count) {
         for (size_t i = 0; i + 1 < count; ++i) d.keys.push_back(key_text(many[i]));
       }},
      {"publishers", 64,
       [&](Draft& d, size_t count) {
         for (size_t i = 0; i < count; ++i)
           d.roles["publisher:" + std::to_string(i)] = publisher_text({id_text(owner)}, "1");
       }},
      {"characters of a publisher", 32,
       [&](Draft& d, size_t count) {
         d.roles["publisher:" + std::string(count, 'a')] = publisher_text({id_text(owner)}, "1");
       }},
      {"prefixes", 256,
       [&](Draft& d, size_t count) {
         d.roles["publisher:a"] =
             publisher_text({id_text(owner)}, "1", list(std::vector<std::string>(count, R"("a")")));
       }},
      {"revoked keys", 1024,
       [](Draft& d, size_t count) {
         for (size_t i = 0; i < count; ++i) d.revoked.push_back(quoted(hex(sha256(bytes(std::to_string(i))))));
       }},
      {"bytes", size_t{256} << 10,
       [](Draft& d, size_t count) { d.further = std::string(count - d.text().size(), ' '); }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Draft most = draft({&owner});
    row.fill(most, row.most);
    CHECK_NOTHROW((void)first(signed_by({&owner}, most.text())));
    Draft more = draft({&owner});
    row.fill(more, row.most + 1);
    check_refusal(Code::malformed_root, {}, [&] { (void)first(signed_by({&owner}, more.text())); });
  }
}

TEST_CASE("a root needs the signatures of as many of its keys as it says") {
  const Signer a("a");
  const Signer b("b", kP256);
  const Signer c("c");
  const Signer stranger("stranger");
  struct Row {
    size_t threshold;
    std::vector<const Signer*> signers;
    bool is_enough;
  };
  const Row rows[] = {
      {1, {}, false},
      {1, {&a}, true},
      {1, {&c}, true},
      {1, {&stranger}, false},
      {2, {&a}, false},
      {2, {&a, &b}, true},
      {2, {&b, &c}, true},
      {2, {&a, &a}, false},
      {2, {&b, &b}, false},
      {2, {&a, &stranger}, false},
      {2, {&stranger, &b, &a}, true},
      {3, {&a, &b, &a}, false},
      {3, {&a, &b, &stranger, &c}, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.threshold);
    CAPTURE(row.signers.size());
    const std::string envelope = signed_by(row.signers, draft({&a, &b, &c}, row.threshold).text());
    if (row.is_enough) {
      CHECK_NOTHROW((void)first(envelope));
    } else {
      check_refusal(Code::untrusted_root, {"signatures of " + std::to_string(row.threshold)},
                    [&] { (void)first(envelope); });
    }
  }
}

TEST_CASE("a key that is listed but not in the root role does not sign roots") {
  const Signer owner("owner");
  const Signer publisher("publisher");
  Draft document = draft({&owner});
  document.keys.push_back(key_text(publisher));
  document.roles["publisher:a"] = publisher_text({id_text(publisher)}, "1");
  check_refusal(Code::untrusted_root, {"got 0"}, [&] { (void)first(signed_by({&publisher}, document.text())); });
  CHECK_NOTHROW((void)first(signed_by({&publisher, &owner}, document.text())));
}

TEST_CASE("a listed key whose signature fails rejects the root, whoever else signed it") {
  const Signer owner("owner");
  const Signer listed("listed");
  const Signer stranger("stranger");
  Draft document = draft({&owner});
  document.keys.push_back(key_text(listed));
  const std::string payload = document.text();
  const EnvelopeSignature right = signature_of(owner, kRootType, payload);
  const EnvelopeSignature wrong = with_flipped_bit(signature_of(listed, kRootType, payload));
  for (const auto& signatures : {std::vector{right, wrong}, std::vector{wrong, right}}) {
    check_refusal(Code::untrusted_root, {hex(listed.id)}, [&] { (void)first(envelope_of(payload, signatures)); });
  }
  // The same of a key that nobody here knows says nothing.
  const EnvelopeSignature unknown = with_flipped_bit(signature_of(stranger, kRootType, payload));
  CHECK_NOTHROW((void)first(envelope_of(payload, {unknown, right})));
  // The owner's own, a second time and wrong.
  check_refusal(Code::untrusted_root, {hex(owner.id)}, [&] {
    (void)first(envelope_of(payload, {right, with_flipped_bit(right)}));
  });
}

TEST_CASE("another spelling of a point is no second key") {
  const Signer owner("owner", kP256);
  PublicKey hybrid = owner.half;
  hybrid.bytes[0] = (hybrid.bytes.back() & std::byte{1}) | std::byte{6};  // SEC 1, 2.3.3: 6 or 7 by y's last bit
  const Digest hybrid_id = key_id(hybrid);
  Draft document = draft({&owner}, 1);
  document.keys.push_back(key_text(hex(hybrid_id), "ecdsa-p256", hybrid.bytes));
  document.roles["root"] = role_text({id_text(owner), quoted(hex(hybrid_id))}, "2");
  const std::string payload = document.text();
  const EnvelopeSignature right = signature_of(owner, kRootType, payload);
  EnvelopeSignature second = signature_of(owner, kRootType, payload);
  second.key_id = hybrid_id;
  check_refusal(Code::untrusted_root, {hex(hybrid_id)}, [&] { (void)first(envelope_of(payload, {right, second})); });
}

TEST_CASE("a key under which anybody can sign counts for nothing") {
  // The neutral point, and a second spelling of it, y = p + 1: R the same point and S = 0 fit every message.
  PublicKey neutral{kEd25519, std::vector<std::byte>(32)};
  neutral.bytes[0] = std::byte{1};
  PublicKey respelled{kEd25519, std::vector<std::byte>(32, std::byte{0xFF})};
  respelled.bytes.front() = std::byte{0xEE};
  respelled.bytes.back() = std::byte{0x7F};
  std::vector<std::byte> fits_all(64);
  fits_all[0] = std::byte{1};
  for (const PublicKey& key : {neutral, respelled}) {
    CAPTURE(hex(key.bytes));
    const Digest id = key_id(key);
    Draft document;
    document.keys = {key_text(hex(id), "ed25519", key.bytes)};
    document.roles["root"] = role_text({quoted(hex(id))}, "1");
    const std::string envelope = envelope_of(document.text(), {{id, fits_all}});
    check_refusal(Code::untrusted_root, {hex(id)}, [&] { (void)first(envelope); });
  }
}

TEST_CASE("a signature of a wrong size is a wrong signature") {
  const Signer owner("owner");
  const std::string payload = draft({&owner}).text();
  const EnvelopeSignature right = signature_of(owner, kRootType, payload);
  for (const size_t size : {0, 1, 63, 65, 128}) {
    CAPTURE(size);
    EnvelopeSignature resized = right;
    resized.signature.resize(size);
    check_refusal(Code::untrusted_root, {hex(owner.id)}, [&] { (void)first(envelope_of(payload, {resized})); });
  }
}

TEST_CASE("a revoked key counts for nothing, and its signature is not even looked at") {
  const Signer owner("owner");
  const Signer stolen("stolen");
  Draft document = draft({&owner, &stolen});
  document.revoked = {id_text(stolen)};
  const std::string payload = document.text();
  check_refusal(Code::untrusted_root, {"got 0"}, [&] { (void)first(signed_by({&stolen}, payload)); });
  CHECK_NOTHROW((void)first(signed_by({&stolen, &owner}, payload)));
  CHECK_NOTHROW((void)first(envelope_of(
      payload, {signature_of(owner, kRootType, payload), with_flipped_bit(signature_of(stolen, kRootType, payload))})));
  Draft both = draft({&owner, &stolen}, 2);
  both.revoked = {id_text(stolen)};
  check_refusal(Code::untrusted_root, {"of 2", "got 1"}, [&] {
    (void)first(signed_by({&stolen, &owner}, both.text()));
  });
}

TEST_CASE("an envelope of another type is no root, and a signature for another type is none of it") {
  const Signer owner("owner");
  const std::string payload = draft({&owner}).text();
  for (const std::string_view type :
       {kBodyType, std::string_view("application/vnd.edgeward.root.v2+json"), std::string_view("")}) {
    CAPTURE(type);
    const EnvelopeSignature other = signature_of(owner, type, payload);
    check_refusal(Code::malformed_root, {"payloadType"}, [&] { (void)first(envelope_of(payload, {other}, type)); });
    check_refusal(Code::untrusted_root, {hex(owner.id)}, [&] { (void)first(envelope_of(payload, {other})); });
  }
}

TEST_CASE("a successor needs enough keys of the root before it and enough of its own") {
  const Signer a("a");
  const Signer b("b");
  const Signer c("c");
  const Signer d("d");
  const TrustRoot root = first(signed_by({&a, &b}, draft({&a, &b}, 2).text()));
  Draft document = draft({&b, &c, &d}, 2);
  document.version = "2";
  const std::string payload = document.text();
  struct Row {
    std::vector<const Signer*> signers;
    std::string_view missing;  // "": none is
  };
  const Row rows[] = {
      {{&a, &b, &c}, ""},     {{&a, &b, &c, &d}, ""},     {{&a, &b}, "its own"},          {{&c, &d}, "in force"},
      {{&b, &c}, "in force"}, {{&a, &c, &d}, "in force"}, {{&a, &a, &c, &d}, "in force"}, {{&a, &b, &b}, "its own"},
      {{}, "in force"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.signers.size());
    const std::string envelope = signed_by(row.signers, payload);
    if (row.missing.empty()) {
      CHECK(root.successor(bytes(envelope)).version() == 2);
    } else {
      check_refusal(Code::untrusted_root, {row.missing, "of 2"}, [&] { (void)root.successor(bytes(envelope)); });
    }
  }
}

TEST_CASE("a root before cannot be followed with a key that it has revoked") {
  const Signer owner("owner");
  const Signer stolen("stolen");
  Draft before = draft({&owner, &stolen});
  before.revoked = {id_text(stolen)};
  const TrustRoot root = first(signed_by({&owner}, before.text()));
  Draft document = draft({&stolen});
  document.version = "2";
  check_refusal(Code::untrusted_root, {"in force", "got 0"},
                [&] { (void)root.successor(bytes(signed_by({&stolen}, document.text()))); });
}

TEST_CASE("a root that revokes a key follows by the signature of that key and of its own") {
  const Signer owner("owner");
  const Signer next("next");
  const TrustRoot root = first(signed_by({&owner}, draft({&owner}).text()));
  Draft document = draft({&next});
  document.version = "2";
  document.revoked = {id_text(owner)};
  CHECK(root.successor(bytes(signed_by({&owner, &next}, document.text()))).version() == 2);
  check_refusal(Code::untrusted_root, {"its own"},
                [&] { (void)root.successor(bytes(signed_by({&owner}, document.text()))); });
}

TEST_CASE("a successor is the very next version, and neither epoch nor issued goes back") {
  const Signer owner("owner");
  Draft before = draft({&owner});
  before.version = "5";
  before.epoch = "3";
  const TrustRoot root = first(signed_by({&owner}, before.text()));
  struct Row {
    const char* version;
    const char* epoch;
    const char* issued;
    std::optional<Code> refusal;
    std::string_view word = "";
  };
  const Row rows[] = {
      {"6", "3", "1000", {}},
      {"6", "4", "1001", {}},
      {"6", "65535", "1999", {}},
      {"5", "3", "1000", Code::rollback_refused, "version"},
      {"4", "3", "1000", Code::rollback_refused, "version"},
      {"1", "9", "1999", Code::rollback_refused, "version"},
      {"7", "3", "1000", Code::untrusted_root, "version"},
      {"9223372036854775807", "3", "1000", Code::untrusted_root, "version"},
      {"6", "2", "1000", Code::rollback_refused, "epoch"},
      {"6", "0", "1999", Code::rollback_refused, "epoch"},
      {"6", "3", "999", Code::rollback_refused, "issued"},
      {"6", "4", "0", Code::rollback_refused, "issued"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.version);
    CAPTURE(row.epoch);
    CAPTURE(row.issued);
    Draft document = draft({&owner});
    document.version = row.version;
    document.epoch = row.epoch;
    document.issued = row.issued;
    const std::string envelope = signed_by({&owner}, document.text());
    if (!row.refusal) {
      CHECK(std::to_string(root.successor(bytes(envelope)).version()) == row.version);
    } else {
      check_refusal(*row.refusal, {row.word}, [&] { (void)root.successor(bytes(envelope)); });
    }
  }
}

TEST_CASE("of a successor nothing is read before those who are believed have signed it") {
  const Signer owner("owner");
  const Signer stranger("stranger");
  const TrustRoot root = first(signed_by({&owner}, draft({&owner}).text()));
  check_refusal(Code::untrusted_root, {"in force"},
                [&] { (void)root.successor(bytes(signed_by({&stranger}, "no root at all"))); });
  check_refusal(Code::malformed_root, {}, [&] { (void)root.successor(bytes(signed_by({&owner}, "no root at all"))); });
}

TEST_CASE("a root keeps what it was believed for: its successor does not change it") {
  const Signer a("a");
  const Signer b("b");
  const TrustRoot root = first(signed_by({&a}, draft({&a}).text()));
  Draft document = draft({&b});
  document.version = "2";
  const std::string envelope = signed_by({&a, &b}, document.text());
  const TrustRoot next = root.successor(bytes(envelope));
  CHECK(root.version() == 1);
  document.version = "3";
  check_refusal(Code::untrusted_root, {"in force"},
                [&] { (void)next.successor(bytes(signed_by({&a}, document.text()))); });
  CHECK(next.successor(bytes(signed_by({&b}, document.text()))).version() == 3);
}

// ---- Publishers.

namespace {

// Publishers "one" (key a), "two" (keys a, b, c; two of them) and "lab" (key c, for names with two prefixes); a key d
// that is listed and in no role; e, revoked, in "one" and "two".
struct Published {
  Signer owner{"owner"}, a{"a"}, b{"b", kP256}, c{"c"}, d{"d"}, e{"e"}, stranger{"stranger"};
  TrustRoot root = first(signed_by({&owner}, [&] {
    Draft document = draft({&owner});
    for (const Signer* signer : {&a, &b, &c, &d, &e}) document.keys.push_back(key_text(*signer));
    document.roles["publisher:one"] = publisher_text(ids({&a, &e}), "1");
    document.roles["publisher:two"] = publisher_text(ids({&a, &b, &c, &e}), "2");
    document.roles["publisher:lab"] = publisher_text(ids({&c}), "1", R"(["lab-","test."])");
    document.revoked = {id_text(e)};
    return document.text();
  }()));
  std::string body = "the signed body of a package";
  std::vector<std::byte> message = pre_authentication_encoding(kBodyType, bytes(body));

  EnvelopeSignature of(const Signer& signer) const { return signature_of(signer, kBodyType, body); }
  void require(std::string_view publisher, const std::vector<EnvelopeSignature>& signatures,
               std::string_view model = "demo") const {
    std::vector<ClaimedSignature> claims;
    for (const EnvelopeSignature& signature : signatures) claims.push_back(claim(signature));
    root.require_publisher(publisher, model, message, claims);
  }
};

}  // namespace

TEST_CASE("a package needs enough distinct keys of its publisher") {
  const Published p;
  struct Row {
    std::string_view publisher;
    std::vector<const Signer*> signers;
    bool is_enough;
  };
  const Row rows[] = {
      {"one", {&p.a}, true},        {"one", {}, false},           {"one", {&p.b}, false},
      {"one", {&p.d}, false},       {"one", {&p.owner}, false},   {"one", {&p.stranger}, false},
      {"one", {&p.e}, false},       {"one", {&p.e, &p.a}, true},  {"one", {&p.stranger, &p.d, &p.a}, true},
      {"two", {&p.a}, false},       {"two", {&p.a, &p.a}, false}, {"two", {&p.b, &p.b}, false},
      {"two", {&p.a, &p.e}, false}, {"two", {&p.a, &p.d}, false}, {"two", {&p.a, &p.stranger}, false},
      {"two", {&p.a, &p.b}, true},  {"two", {&p.c, &p.b}, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.publisher);
    CAPTURE(row.signers.size());
    std::vector<EnvelopeSignature> signatures;
    for (const Signer* signer : row.signers) signatures.push_back(p.of(*signer));
    if (row.is_enough) {
      CHECK_NOTHROW(p.require(row.publisher, signatures));
    } else {
      check_refusal(Code::untrusted_package, {"signatures", row.publisher},
                    [&] { p.require(row.publisher, signatures); });
    }
  }
}

TEST_CASE("each signature that does not count is named with the reason, beside the root's version") {
  const Published p;
  check_refusal(Code::untrusted_package,
                {"in trust root version 1, got 0 among 4: key " + hex(p.stranger.id) + " is not in it, key " +
                 hex(p.e.id) + " is revoked, key " + hex(p.d.id) + " is of another role, key " + hex(p.b.id)},
                [&] {
                  p.require("one", {p.of(p.stranger), p.of(p.e), p.of(p.d), p.of(p.b)});
                });
  // The one that counts is not among them, and of many the first are.
  check_refusal(Code::untrusted_package, {"got 1 among 6: key " + hex(p.d.id), ", and 1 more"}, [&] {
    p.require("two", {p.of(p.a), p.of(p.d), p.of(p.e), p.of(p.stranger), p.of(p.owner), p.of(p.d)});
  });
}

TEST_CASE("a publisher that the root does not list is unknown, whoever signed") {
  const Published p;
  for (const std::string_view publisher : {"three", "", "on", "one ", "root", "publisher:one"}) {
    CAPTURE(publisher);
    check_refusal(Code::untrusted_package, {"publisher"}, [&] { p.require(publisher, {p.of(p.a), p.of(p.owner)}); });
  }
}

TEST_CASE("a publisher signs models of its prefixes alone") {
  const Published p;
  for (const std::string_view model : {"lab-", "lab-demo", "test.", "test.demo"}) {
    CAPTURE(model);
    CHECK_NOTHROW(p.require("lab", {p.of(p.c)}, model));
  }
  for (const std::string_view model : {"demo", "lab", "labdemo", "test", "xlab-demo", "", "LAB-demo"}) {
    CAPTURE(model);
    check_refusal(Code::untrusted_package, {"name", "lab"}, [&] { p.require("lab", {p.of(p.c)}, model); });
  }
  // Another publisher's reach is not lent.
  check_refusal(Code::untrusted_package, {"name"}, [&] { p.require("lab", {p.of(p.c), p.of(p.a)}, "demo"); });
}

TEST_CASE("a listed key whose signature fails rejects the package, whoever else signed it") {
  const Published p;
  for (const Signer* listed : {&p.a, &p.b, &p.c, &p.d, &p.owner}) {
    CAPTURE(hex(listed->id));
    check_refusal(Code::untrusted_package, {hex(listed->id)}, [&] {
      p.require("one", {p.of(p.a), with_flipped_bit(p.of(*listed))});
    });
  }
  for (const Signer* ignored : {&p.e, &p.stranger})
    CHECK_NOTHROW(p.require("one", {p.of(p.a), with_flipped_bit(p.of(*ignored))}));
}

TEST_CASE("a signature is of its key: under the id of another it fails") {
  const Published p;
  EnvelopeSignature borrowed = p.of(p.stranger);
  borrowed.key_id = p.a.id;
  check_refusal(Code::untrusted_package, {hex(p.a.id)}, [&] { p.require("one", {borrowed}); });
}

TEST_CASE("an algorithm that is claimed must be the key's") {
  const Published p;
  struct Row {
    const Signer* signer;
    KeyAlgorithm claimed;
    bool is_right;
  };
  const Row rows[] = {{&p.a, kEd25519, true},
                      {&p.a, kP256, false},
                      {&p.a, KeyAlgorithm::x25519, false},
                      {&p.b, kP256, true},
                      {&p.b, kEd25519, false}};
  for (const Row& row : rows) {
    CAPTURE(hex(row.signer->id));
    const EnvelopeSignature other = p.of(row.signer == &p.a ? p.b : p.a);
    const EnvelopeSignature signature = p.of(*row.signer);
    std::vector<ClaimedSignature> claims = {claim(other), claim(signature)};
    claims[1].algorithm = row.claimed;
    const auto act = [&] { p.root.require_publisher("two", "demo", p.message, claims); };
    if (row.is_right) {
      CHECK_NOTHROW(act());
    } else {
      check_refusal(Code::untrusted_package, {hex(row.signer->id)}, act);
    }
  }
}

TEST_CASE("a signature of a root is none of a package") {
  const Published p;
  check_refusal(Code::untrusted_package, {hex(p.a.id)},
                [&] { p.require("one", {signature_of(p.a, kRootType, p.body)}); });
}

TEST_CASE("a package that another message was signed for is refused") {
  const Published p;
  check_refusal(Code::untrusted_package, {hex(p.a.id)},
                [&] { p.require("one", {signature_of(p.a, kBodyType, p.body + " ")}); });
}

// ---- Bytes that were changed.

TEST_CASE("no cut and no flipped bit of a signed root is believed") {
  const Signer a("a");
  const Signer b("b", kP256);
  Draft document = draft({&a, &b}, 2);
  document.roles["publisher:one"] = publisher_text(ids({&a}), "1");
  std::string envelope = signed_by({&a, &b}, document.text());
  CHECK_NOTHROW((void)first(envelope));
  CHECK(envelope.back() == '\n');
  envelope.pop_back();  // space around a document is no part of it
  CHECK_NOTHROW((void)first(envelope));

  size_t accepted = 0;
  const auto is_believed = [](const std::string& changed) {
    try {
      (void)first(changed);
      return true;
    } catch (const Error& error) {
      CHECK((error.code() == Code::malformed_root || error.code() == Code::untrusted_root));
      return false;
    }
  };
  for (size_t size = 0; size < envelope.size(); ++size) accepted += is_believed(envelope.substr(0, size)) ? 1 : 0;
  CHECK(accepted == 0);
  for (size_t bit = 0; bit < 8 * envelope.size(); ++bit) {
    std::string changed = envelope;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    if (!is_believed(changed)) continue;
    ++accepted;
    CAPTURE(bit);
    CHECK(accepted == 0);
  }
  CHECK(envelope.size() > 1000);
}

TEST_CASE("nothing may follow a root") {
  const Signer owner("owner");
  const std::string envelope = signed_by({&owner}, draft({&owner}).text());
  for (const std::string_view more : {"x", "{}", ",", "]", "}", "\xff"}) {
    CAPTURE(more);
    check_refusal(Code::malformed_root, {}, [&] { (void)first(envelope + std::string(more)); });
  }
}

}  // namespace edgeward
