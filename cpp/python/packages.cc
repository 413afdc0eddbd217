// What Python sees of keys, trust roots and packages: one line per method. Whatever hashes, decrypts or reads a file
// does so without the interpreter lock; bytes that Python gives are borrowed for the length of the call.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bytes/hex.h"
#include "error.h"
#include "model_files/onnx_file.h"
#include "packages/date.h"
#include "packages/dsse.h"
#include "packages/key_file.h"
#include "packages/key_wrap.h"
#include "packages/package_reader.h"
#include "packages/package_writer.h"
#include "packages/trust_root.h"
#include "python/bindings.h"
#include "python/interpreter.h"
#include "python/models.h"
#include "python/words.h"

namespace edgeward {
namespace {

// The bytes of a Python object that has a contiguous buffer, which stays pinned as long as this lives.
class Borrowed {
 public:
  explicit Borrowed(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  ~Borrowed() { PyBuffer_Release(&view_); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  Bytes bytes() const { return {static_cast<const std::byte*>(view_.buf), static_cast<size_t>(view_.len)}; }

 private:
  Py_buffer view_{};
};

Digest digest_from(const py::buffer& bytes, const char* what) {
  const Borrowed borrowed(bytes);
  Digest digest;
  if (borrowed.bytes().size() != digest.size())
    throw Error(Code::bad_input, what, ": expected ", digest.size(), " bytes, got ", borrowed.bytes().size());
  std::copy(borrowed.bytes().begin(), borrowed.bytes().end(), digest.begin());
  return digest;
}

// ---- Words for the format's numbers.

constexpr Word<MemberType> kMemberTypes[] = {{MemberType::tflite, "tflite"},
                                             {MemberType::onnx, "onnx"},
                                             {MemberType::onnx_external, "onnx-external"},
                                             {MemberType::labels, "labels"},
                                             {MemberType::auxiliary, "auxiliary"}};
constexpr Word<AeadAlgorithm> kCiphers[] = {{AeadAlgorithm::aes_256_gcm, "aes-256-gcm"},
                                            {AeadAlgorithm::chacha20_poly1305, "chacha20-poly1305"}};
constexpr Word<HpkeAead> kWrapCiphers[] = {{HpkeAead::aes_256_gcm, "aes-256-gcm"},
                                           {HpkeAead::chacha20_poly1305, "chacha20-poly1305"}};

KeyAlgorithm algorithm_from(const std::string& word) {
  const auto algorithm = key_algorithm(word);
  if (!algorithm)
    throw Error(Code::bad_input, "algorithm: expected \"ed25519\", \"ecdsa-p256\" or \"x25519\", got \"", word, "\"");
  return *algorithm;
}

// ---- Packages.

struct ContentKey {
  Secret secret;
};

struct Payload {
  Block block;
  std::shared_ptr<const PackageReader> package;
  std::shared_ptr<const Secret> key;  // to read it again; null: not encrypted
  int threads;
  std::optional<std::vector<Digest>> digests = std::nullopt;  // of the members

  const PackageFacts& facts() const { return package->facts(); }
};

std::optional<Digest> optional_digest(const std::optional<py::buffer>& bytes, const char* what) {
  return bytes ? std::optional(digest_from(*bytes, what)) : std::nullopt;
}

std::optional<py::bytes> optional_bytes(const std::optional<Digest>& digest) {
  return digest ? std::optional(python_bytes(*digest)) : std::nullopt;
}

std::optional<std::string> optional_cipher(const std::optional<AeadAlgorithm>& aead) {
  return aead ? std::optional<std::string>(word_of(kCiphers, *aead)) : std::nullopt;
}

std::shared_ptr<PackageReader> open_package(const py::object& path, const TrustRoot& root, const Policy& policy) {
  const std::string file = path_of(path);
  const Unlocked released;
  return std::make_shared<PackageReader>(file, root, policy);
}

std::shared_ptr<PackageReader> open_authentic(const py::object& path, const TrustRoot& root) {
  const std::string file = path_of(path);
  const Unlocked released;
  return std::make_shared<PackageReader>(PackageReader::authentic(file, root));
}

std::shared_ptr<PackageReader> open_unverified(const py::object& path) {
  const std::string file = path_of(path);
  const Unlocked released;
  return std::make_shared<PackageReader>(PackageReader::unverified(file));
}

const Secret* secret_of(const ContentKey* key) { return key == nullptr ? nullptr : &key->secret; }

std::unique_ptr<Payload> open_payload(const std::shared_ptr<PackageReader>& package, const ContentKey* key, int threads,
                                      bool with_digests) {
  const Unlocked released;
  const auto kept_key = key == nullptr ? nullptr : std::make_shared<const Secret>(key->secret.bytes());
  if (with_digests) {
    auto [block, digests] = package->open_digested_payload(secret_of(key), threads);
    return std::make_unique<Payload>(Payload{std::move(block), package, kept_key, threads, std::move(digests)});
  }
  return std::make_unique<Payload>(Payload{package->open_payload(secret_of(key), threads), package, kept_key, threads});
}

void check_payload(const PackageReader& package, const Payload& payload) {
  const Unlocked released;
  if (payload.digests) return package.check_digests(*payload.digests);
  package.check_payload(payload.block);
}

const Member& member_of(const PackageFacts& facts, const std::string& wanted) {
  const auto member =
      std::find_if(facts.members.begin(), facts.members.end(), [&](const Member& row) { return row.name == wanted; });
  if (member == facts.members.end())
    throw Error(Code::bad_input, "member: expected one of package \"", facts.name, "\", got \"", wanted, "\"");
  return *member;
}

// A read-only array over the payload's memory, which it keeps alive.
py::array read_member(const Payload& payload, const std::string& wanted) {
  const Member& member = member_of(payload.facts(), wanted);
  auto part = std::make_unique<Block>(payload.block.part(member.offset, member.size_bytes));
  std::byte* data = part->data();
  const py::capsule owner(part.release(), [](void* held) { delete static_cast<Block*>(held); });
  py::array bytes(py::dtype("uint8"), {static_cast<py::ssize_t>(member.size_bytes)}, data, owner);
  bytes.attr("flags").attr("writeable") = false;
  return bytes;
}

py::bytes read_stored_member(const PackageReader& package, const std::string& wanted, const ContentKey* key) {
  const Member& member = member_of(package.facts(), wanted);
  Block bytes;
  {
    const Unlocked released;
    bytes = package.read_member(member, secret_of(key));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size_bytes()};
}

// Together in memory that is as secret as the payload: each secret block takes pages and locks of its own.
std::map<std::string, Block> copies_of(const Payload& payload, const std::vector<std::string>& names) {
  std::map<std::string, size_t> offsets;
  size_t size_bytes = 0;
  for (const Member& member : payload.facts().members) {
    if (std::find(names.begin(), names.end(), member.name) == names.end()) continue;
    offsets[member.name] = size_bytes;
    size_bytes += (member.size_bytes + kBlockAlignment - 1) / kBlockAlignment * kBlockAlignment;
  }
  std::map<std::string, Block> copies;
  if (offsets.empty()) return copies;
  const Block memory = payload.block.is_secret() ? Block::secret(size_bytes) : Block::uninitialized(size_bytes);
  for (const auto& [name, offset] : offsets) {
    const Member& member = member_of(payload.facts(), name);
    Block copy = memory.part(offset, member.size_bytes);
    std::memcpy(copy.data(), payload.block.data() + member.offset, member.size_bytes);
    copies.emplace(name, std::move(copy));
  }
  return copies;
}

// As long as a model may have to read its weights again, it keeps the file open, and the key.
WeightSource source_of(const Payload& payload) {
  const Member& entry = payload.package->entry();
  const auto read = [package = payload.package, key = payload.key, threads = payload.threads, &entry](
                        std::span<const FilePart> parts) { package->read_parts(entry, parts, key.get(), threads); };
  return {entry.size_bytes, "package \"" + payload.package->path() + "\"", true, read};
}

std::unique_ptr<PyModel> open_entry(const Payload& payload, Opening opening, const std::vector<std::string>& kept) {
  opening.source = source_of(payload);
  Block entry;
  std::vector<ExternalData> external;
  for (const Member& member : payload.facts().members) {
    Block bytes = payload.block.part(member.offset, member.size_bytes);
    if (member.is_entry) {
      entry = std::move(bytes);
    } else if (member.type == MemberType::onnx_external) {
      external.push_back({member.name, std::move(bytes)});
    }
  }
  auto model = model_of(std::move(entry), opening, std::move(external));
  const PackageFacts& facts = payload.facts();
  model->origin = Origin{facts.name, facts.version, hex(facts.package_id), copies_of(payload, kept)};
  return model;
}

py::list list_of(const std::vector<std::string>& texts) {
  py::list list;
  for (const std::string& text : texts) list.append(text);
  return list;
}

py::list external_data_of(const py::buffer& model) {
  const Borrowed file(model);
  return list_of(external_data_names(file.bytes()));
}

py::list external_data_of_file(const File& file) {
  std::vector<std::string> names;
  {
    const Unlocked released;
    const Block block = read_file(file, 1);
    names = external_data_names({block.data(), block.size_bytes()});
  }
  return list_of(names);
}

// A Signer of Python's: `sign` is called with the message, on the thread that seals.
struct PySigner {
  PublicKey public_key;
  py::function sign;
  std::string name;

  Signer signer() const {
    const py::handle callable = sign;  // borrowed: a copy would count references without the interpreter lock
    return {name, public_key, [callable](Bytes message) {
              const Locked locked;
              const py::object answer = callable(python_bytes(message));
              const Borrowed borrowed(answer);
              return std::vector<std::byte>(borrowed.bytes().begin(), borrowed.bytes().end());
            }};
  }
};

// What `signers`, which must outlive the result, are: private keys, and who signs without one here.
std::vector<Signer> signers_of(const py::sequence& signers) {
  std::vector<Signer> result;
  for (const py::handle signer : signers) {
    if (py::isinstance<PySigner>(signer)) {
      result.push_back(signer.cast<const PySigner&>().signer());
    } else if (py::isinstance<PrivateKey>(signer)) {
      result.emplace_back(&signer.cast<const PrivateKey&>());
    } else {
      throw Error(Code::bad_input, "signers: expected private keys and signers, got ", Py_TYPE(signer.ptr())->tp_name,
                  " among them");
    }
  }
  return result;
}

// What Python fills to have it sealed. The members' bytes stay pinned, and their files open, as long as this lives.
struct PySource {
  PackageSource source;
  std::vector<std::unique_ptr<Borrowed>> pinned;
  std::vector<std::shared_ptr<const File>> files;
};

void add_member(PySource& self, const std::string& name, const std::string& type, bool is_entry,
                const py::buffer& bytes) {
  const MemberType member_type = value_of(kMemberTypes, type, "member type");
  self.pinned.push_back(std::make_unique<Borrowed>(bytes));
  self.source.members.push_back({name, member_type, is_entry, self.pinned.back()->bytes()});
}

void add_member_file(PySource& self, const std::string& name, const std::string& type, bool is_entry,
                     std::shared_ptr<File> file) {
  const MemberType member_type = value_of(kMemberTypes, type, "member type");
  self.files.push_back(std::move(file));
  self.source.members.push_back({name, member_type, is_entry, {}, self.files.back().get()});
}

struct PySealed {
  Digest package_id;
  std::unique_ptr<ContentKey> content_key;  // null: not encrypted
};

std::unique_ptr<PySealed> seal(const py::object& path, const PySource& source, const py::sequence& signers,
                               const std::optional<py::function>& progress) {
  const std::string target = path_of(path);
  const SealProgress report = [&](uint64_t done_bytes, uint64_t total_bytes) {
    const py::gil_scoped_acquire acquired;
    if (progress) (*progress)(done_bytes, total_bytes);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  };
  const std::vector<Signer> all = signers_of(signers);
  const Unlocked released;
  Sealed sealed = seal_package(source.source, all, target, report);
  auto result = std::make_unique<PySealed>(PySealed{sealed.package_id, nullptr});
  if (sealed.content_key)
    result->content_key = std::make_unique<ContentKey>(ContentKey{std::move(*sealed.content_key)});
  return result;
}

void resign_package(const PackageReader& package, const py::object& path, const py::sequence& signers,
                    bool keeps_signatures) {
  const std::string target = path_of(path);
  const std::vector<Signer> all = signers_of(signers);
  const Unlocked released;
  resign(package, target, all, keeps_signatures);
}

// ---- Wraps.

py::bytes add_wrap_bytes(const py::buffer& wraps, const ContentKey& key, const py::buffer& package_id,
                         const PublicKey& device, const std::string& cipher, uint64_t not_before_s,
                         uint64_t not_after_s) {
  const Borrowed file(wraps);
  return python_bytes(add_wrap(file.bytes(), key.secret, digest_from(package_id, "package_id"), device,
                               value_of(kWrapCiphers, cipher, "cipher"), not_before_s, not_after_s));
}

py::bytes remove_wrap_bytes(const py::buffer& wraps, const py::buffer& device_id) {
  const Borrowed file(wraps);
  return python_bytes(remove_wrap(file.bytes(), digest_from(device_id, "device_id")));
}

std::unique_ptr<ContentKey> unwrap_key(const py::buffer& wraps, const py::buffer& package_id, const PrivateKey& device,
                                       int64_t now_s) {
  const Borrowed file(wraps);
  return std::make_unique<ContentKey>(
      ContentKey{unwrap(file.bytes(), digest_from(package_id, "package_id"), device, now_s)});
}

std::vector<KeyWrap> list_wraps(const py::buffer& wraps) { return read_wraps(Borrowed(wraps).bytes()); }

// ---- Signed documents.

py::str sign_document(const std::string& type, const py::buffer& payload, const py::sequence& signers) {
  const Borrowed bytes(payload);
  Envelope envelope{type, {bytes.bytes().begin(), bytes.bytes().end()}, {}};
  const auto message = pre_authentication_encoding(type, bytes.bytes());
  for (const Signer& signer : signers_of(signers)) {
    const SignatureBytes signature = signer.signature_of(message);
    envelope.signatures.push_back({key_id(signer.public_key()), {signature.begin(), signature.end()}});
  }
  return write_envelope(envelope);
}

py::bytes document_payload(const py::buffer& envelope) {
  return python_bytes(read_envelope(Borrowed(envelope).bytes()).payload);
}

// "ed25519 87af8d16ed26433a": the algorithm, and where the id begins.
std::string label(const PublicKey& key) {
  return std::string(name(key.algorithm)) + " " + hex(key_id(key)).substr(0, 16);
}

void bind_keys(py::module_& module) {
  py::class_<PublicKey>(module, "PublicKey", "The half of a key that is no secret. Any thread.")
      .def_property_readonly(
          "algorithm", [](const PublicKey& self) { return std::string(name(self.algorithm)); },
          "\"ed25519\", \"ecdsa-p256\" or \"x25519\".")
      .def_property_readonly(
          "id", [](const PublicKey& self) { return python_bytes(key_id(self)); },
          "What names the key wherever it is used: 32 bytes.")
      .def_property_readonly(
          "raw", [](const PublicKey& self) { return python_bytes(self.bytes); },
          "The key itself: 32 bytes, or 65 for ecdsa-p256.")
      .def_property_readonly(
          "text", [](const PublicKey& self) { return text(self); }, "The line of a .pub file.")
      .def_static(
          "parse", [](const py::buffer& text) { return parse_public_key(Borrowed(text).bytes()); }, py::arg("text"),
          "The key in the line of a .pub file. Raises MalformedKey.")
      .def_static(
          "read", [](const py::object& path) { return read_public_key(path_of(path)); }, py::arg("path"),
          "The key in a .pub file. Raises OSError, MalformedKey.")
      .def("__repr__", [](const PublicKey& self) { return "<PublicKey " + label(self) + ">"; });

  py::class_<PrivateKey>(module, "PrivateKey",
                         "A key in memory that is not dumped, not swapped and wiped at the end. Any thread.")
      .def_property_readonly(
          "algorithm", [](const PrivateKey& self) { return std::string(name(self.algorithm)); },
          "\"ed25519\", \"ecdsa-p256\" or \"x25519\".")
      .def_property_readonly(
          "public", [](const PrivateKey& self) { return public_key(self); }, "Its PublicKey.")
      .def_static(
          "generate", [](const std::string& word) { return generate_key(algorithm_from(word)); }, py::arg("algorithm"),
          "A fresh key from the system's random source. Raises BadInput for an unknown algorithm.")
      .def_static(
          "parse", [](const py::buffer& text) { return parse_private_key(Borrowed(text).bytes()); }, py::arg("text"),
          "The key in the line of a key file. Raises MalformedKey.")
      .def_static(
          "read", [](const py::object& path) { return read_private_key(path_of(path)); }, py::arg("path"),
          "The key in a file that its owner alone may read. Raises OSError, MalformedKey, BadInput.")
      .def_static(
          "read_credential", [](const py::object& path) { return read_credential(path_of(path)); }, py::arg("path"),
          "The same where the directory keeps others out, whatever the file's mode.")
      .def(
          "write", [](const PrivateKey& self, const py::object& path) { write_private_key(self, path_of(path)); },
          py::arg("path"), "Into a new file, mode 0600. Raises FileExistsError when there is one.")
      .def("__repr__", [](const PrivateKey& self) { return "<PrivateKey of " + label(public_key(self)) + ">"; });

  py::class_<PySigner>(module, "Signer",
                       "Who signs with a key that is not in this process: in a token, or behind a service.")
      .def(py::init([](const PublicKey& key, py::function sign, std::string name) {
             PySigner signer{key, std::move(sign), std::move(name)};
             signer.signer();  // refuses a device's key
             return signer;
           }),
           py::arg("public"), py::arg("sign"), py::arg("name") = "",
           "`sign` gets the bytes to sign and returns 64: of ed25519 R and S, of ecdsa-p256, over SHA-256, r and s, "
           "big-endian. It is called on the thread that seals; what it raises ends that. What it returns is verified "
           "before it is used. `name` says in messages who it is. Raises BadInput for a device's key.")
      .def_property_readonly(
          "algorithm", [](const PySigner& self) { return std::string(name(self.public_key.algorithm)); },
          "\"ed25519\" or \"ecdsa-p256\".")
      .def_property_readonly(
          "public", [](const PySigner& self) { return self.public_key; }, "Its PublicKey.")
      .def("__repr__", [](const PySigner& self) { return "<Signer of " + label(self.public_key) + ">"; });
}

void bind_trust(py::module_& module) {
  py::class_<TrustRoot>(module, "TrustRoot", "Which keys may sign packages, and which may replace this document.")
      .def_static(
          "first", [](const py::buffer& envelope) { return TrustRoot::first(Borrowed(envelope).bytes()); },
          py::arg("envelope"), "The first one on a device. Raises MalformedRoot, UntrustedRoot.")
      .def(
          "successor",
          [](const TrustRoot& self, const py::buffer& envelope) { return self.successor(Borrowed(envelope).bytes()); },
          py::arg("envelope"),
          "The next one, signed by this one's keys and its own. Raises as first does, RollbackRefused.")
      .def_property_readonly("version", &TrustRoot::version)
      .def_property_readonly("epoch", &TrustRoot::epoch, "The high 16 bits that every counter must have.")
      .def_property_readonly("issued_s", &TrustRoot::issued_s, "Unix seconds.")
      .def_property_readonly("expires_s", &TrustRoot::expires_s, "Unix seconds.")
      .def("require_current", &TrustRoot::require_current, py::arg("now_s"), "Raises ExpiredRoot.");
  module.def("libcrypto_version", &libcrypto_version, "The name and version of the libcrypto in use.");
  module.def("sign_document", &sign_document, py::arg("type"), py::arg("payload"), py::arg("signers"),
             "A DSSE envelope around `payload`, as text.");
  module.def("document_payload", &document_payload, py::arg("envelope"),
             "What an envelope holds; its signatures are not checked. Raises MalformedRoot.");
}

void bind_members(py::module_& module) {
  py::class_<Member>(module, "Member", "A file in a package.")
      .def_readonly("name", &Member::name)
      .def_property_readonly(
          "type", [](const Member& self) { return word_of(kMemberTypes, self.type); },
          "\"tflite\", \"onnx\", \"onnx-external\", \"labels\" or \"auxiliary\".")
      .def_readonly("is_entry", &Member::is_entry, "True for the model itself.")
      .def_readonly("size_bytes", &Member::size_bytes)
      .def_property_readonly(
          "digest", [](const Member& self) { return python_bytes(self.digest); }, "SHA-256 of its plaintext.");

  py::class_<ContentKey>(module, "ContentKey", "What an encrypted package's payload is encrypted under.");

  py::class_<Payload>(module, "Payload", "A package's members, verified and in memory. Any thread.")
      .def("read", &read_member, py::arg("member"), "A read-only uint8 array over the member's bytes, not a copy.")
      .def("open_model", &open_entry, py::arg("opening"), py::arg("kept") = std::vector<std::string>(),
           "The entry as a Model, which keeps the members called `kept`.");
}

// The block of memory that a process gets its environment in stays readable in /proc when a variable is unset.
void wipe_variable(const char* name) {
  char* value = std::getenv(name);
  if (value != nullptr) wipe(std::as_writable_bytes(std::span(value, std::strlen(value))));
}

Policy make_policy(std::string target, const std::optional<py::buffer>& device_id,
                   std::map<std::string, uint64_t> floors, int64_t now_s,
                   std::map<std::string, int64_t> publisher_times_s) {
  return {std::move(target), optional_digest(device_id, "device_id"), std::move(floors), now_s,
          std::move(publisher_times_s)};
}

void bind_package(py::module_& module) {
  py::class_<Policy>(module, "Policy", "What this device asks of a package.");
  module.def(
      "make_policy", &make_policy, py::arg("target"), py::arg("device_id"), py::arg("floors"), py::arg("now_s"),
      py::arg("publisher_times_s"),
      "A Policy: this machine, its key's id or None, its floors by model name, Unix seconds, and the latest time that "
      "each publisher's packages have shown.");
  const auto facts = [](auto field) { return [field](const PackageReader& self) { return self.facts().*field; }; };

  py::class_<PackageReader, std::shared_ptr<PackageReader>>(module, "Package", "The head of a package. Any thread.")
      .def_static("verified", &open_package, py::arg("path"), py::arg("root"), py::arg("policy"),
                  "A package that keys of `root` have signed and that may run here. Raises OSError, MalformedPackage, "
                  "UntrustedPackage, RollbackRefused, WrongTarget, ExpiredPackage.")
      .def_static("authentic", &open_authentic, py::arg("path"), py::arg("root"),
                  "A package that keys of `root` have signed, whether it may run here or not. Raises OSError, "
                  "MalformedPackage, UntrustedPackage.")
      .def_static("unverified", &open_unverified, py::arg("path"),
                  "A package whose signatures were not checked. Raises OSError, MalformedPackage.")
      .def_property_readonly("path",
                             [](const PackageReader& self) {
                               return py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(self.path().c_str()));
                             })
      .def_property_readonly(
          "package_id", [](const PackageReader& self) { return python_bytes(self.facts().package_id); },
          "SHA-256 of the signed body: 32 bytes.")
      .def_property_readonly("name", facts(&PackageFacts::name))
      .def_property_readonly("version", facts(&PackageFacts::version))
      .def_property_readonly("target", facts(&PackageFacts::target), "\"any\", or such as \"linux-aarch64\".")
      .def_property_readonly("publisher", facts(&PackageFacts::publisher))
      .def_property_readonly("release_counter", facts(&PackageFacts::release_counter), "With the epoch above bit 48.")
      .def_property_readonly("min_counter", facts(&PackageFacts::min_counter), "With the epoch above bit 48.")
      .def_property_readonly("created_s", facts(&PackageFacts::created_s), "Unix seconds.")
      .def_property_readonly("hard_expiry_s", facts(&PackageFacts::hard_expiry_s), "Unix seconds; 0: never.")
      .def_property_readonly(
          "binding", [](const PackageReader& self) { return optional_bytes(self.facts().binding); },
          "Key id of the only device it may run on, or None.")
      .def_property_readonly(
          "cipher", [](const PackageReader& self) { return optional_cipher(self.facts().aead); },
          "\"aes-256-gcm\", \"chacha20-poly1305\", or None when it is not encrypted.")
      .def_property_readonly("chunk_bytes", facts(&PackageFacts::chunk_bytes))
      .def_property_readonly("payload_bytes", facts(&PackageFacts::payload_bytes))
      .def_property_readonly("metadata", facts(&PackageFacts::metadata), "JSON text that no decision may rest on.")
      .def_property_readonly(
          "members",
          [](const PackageReader& self) {
            py::tuple members(self.facts().members.size());
            for (size_t i = 0; i < members.size(); ++i) members[i] = py::cast(self.facts().members[i]);
            return members;
          },
          "A Member for each file it holds.")
      .def_property_readonly(
          "signers",
          [](const PackageReader& self) {
            py::tuple signers(self.facts().signers.size());
            for (size_t i = 0; i < signers.size(); ++i) signers[i] = python_bytes(self.facts().signers[i]);
            return signers;
          },
          "The key ids that its signatures claim.")
      .def("require_allowed", &PackageReader::require_allowed, py::arg("root"), py::arg("policy"),
           py::call_guard<Unlocked>(),
           "Whether keys of `root` have signed it and it may run here, asked once more. Raises as verified does.")
      .def("check_table", &PackageReader::check_table, py::call_guard<Unlocked>(),
           "Whether the table of chunks is the signed one, which is asked before a key. Raises MalformedPackage.")
      .def("check_stored", &PackageReader::check_stored, py::arg("threads"), py::call_guard<Unlocked>(),
           "Whether every stored byte is the signed one; needs no key. Raises MalformedPackage.")
      .def(
          "check_members", [](const PackageReader& self, const ContentKey* key) { self.check_members(secret_of(key)); },
          py::arg("key"), py::call_guard<Unlocked>(),
          "Whether every stored byte is the signed one, opens, and every member has the digest in its row. Raises "
          "MalformedPackage, WrongKey.")
      .def("read_member", &read_stored_member, py::arg("member"), py::arg("key"),
           "The bytes of one member alone. Raises as open_payload does, BadInput.")
      .def("open_payload", &open_payload, py::arg("key"), py::arg("threads"), py::arg("with_digests") = false,
           "The Payload, with its ContentKey when it is encrypted. With `with_digests` check_payload has no more to "
           "read. Raises MalformedPackage, WrongKey.")
      .def("check_payload", &check_payload, py::arg("payload"),
           "Raises MalformedPackage when a member of its Payload has not the digest in its row.")
      .def("resign", &resign_package, py::arg("path"), py::arg("signers"), py::arg("keeps_signatures"),
           "A copy at `path` with other signatures. Raises OSError, MalformedPackage, BadInput.");
}

// A field of PackageSource, as an attribute of that name.
template <class T>
void bind_field(py::class_<PySource>& source, const char* name, T PackageSource::*field, const char* says = "") {
  source.def_property(
      name, [field](const PySource& self) { return self.source.*field; },
      [field](PySource& self, const T& value) { self.source.*field = value; }, says);
}

void bind_sealing(py::module_& module) {
  py::class_<PySource> source(module, "PackageSource",
                              "What is to be sealed. Fields that are not set are empty, or 0.");
  source.def(py::init<>());
  bind_field(source, "name", &PackageSource::name);
  bind_field(source, "version", &PackageSource::version);
  bind_field(source, "target", &PackageSource::target, "\"any\", or such as \"linux-aarch64\".");
  bind_field(source, "publisher", &PackageSource::publisher);
  bind_field(source, "release_counter", &PackageSource::release_counter, "With the epoch above bit 48.");
  bind_field(source, "min_counter", &PackageSource::min_counter, "With the epoch above bit 48.");
  bind_field(source, "created_s", &PackageSource::created_s, "Unix seconds.");
  bind_field(source, "hard_expiry_s", &PackageSource::hard_expiry_s, "Unix seconds; 0: never.");
  bind_field(source, "chunk_bytes", &PackageSource::chunk_bytes, "A power of two; the format's default if not set.");
  bind_field(source, "metadata", &PackageSource::metadata, "JSON text.");
  source
      .def_property(
          "binding", [](const PySource& self) { return optional_bytes(self.source.binding); },
          [](PySource& self, const std::optional<py::buffer>& id) {
            self.source.binding = optional_digest(id, "binding");
          },
          "Key id of the only device it may run on, or None.")
      .def_property(
          "cipher", [](const PySource& self) { return optional_cipher(self.source.aead); },
          [](PySource& self, const std::optional<std::string>& word) {
            self.source.aead = word ? std::optional(value_of(kCiphers, *word, "cipher")) : std::nullopt;
          },
          "One of CIPHERS, or None: not encrypted.")
      .def("add_member", &add_member, py::arg("name"), py::arg("type"), py::arg("is_entry"), py::arg("bytes"),
           "Adds a file, by a type that Member.type may be. Its bytes are pinned, not copied.")
      .def("add_file", &add_member_file, py::arg("name"), py::arg("type"), py::arg("is_entry"), py::arg("file"),
           "The same out of a ModelFile, which is read when it is sealed.");

  py::class_<PySealed>(module, "Sealed", "A package that was written.")
      .def_property_readonly(
          "package_id", [](const PySealed& self) { return python_bytes(self.package_id); }, "32 bytes.")
      .def_property_readonly(
          "content_key", [](const PySealed& self) { return self.content_key.get(); },
          py::return_value_policy::reference_internal, "Its ContentKey, or None when it is not encrypted.");

  module.def("seal_package", &seal, py::arg("path"), py::arg("source"), py::arg("signers"), py::arg("progress"),
             "Writes a package, whole or not at all, and tells what was Sealed. `progress` is called with payload "
             "bytes done and to do. Raises OSError, BadInput.");
  module.def("external_data_of_file", &external_data_of_file, py::arg("file"), "The same of a ModelFile.");
  module.def("external_data_of", &external_data_of, py::arg("model"),
             "The names of the files that an .onnx keeps tensors in. Raises MalformedModel, UnsupportedModel.");
}

void bind_wraps(py::module_& module) {
  py::class_<KeyWrap>(module, "KeyWrap", "What a wrapped content key says of itself.")
      .def_property_readonly("package_id", [](const KeyWrap& self) { return python_bytes(self.package_id); })
      .def_property_readonly("device_id", [](const KeyWrap& self) { return python_bytes(self.device_id); })
      .def_readonly("not_before_s", &KeyWrap::not_before_s, "Unix seconds.")
      .def_readonly("not_after_s", &KeyWrap::not_after_s, "Unix seconds; 0: no end.");
  module.def("add_wrap", &add_wrap_bytes, py::arg("wraps"), py::arg("key"), py::arg("package_id"), py::arg("device"),
             py::arg("cipher"), py::arg("not_before_s"), py::arg("not_after_s"),
             "The bytes of a .ewk file with the key wrapped for one more device. Raises MalformedKey.");
  module.def("remove_wrap", &remove_wrap_bytes, py::arg("wraps"), py::arg("device_id"),
             "The bytes of a .ewk file without one device. Raises MalformedKey, BadInput.");
  module.def("read_wraps", &list_wraps, py::arg("wraps"), "A KeyWrap for each device. Raises MalformedKey.");
  module.def("date_text", &date_text, py::arg("unix_s"),
             "A moment in UTC, such as \"2027-01-31T12:00:00Z\"; after the year 9999 its seconds after 1970.");
  module.def("wipe_variable", &wipe_variable, py::arg("name"),
             "Overwrites the value of an environment variable where this process got it.");
  module.def("unwrap", &unwrap_key, py::arg("wraps"), py::arg("package_id"), py::arg("device"), py::arg("now_s"),
             "The ContentKey of a package, by the device's PrivateKey. Raises MalformedKey, WrongKey.");
}

// What the formats fix and Python needs too.
void bind_constants(py::module_& module) {
  module.attr("PACKAGE_MAGIC") = python_bytes(std::as_bytes(std::span(package_format::kMagic)));
  module.attr("EPOCH_SHIFT") = package_format::kEpochShift;
  module.attr("ROOT_TYPE") = kRootType;
  module.attr("MAX_ROOT_BYTES") = kMaxEnvelopeBytes;
  module.attr("MAX_WRAPS_BYTES") = kMaxWrapsBytes;
  module.attr("CIPHERS") = all_words(kCiphers);
}

}  // namespace

void bind_packages(py::module_& module) {
  bind_keys(module);
  bind_trust(module);
  bind_constants(module);
  bind_members(module);
  bind_package(module);
  bind_sealing(module);
  bind_wraps(module);
}

}  // namespace edgeward
