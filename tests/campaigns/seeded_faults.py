"""Faults that each take one defence of packages, trust or captures away, and the test that notices.

`python tests/campaigns/seeded_faults.py` copies the tree to build/faults, and there, fault by
fault, changes the source, rebuilds what it is part of and runs the named test. It prints a table;
its status is 1 when a test passes in spite of its fault, when a fault does not build, or when a
test fails without any. `--only WORD` takes the faults whose file or test has the word in its name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SCRATCH = ROOT / "build" / "faults"
COPIED = ("CMakeLists.txt", "cpp", "pyproject.toml", "src", "tests")
LIMIT_S = 300


class Fault(NamedTuple):
    """`source` becomes `replacement`. `test` is a file and the name of a test in it."""

    file: str
    source: str
    replacement: str
    test: str


ROOT_TESTS = "tests/cpp/packages/test_trust_root.cc::"
ATTACKS = "tests/packages/test_attacks.py::test_"
PACKAGE_TESTS = "tests/packages/test_package.py::test_"
TRUST_TESTS = "tests/trust/test_trust.py::test_"
CAPTURE_TESTS = "tests/cpp/captures/"
DURABLE_TESTS = "tests/test_durable.py::test_"
CURSOR_TESTS = "tests/captures/test_cursor.py::test_"
PAGE_TESTS = "tests/terminal/test_page.py::test_"
STATS_TESTS = "tests/commands/test_captures_stats.py::test_"
JUDGED_TESTS = "tests/captures/test_judged_windows.py::test_"
LEDGER_TESTS = "tests/captures/test_statistics_ledger.py::test_"
WINDOWS_TESTS = "tests/captures/test_windows.py::test_"
VECTORS = "tests/packages/test_package_vectors.py::test_a_package_gets_the_answer_it_must"
FLEXBUFFER_TESTS = "tests/cpp/model_files/test_flexbuffer.cc::"
KEY_TESTS = "tests/trust/test_device_key.py::test_"

PACKAGE_FORMAT = [
    (
        "if (!names.insert(folded(name)).second)",
        "if (!names.insert(name).second)",
        VECTORS,
    ),
    (
        "if (package_id_ != digest_at(preamble, PreambleAt::kPackageId))",
        "if (is_zero(digest_at(preamble, PreambleAt::kPackageId)))",
        ATTACKS + "mix_and_match",
    ),
    (
        "if (facts.release_counter < facts.min_counter) {",
        "if (facts.release_counter == 0) {",
        VECTORS,
    ),
    (
        'section.require_equal<size_t>("entry count", 1, entry_count);',
        'section.require_within<size_t>("entry count", 0, 2, entry_count);',
        VECTORS,
    ),
]

PACKAGE_READER = [
    (
        "  require_trusted(head, path, root);\n",
        "",
        ATTACKS + "unknown_publisher",
    ),
    (
        "if (counter >> kEpochShift != root.epoch())",
        "if (counter >> kEpochShift > root.epoch())",
        ATTACKS + "fast_forward",
    ),
    (
        "if (floor != policy.floors.end() && facts.release_counter < floor->second) {",
        "if (floor != policy.floors.end() && facts.release_counter < 1) {",
        ATTACKS + "rollback",
    ),
    (
        'if (facts.target != "any" && facts.target != policy.target) {',
        'if (facts.target == "") {',
        ATTACKS + "wrong_target",
    ),
    (
        "if (facts.binding && facts.binding != policy.device_id)",
        "if (facts.binding && policy.device_id && facts.binding != policy.device_id)",
        ATTACKS + "bound_to_another_device",
    ),
    (
        "if (facts.hard_expiry_s != 0 && ",
        "if (facts.hard_expiry_s == 1 && ",
        ATTACKS + "a_clock_ten_years_behind",
    ),
    (
        "if (sha256(rows) != digest_at(body_, BodyAt::kTableDigest))",
        "if (rows.empty())",
        ATTACKS + "chunks_in_another_order",
    ),
    (
        "if (hash_.finish() != digest_at(rows_, chunk * kRowBytes + RowAt::kDigest))",
        "if (hash_.finish() == Digest{})",
        ATTACKS + "chunks_in_another_order",
    ),
    (
        "if (hash_.finish() != digest_at(rows_, chunk * kRowBytes + RowAt::kDigest))",
        "if (hash_.finish() == Digest{})",
        ATTACKS + "an_insider_with_the_content_key",
    ),
    (
        "if (!is_equal_secretly(opening.derived->commitment.bytes(),\n"
        "                         Bytes(body_).subspan(BodyAt::kCommitment, sizeof(Digest)))) {",
        "if (opening.derived->commitment.bytes().empty()) {",
        ATTACKS + "a_wrap_of_another_key",
    ),
    (
        "File::Links::refused);\n  const PackageHead head(*file);\n  require_trusted",
        "File::Links::followed);\n  const PackageHead head(*file);\n  require_trusted",
        ATTACKS + "a_package_behind_a_link",
    ),
    (
        'require_zero("between members", ',
        'require_zero("between members", Bytes()); static_cast<void>(',
        VECTORS,
    ),
    (
        "stored, reader_.tag(chunk), target))",
        "stored, reader_.tag(chunk), target) && stored.empty())",
        VECTORS,
    ),
    (
        'section.require_zero("bytes after it", ',
        'section.require_zero("bytes after it", Bytes()); static_cast<void>(',
        VECTORS,
    ),
]

TRUST_ROOT = [
    (
        'fields.integer("threshold", 1, ',
        'fields.integer("threshold", 0, ',
        ATTACKS + "threshold_zero",
    ),
    (
        "static_cast<int64_t>(role.key_ids.size())",
        "INT64_MAX",
        ROOT_TESTS + "a threshold is at least one and at most the number of keys",
    ),
    (
        "if (std::count(digests.begin(), digests.end(), digests.back()) > 1)",
        "if (digests.empty())",
        ATTACKS + "duplicate_key_in_a_role",
    ),
    (
        "if (!root.keys_.emplace(id, std::move(key)).second)",
        "root.keys_.emplace(id, std::move(key)); if (root.keys_.empty())",
        ATTACKS + "duplicate_key",
    ),
    (
        "if (key_id(key) != id)",
        "if (key.bytes.empty())",
        ATTACKS + "duplicate_key_under_another_id",
    ),
    (
        "if (keys.find(id) == keys.end())",
        "if (keys.empty())",
        ROOT_TESTS + "a document that is not a root's is malformed, whoever signed it",
    ),
    (
        "if (expected.count(name) == 0)",
        "if (name.empty())",
        ROOT_TESTS + "a document that is not a root's is malformed, whoever signed it",
    ),
    (
        "if (payload.size() > kMaxPayloadBytes)",
        "if (payload.size() > 2 * kMaxPayloadBytes)",
        ROOT_TESTS + "each limit holds to the last one",
    ),
    (
        "std::set<Digest> counted;",
        "std::multiset<Digest> counted;",
        ATTACKS + "duplicate_signatures_toward_a_threshold",
    ),
    (
        "if (key == keys_.end() || is_revoked(claim.key_id)) continue;",
        "if (key == keys_.end()) continue;",
        ROOT_TESTS + "a revoked key counts for nothing, and its signature is not even looked at",
    ),
    (
        "if (!is_claimed_rightly || !verify(key->second, message, claim.signature)) {",
        "if (!is_claimed_rightly || !verify(key->second, message, claim.signature)) {\n"
        "      if (true) continue;",
        ROOT_TESTS + "a listed key whose signature fails rejects the package, whoever else "
        "signed it",
    ),
    (
        "|| !verify(key->second, message, claim.signature)) {",
        "|| claim.signature.empty()) {",
        ATTACKS + "mix_and_match",
    ),
    (
        "if (!is_claimed_rightly || ",
        "static_cast<void>(is_claimed_rightly);\n    if (",
        ROOT_TESTS + "an algorithm that is claimed must be the key's",
    ),
    (
        "if (std::find(role.key_ids.begin(), role.key_ids.end(), claim.key_id) != "
        "role.key_ids.end())",
        "if (!role.key_ids.empty())",
        ATTACKS + "a_root_by_a_publisher",
    ),
    (
        "  if (count < role.threshold) {",
        "  if (count < 1) {",
        ATTACKS + "one_stolen_key_of_two",
    ),
    (
        "  if (!may_sign) {",
        "  if (!may_sign && model_name.empty()) {",
        ATTACKS + "wrong_name",
    ),
    (
        '  require_root_signatures(envelope, "the root in force");\n',
        "",
        ROOT_TESTS + "a successor needs enough keys of the root before it and enough of its own",
    ),
    (
        '  next.require_root_signatures(envelope, "its own");\n',
        "",
        ROOT_TESTS + "a successor needs enough keys of the root before it and enough of its own",
    ),
    (
        '  root.require_root_signatures(envelope, "its own");\n',
        "",
        TRUST_TESTS + "a_root_that_cannot_be_believed_is_named",
    ),
    (
        "if (next.version_ <= version_) {",
        "if (next.version_ < version_) {",
        ROOT_TESTS + "a successor is the very next version, and neither epoch nor issued goes back",
    ),
    (
        "if (next.version_ != version_ + 1) {",
        "if (next.version_ == 0) {",
        ROOT_TESTS + "a successor is the very next version, and neither epoch nor issued goes back",
    ),
    (
        "if (next.epoch_ < epoch_) {",
        "if (next.epoch_ + 1 < epoch_) {",
        ROOT_TESTS + "a successor is the very next version, and neither epoch nor issued goes back",
    ),
    (
        "if (next.issued_s_ < issued_s_) {",
        "if (next.issued_s_ < 0) {",
        TRUST_TESTS + "a_root_that_does_not_follow_changes_nothing",
    ),
    (
        "if (now_s < expires_s_) return;",
        "if (now_s <= expires_s_) return;",
        ATTACKS + "freeze",
    ),
    (
        "if (envelope.type != kRootType)",
        "if (envelope.type.empty())",
        ROOT_TESTS + "an envelope of another type is no root, and a signature for another type is "
        "none of it",
    ),
]

DSSE = [
    (
        '"DSSEv1 " + std::to_string(type.size()) + " " + std::string(type) + " " +',
        '"DSSEv1 " + std::string(type.substr(0, 0)) +',
        ROOT_TESTS + "a signature of a root is none of a package",
    ),
]

JSON = [
    (
        "if (!members.emplace(std::move(key), value(level + 1)).second)",
        "members.emplace(std::move(key), value(level + 1));\n      if (members.empty())",
        ROOT_TESTS + "a document that is not a root's is malformed, whoever signed it",
    ),
    (
        "if (at_ != text_.size()) fail(",
        "if (at_ > text_.size()) fail(",
        ROOT_TESTS + "nothing may follow a root",
    ),
]

BASE64 = [
    (
        "if ((group & ((uint32_t{1} << (8 * padding)) - 1)) != 0) return std::nullopt;",
        "",
        ROOT_TESTS + "no cut and no flipped bit of a signed root is believed",
    ),
]

KEY_WRAP = [
    (
        "if (match->package_id != package_id)",
        "if (match->package_id == Digest{})",
        ATTACKS + "a_wrap_of_another_package",
    ),
    (
        "if (now < match->not_before_s || ",
        "if (now + 1 < match->not_before_s || ",
        ATTACKS + "a_wrap_outside_its_time",
    ),
    (
        "now >= match->not_after_s)) {",
        "now > match->not_after_s)) {",
        ATTACKS + "a_wrap_outside_its_time",
    ),
    (
        "bytes.insert(bytes.end(), wrap.begin() + kKemAt, wrap.begin() + kEncapsulatedAt);",
        "bytes.insert(bytes.end(), wrap.begin() + kKemAt, wrap.begin() + kNotBeforeAt);",
        ATTACKS + "an_altered_wrap",
    ),
    (
        "bytes.insert(bytes.end(), wrap.begin() + kKemAt, wrap.begin() + kEncapsulatedAt);",
        "bytes.insert(bytes.end(), wrap.begin() + kNotBeforeAt, wrap.begin() + kEncapsulatedAt);",
        ATTACKS + "a_wrap_of_another_package",
    ),
    (
        "if (!is_zero(zeros)) malformed(index",
        "if (!is_zero(zeros.first(0))) malformed(index",
        ATTACKS + "an_altered_wrap",
    ),
    (
        "if (!std::equal(kMagic.begin(), kMagic.end(), ",
        "if (!std::equal(kMagic.begin(), kMagic.begin() + 5, ",
        ATTACKS + "an_altered_wrap",
    ),
]

CRYPTO = [
    (
        "EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, "
        "const_cast<std::byte*>(tag.data())) == 1 &&\n"
        "         EVP_CipherFinal_ex(context, nullptr, &size) == 1;",
        "true;",
        ATTACKS + "an_altered_wrap",
    ),
    (
        "key.bytes.size() != kEd25519Bytes || !is_strict_ed25519(key.bytes)",
        "key.bytes.size() != kEd25519Bytes",
        ROOT_TESTS + "a key under which anybody can sign counts for nothing",
    ),
    (
        "if (is_top && y[0] >= std::byte{0xED}) return false;",
        "static_cast<void>(is_top);",
        ROOT_TESTS + "a key under which anybody can sign counts for nothing",
    ),
    (
        "|| key.bytes[0] != std::byte{4}) return false;",
        "|| key.bytes[0] == std::byte{0}) return false;",
        ROOT_TESTS + "another spelling of a point is no second key",
    ),
    (
        "if (signature.size() != std::tuple_size_v<SignatureBytes>) return false;",
        "if (signature.size() < std::tuple_size_v<SignatureBytes>) return false;\n"
        "  signature = signature.first(std::tuple_size_v<SignatureBytes>);",
        ROOT_TESTS + "a signature of a wrong size is a wrong signature",
    ),
]

KEY_FILE = [
    (
        "if ((mode & (S_IRWXG | S_IRWXO)) != 0) {",
        "if ((mode & (S_IRGRP | S_IROTH)) != 0) {",
        KEY_TESTS + "a_file_that_others_may_touch_is_refused",
    ),
    (
        "  public_key(key);  // refuses a scalar that is no key\n",
        "",
        KEY_TESTS + "a_key_that_is_there_and_is_none_is_refused_without_showing_it",
    ),
    (
        '"ALGORITHM HEX\\" as edgeward keygen writes, got something else");\n  }\n'
        "  PrivateKey key{",
        '"ALGORITHM HEX\\" as edgeward keygen writes, got ", view(text));\n  }\n  PrivateKey key{',
        KEY_TESTS + "a_key_that_is_there_and_is_none_is_refused_without_showing_it",
    ),
]

LOCK_FILE = [
    (
        "return fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "return fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        TRUST_TESTS + "processes_that_accept_at_once_lose_nothing",
    ),
    (
        "return fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "return",
        TRUST_TESTS + "what_another_process_noted_meanwhile_is_kept",
    ),
    (
        "        fcntl.flock(number, fcntl.LOCK_UN)\n",
        "",
        TRUST_TESTS + "a_child_forked_under_the_lock_does_not_keep_it",
    ),
]
TRUST = [
    (
        "if root.version < state[",
        "if root.version < 0 * state[",
        ATTACKS + "an_older_trust_root",
    ),
    (
        "floors = {**floors, package.name: package.min_counter}",
        "floors = {**floors}",
        ATTACKS + "rollback",
    ),
    (
        "if package.min_counter > floor:",
        "if package.min_counter != floor:",
        TRUST_TESTS + "a_floor_rises_with_the_releases_that_run_and_never_falls",
    ),
    (
        "if package.release_counter < floor:",
        "if package.release_counter < least:",
        TRUST_TESTS + "what_was_opened_before_a_floor_rose_does_not_run_after",
    ),
    (
        'floor = max(least, state["floors"].get(package.name, 0))',
        'floor = state["floors"].get(package.name, 0)',
        TRUST_TESTS + "what_was_opened_before_an_epoch_rose_does_not_run_after",
    ),
    (
        "times = {**times, package.publisher: package.created_s}",
        "times = {}",
        ATTACKS + "a_clock_ten_years_behind",
    ),
    (
        "times = {**times, package.publisher: package.created_s}",
        "times = {**times, package.publisher: max(package.created_s, int(time.time()))}",
        ATTACKS + "a_clock_ten_years_ahead",
    ),
    (
        "return min(clock_s + MOST_AHEAD_S, root.expires_s - 1)",
        "return root.expires_s - 1",
        TRUST_TESTS + "a_publisher_is_believed_one_day_ahead_or_to_the_roots_end",
    ),
    (
        "return min(clock_s + MOST_AHEAD_S, root.expires_s - 1)",
        "return 1 << 62",
        ATTACKS + "a_clock_ten_years_ahead_where_packages_are_sealed",
    ),
    (
        '{} if is_new_epoch else state["publisher_times_s"],',
        'state["publisher_times_s"],',
        TRUST_TESTS + "a_new_epoch_voids_the_time_that_packages_told",
    ),
    (
        'certain_s = 0 if is_new_epoch else state["time_floor_s"]',
        'certain_s = state["time_floor_s"]',
        TRUST_TESTS + "a_state_of_version_1_is_read_and_rewritten",
    ),
    (
        '"time_floor_s": max(certain_s, root.issued_s),',
        '"time_floor_s": certain_s,',
        ATTACKS + "a_clock_ten_years_behind_and_a_root_issued_since",
    ),
    (
        "return max(int(time.time()), certain_s)",
        "return int(time.time())",
        ATTACKS + "a_clock_ten_years_behind",
    ),
    (
        "        if not self.has_run(package_id):",
        "        if True or self.has_run(package_id):",
        ATTACKS + "freeze",
    ),
    (
        "if status.st_mode & (stat.S_IWOTH",
        "if status.st_mode & (0",
        TRUST_TESTS + "a_file_that_others_can_write_to_is_named",
    ),
    (
        "            raise MalformedRoot(\n                f'trust state",
        "            return dict(NEW_STATE)\n            raise MalformedRoot(\n"
        "                f'trust state",
        ATTACKS + "a_damaged_state",
    ),
    (
        "root = root.successor(envelope)",
        "root = _core.TrustRoot.first(envelope)",
        TRUST_TESTS + "a_root_that_does_not_follow_changes_nothing",
    ),
    (
        "parsed is None or parsed[0] != envelope",
        "parsed is None",
        ATTACKS + "a_revoked_key",
    ),
    (
        "                root, state = self._read()\n                after = _after(",
        "                after = _after(",
        TRUST_TESTS + "what_another_process_noted_meanwhile_is_kept",
    ),
    (
        '            if after["floors"] != state["floors"]:\n                raise\n',
        "            pass\n",
        TRUST_TESTS + "a_disk_that_is_full_keeps_the_floor_and_says_so",
    ),
    (
        '            if after["floors"] != state["floors"]:\n                raise\n',
        "            raise\n",
        TRUST_TESTS + "a_directory_that_cannot_be_written_lets_run_what_sets_no_floor",
    ),
    (
        "if (after := _under(root, state)) != state:",
        "if (after := _under(root, state)) == state:",
        TRUST_TESTS + "roots_follow_one_another",
    ),
]

PACKAGE_MODULE = [
    (
        "        self._trust.accept(self.core)\n",
        "",
        ATTACKS + "rollback",
    ),
    (
        "trust.floors(), trust.now_s(), times)",
        "{}, trust.now_s(), times)",
        ATTACKS + "rollback",
    ),
    (
        "trust.floors(), trust.now_s(), times)",
        "trust.floors(), trust.now_s(), {})",
        ATTACKS + "a_clock_ten_years_behind",
    ),
    (
        "trust.floors(), trust.now_s(), times)",
        "trust.floors(), 0, times)",
        ATTACKS + "a_clock_ten_years_behind_and_a_root_issued_since",
    ),
    (
        "return max(trust.now_s(), trust.publisher_times_s().get(self.core.publisher, 0))",
        "return trust.now_s()",
        ATTACKS + "a_clock_ten_years_behind",
    ),
    (
        "self._key, self._now_s(self._trust))",
        "self._key, 2_000_000_000)",
        ATTACKS + "a_wrap_outside_its_time",
    ),
    (
        "            self.core.check_payload(self._payload)\n",
        "            pass\n",
        ATTACKS + "a_publisher_who_signs_another_digest_of_a_member",
    ),
    (
        "        trust.require_current(core.package_id.hex())\n",
        "",
        ATTACKS + "freeze",
    ),
    (
        "_core.Package.verified(os.fsdecode(path), trust.root, _policy(trust, key))",
        "_core.Package.authentic(os.fsdecode(path), trust.root)",
        ATTACKS + "wrong_target",
    ),
    (
        "_core.Package.verified(os.fsdecode(path), trust.root, _policy(trust, key))",
        "_core.Package.authentic(os.fsdecode(path), trust.root)",
        ATTACKS + "bound_to_another_device",
    ),
    (
        "        if not self._is_allowed or self._trust is None:\n",
        "        if self._trust is None:\n",
        PACKAGE_TESTS + "a_package_that_may_not_run_here_can_be_read_and_not_run",
    ),
    (
        "_core.Package.authentic(os.fsdecode(path), trust.root)",
        "_core.Package.unverified(os.fsdecode(path))",
        PACKAGE_TESTS + "a_package_that_may_not_run_here_can_be_read_and_not_run",
    ),
]

DURABLE = [
    (
        "            os.fsync(number)\n        os.replace(draft, target)\n",
        "        os.replace(draft, target)\n",
        DURABLE_TESTS + "the_bytes_are_durable_before_the_name_and_the_name_before_the_return",
    ),
    (
        "    try:\n        os.fsync(number)\n    finally:\n",
        "    try:\n        pass\n    finally:\n",
        DURABLE_TESTS + "the_bytes_are_durable_before_the_name_and_the_name_before_the_return",
    ),
    (
        "        os.replace(draft, target)\n",
        '        os.unlink(draft)\n        open(target, "wb").write(data)\n',
        TRUST_TESTS + "a_kill_at_any_step_of_accept_leaves_the_old_floor_or_the_new",
    ),
    (
        "        with suppress(FileNotFoundError):\n            os.unlink(draft)\n",
        "        pass\n",
        DURABLE_TESTS + "a_disk_that_is_full_at_any_byte_leaves_the_old_file",
    ),
]

REDACTION = [
    (
        "tensor.image->copy(view, target.data());",
        "RingCopy(target.data(), target.size()).copy(view.data, target.size());",
        "tests/captures/test_redact.py::test_a_canary_is_in_no_ring_and_no_segment",
    ),
    (
        "if (tensor(side, i).key != nullptr) counted[i].size_bytes = 0;",
        "",
        CAPTURE_TESTS
        + "test_redaction.cc::statistics count every tensor but those that are hashed",
    ),
]

REDACTED_IMAGE = [
    (
        "if (!part.boxes.try_read(outputs, extent, part.regions)) is_blank_ = true;",
        "part.boxes.try_read(outputs, extent, part.regions);",
        CAPTURE_TESTS + "test_redacted_image.cc::boxes that cannot be read leave out all, in every "
        "kind of rule and with another that can be read",
    ),
]

SEALED_STATISTICS = [
    (
        "return bytes_of(head).first(offsetof(Head, encapsulated));",
        "return bytes_of(head).first(0);",
        "tests/captures/test_capture_format.py::test_sealed_statistics",
    ),
]

STATISTICS = [
    (
        "if (!has_parts_of(tensors[i], other.tensors[i]))",
        "if (false)",
        CAPTURE_TESTS + "test_statistics.cc::what counts something else is not merged, and nothing "
        "changes",
    ),
    (
        "if (most_of(*this) + most_of(other) > kMaxCount)",
        "if (false)",
        CAPTURE_TESTS + "test_statistics.cc::what counts something else is not merged, and nothing "
        "changes",
    ),
]

STATISTICS_FORMAT = [
    (
        "if (total != expected)",
        "if (false)",
        CAPTURE_TESTS
        + "test_statistics_format.cc::counts that do not belong together are refused, "
        "and so are those that no device can have",
    ),
    (
        "if (bins.scale().fraction != fraction)",
        "if (false)",
        CAPTURE_TESTS + "test_statistics_format.cc::bytes whose CRC was mended are statistics or "
        "refused, and ask for no more memory than they may",
    ),
]

STATISTICS_FILE = [
    (
        "                if first != path:\n",
        "                if False:\n",
        WINDOWS_TESTS + "a_copy_of_a_window_counts_once_and_is_named",
    ),
    (
        "(os.path.dirname(path), saved.id)",
        '("", saved.id)',
        WINDOWS_TESTS + "one_id_of_two_devices_is_two_windows",
    ),
    (
        "if not self._holds(content):",
        "if True:",
        LEDGER_TESTS + "a_sync_that_fails_behind_the_rename_counts_nothing_twice",
    ),
    (
        "replace_file(self.path, content, MODE)",
        "replace_file(self.path, content)",
        LEDGER_TESTS + "they_are_not_open_to_everybody",
    ),
]

STATISTICS_LEDGER = [
    (
        "                        failure = failure or error\n",
        "                        raise\n",
        LEDGER_TESTS + "a_release_that_cannot_be_saved_keeps_no_other_from_it",
    ),
    (
        "if self._recipient is not None or window.boot_id == UNKNOWN_BOOT:",
        "if window.boot_id == UNKNOWN_BOOT:",
        LEDGER_TESTS + "with_a_recipient_only_the_owner_of_its_key_reads_them",
    ),
    (
        "if self._recipient is not None or window.boot_id == UNKNOWN_BOOT:",
        "if self._recipient is not None:",
        LEDGER_TESTS + "without_a_boot_id_nothing_is_shared",
    ),
    (
        "                    del self._unsaved[key]\n",
        "",
        LEDGER_TESTS + "each_period_has_a_window_of_its_own",
    ),
    (
        "            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        LEDGER_TESTS + "threads_and_captures_at_once_lose_nothing",
    ),
    (
        "not isinstance(saved, Window) or not _is_alike(saved, window)",
        "not isinstance(saved, Window)",
        LEDGER_TESTS + "a_file_of_another_release_is_left_alone",
    ),
]

WINDOWS = [
    (
        "reached_ns[head.boot_id] >= head.end_ns",
        "reached_ns[head.boot_id] >= head.begin_ns",
        WINDOWS_TESTS + "a_window_is_complete_when_nobody_adds_to_it",
    ),
    (
        "if not cursor.has_window(device, head.id)",
        "if True",
        WINDOWS_TESTS + "each_complete_window_is_handed_over_once",
    ),
    (
        "cursor.add_window(device, saved.id)",
        'cursor.add_window("", saved.id)',
        WINDOWS_TESTS + "a_window_of_another_device_hides_none",
    ),
]

SEGMENT_NAME = [
    (
        "number = std::max(number, *taken + 1);",
        "number = std::max(number, *taken);",
        CAPTURE_TESTS + "test_segment_name.cc::whatever the clock says, names sort in the order in "
        "which they were made",
    ),
]

MOMENT = [
    (
        "most_ns = std::max<int64_t>(now.monotonic_ns - moment.monotonic_ns, 0);",
        "most_ns = std::max<int64_t>(now.wall_ns - moment.wall_ns, 0);",
        CAPTURE_TESTS + "test_moment.cc::within a boot the monotonic clock says how old, whatever "
        "the wall's does",
    ),
    (
        "if (!is_set(wall_ns) || wall_ns > now.wall_ns) return std::nullopt;",
        "if (wall_ns > now.wall_ns) return std::nullopt;",
        CAPTURE_TESTS + "test_moment.cc::of another boot the wall's clock says how old, where it "
        "was set",
    ),
]

RETENTION = [
    (
        "budget.most_bytes -= std::min(budget.most_bytes, listing.statistics_bytes);",
        "",
        CAPTURE_TESTS + "test_retention.cc::statistics leave less for segments, and nothing else "
        "counts or goes",
    ),
]

CAPTURED = [
    (
        "last <= cursor.last(",
        "last < cursor.last(",
        CURSOR_TESTS + "an_open_segment_is_exported_as_far_as_it_goes",
    ),
]

CURSOR = [
    (
        'last.get(f"{ring_id:016x}", 0)',
        "max(last.values(), default=0)",
        CURSOR_TESTS + "records_of_several_rings_in_an_open_segment",
    ),
    (
        "        if model != self._model:\n",
        "        if False:\n",
        CURSOR_TESTS + "a_cursor_is_of_one_choice_of_models",
    ),
]

CAPTURES_EXPORT = [
    (
        'not in ("open", "damaged")',
        'not in ("open",)',
        CURSOR_TESTS + "a_segment_that_came_in_parts_is_read_again",
    ),
    (
        "        written = writer.close()\n        if cursor is not None:\n"
        "            cursor.save()\n",
        "        if cursor is not None:\n            cursor.save()\n"
        "        written = writer.close()\n",
        CURSOR_TESTS + "a_pipe_that_nobody_reads_is_not_noted",
    ),
    (
        "        remove(written)  #",
        "        #",
        CURSOR_TESTS + "a_cursor_that_cannot_be_replaced_leaves_no_export",
    ),
]

PAGE = [
    (
        "html.escape(quoted(text))",
        "quoted(text)",
        PAGE_TESTS + "a_name_adds_no_element_and_loads_nothing",
    ),
    (
        "html.escape(quoted(text))",
        "html.escape(text)",
        PAGE_TESTS + "a_name_adds_no_element_and_loads_nothing",
    ),
]

PLOT = [
    (
        "html.escape(quoted(shape.text))",
        "quoted(shape.text)",
        "tests/terminal/test_plot.py::test_a_name_in_a_plot_is_text",
    ),
]

CAPTURES_STATS = [
    (
        "    return lines, DRIFTED_STATUS if drift_report.has_drifted(devices) else 0\n",
        "    return lines, 0\n",
        STATS_TESTS + "what_has_drifted_is_said_and_is_status_1",
    ),
    (
        "    if not devices:\n",
        "    if False:\n",
        STATS_TESTS + "what_cannot_be_judged_is_no_verdict",
    ),
    (
        "Package.authentic(path, trust=trust)",
        "Package.open(path, trust=trust)",
        STATS_TESTS + "a_package_below_the_floor_of_what_runs_here_still_judges",
    ),
]

JUDGED_WINDOWS = [
    (
        "    if counted.package_id and counted.name != model:\n",
        "    if False:\n",
        JUDGED_TESTS + "what_the_reference_does_not_speak_of_is_passed_over_and_named",
    ),
]

TICKER = [
    (
        "        except Exception:\n",
        "        except OSError:\n",
        "tests/captures/test_ticker.py::test_an_error_in_a_call_is_said_and_ends_no_later_one",
    ),
]

REFERENCE_TESTS = "tests/packages/test_reference_statistics.py::test_"

REFERENCE_STATISTICS = [
    (
        "    value.encode()  # half",
        "    # half",
        REFERENCE_TESTS + "other_documents_of_version_1_are_refused",
    ),
    (
        '" ".join(str(error).split())[:MOST_REASON]',
        "str(error)",
        REFERENCE_TESTS + "a_refusal_is_one_line_of_bounded_length",
    ),
    (
        "LEAST_FALSE_ALARMS <= false_alarms",
        "0 < false_alarms",
        REFERENCE_TESTS + "other_documents_are_refused",
    ),
]

JOINED_WINDOWS = [
    (
        "_core.Statistics.from_bytes(counted.statistics.to_bytes())",
        "counted.statistics",
        "tests/captures/test_joined_windows.py::test_what_is_joined_is_left_as_it_was",
    ),
]

SEGMENT_ATTACKS = "tests/captures/test_segment_attacks.py::test_"

SEGMENT_FORMAT = [
    (
        "  const Bytes more = bytes_of(head);\n",
        "  const Bytes more;\n",
        SEGMENT_ATTACKS + "no_record_is_given_under_another_model",
    ),
]

SEGMENT_INDEX = [
    (
        "    if (!is_same) index.fault = frame_fault(i);\n",
        "",
        CAPTURE_TESTS + "test_segment_index.cc::a head or an end with one bit turned over is not "
        "called sealed, and the fault is named",
    ),
]

PIPE_FILE = [
    (
        "        if self._file.isatty():\n",
        "        if False:\n",
        "tests/captures/test_pipe_file.py::test_a_terminal_gets_no_file",
    ),
]

LITERT_INTERPRETER = [
    (
        "block_(Block::secret(kBlockAlignment",
        "block_(Block::zeroed(kBlockAlignment",
        "tests/packages/test_secrecy.py::test_the_payload_is_neither_dumped_nor_swapped",
    ),
]

FLEXBUFFER = [
    (
        "if (length == limit) refuse(",
        "if (false) refuse(",
        FLEXBUFFER_TESTS + "what leaves its bytes is named",
    ),
    (
        "if (count > (bytes_.size() - position) / bytes_each)",
        "if (count > bytes_.size())",
        FLEXBUFFER_TESTS + "no cut, flip or byte more makes it read outside",
    ),
    (
        "if (offset > position) refuse(",
        "if (false) refuse(",
        FLEXBUFFER_TESTS + "no cut, flip or byte more makes it read outside",
    ),
]

TFLITE_CUSTOM = [
    (
        "if (boxes && numbers && *numbers < ",
        "if (boxes && numbers && *numbers < 0 * ",
        "tests/cpp/model_files/test_tflite_custom.cc::"
        "custom operators that kernels cannot bear are refused",
    ),
]

PACKAGE_BINDINGS = [
    (
        "payload.block.is_secret() ? Block::secret(size_bytes)",
        "false ? Block::secret(size_bytes)",
        "tests/packages/test_secrecy.py::test_what_a_model_keeps_of_its_package_is_not_dumped",
    ),
]

RECIPE = [
    (
        "    if unknown:\n",
        "    if False:\n",
        "tests/packages/test_recipe.py::test_other_documents_are_refused",
    ),
    (
        "    if len(fields) != len(pairs):\n",
        "    if False:\n",
        "tests/packages/test_recipe.py::test_other_bytes_are_refused",
    ),
]

SOUND_FILE = [
    (
        "        if length > size_bytes - file.tell():\n",
        "        if False:\n",
        "tests/inputs/test_sound_file.py::test_a_vast_sound_takes_no_memory",
    ),
    (
        "        if most_frames is None and count > MOST_SAMPLES:\n",
        "        if False:\n",
        "tests/inputs/test_sound_file.py::test_no_more_is_read_than_is_asked_for",
    ),
]

PICTURE_TENSOR = [
    (
        "    if picture.width * picture.height > most:\n",
        "    if False:\n",
        "tests/inputs/test_picture_tensor.py::test_a_small_file_of_a_vast_picture_takes_no_memory",
    ),
    (
        "_require_decodable(name, opened, height, width)  # of a PNG",
        "pass  # of a PNG",
        "tests/inputs/test_picture_tensor.py::test_a_size_is_told_of_no_picture_that_is_too_large",
    ),
]

AGENT_TESTS = "tests/agent/test_"
SEGMENT_TESTS = AGENT_TESTS + "shared_segment.py::test_"
CALL_TESTS = AGENT_TESTS + "edge_service.py::test_"
PROCESS_TESTS = AGENT_TESTS + "agent.py::test_"
RECORD_TESTS = AGENT_TESTS + "captures.py::test_"

SHARED_SEGMENT = [
    ("WRITE_OR_EXECUTE = 0o333", "WRITE_OR_EXECUTE = 0o002",
     SEGMENT_TESTS + "a_segment_that_anybody_may_write_or_execute_is_refused"),
    ("if uid != self.uid:", "if False:", SEGMENT_TESTS + "a_segment_of_another_user"),
    ("if self.offset + count > segment_bytes:", "if self.offset > segment_bytes:",
     SEGMENT_TESTS + "a_range_that_is_not_the_tensor_in_the_segment"),
    ("self.size_bytes not in (0, wanted_bytes)", "False",
     SEGMENT_TESTS + "a_range_that_is_not_the_tensor_in_the_segment"),
    ("if part.segment_id <= MOST_SHMID:", "if part.segment_id & MOST_SHMID:",
     SEGMENT_TESTS + "an_id_is_not_cut_to_32_bits"),
    (" | os.O_NOFOLLOW", "", SEGMENT_TESTS + "a_posix_segment_is_no_link"),
]  # fmt: skip

EDGE_SERVICE = [
    ('text.replace("6", "\\N{FULLWIDTH DIGIT SIX}")', "text",
     CALL_TESTS + "no_error_of_load_has_the_digit_6"),
    ("    if not caller.may_admin:\n", "    if False:\n",
     PROCESS_TESTS + "the_data_socket_neither_loads_nor_unloads"),
]  # fmt: skip

WIRE_TENSOR = [
    ("(got := DTYPES.get(described.data_type)) != spec.dtype", "(got := None)",
     CALL_TESTS + "a_wrong_tensor_is_told_with_its_name"),
    ("elif not fits(shape, spec.shape):", "elif False:",
     CALL_TESTS + "a_wrong_tensor_is_told_with_its_name"),
    ("if len(content) != size_bytes:", "if False:",
     CALL_TESTS + "a_wrong_tensor_is_told_with_its_name"),
    ("if len(tensors) != len(specs):", "if False:", CALL_TESTS + "a_wrong_count_of_tensors"),
]  # fmt: skip

DOOR = [
    ("if not self._rules.let_in(connection):", "if False:",
     PROCESS_TESTS + "a_user_who_is_not_listed_is_sent_away"),
    ("if self._open[uid] >= most:", "if False:",
     PROCESS_TESTS + "one_user_has_so_many_connections"),
]  # fmt: skip

LOADED_MODELS = [
    ("if alias in self._models or alias in self._opening:", "if alias in self._models:",
     CALL_TESTS + "of_many_loads_at_once_one_wins"),
    ("os.replace(self._path, aside)", "pass",
     PROCESS_TESTS + "a_table_that_no_agent_wrote_is_moved_aside"),
]  # fmt: skip

MODEL_FILE = [
    ("            if self._is_unsigned_allowed:\n", "            if True:\n",
     CALL_TESTS + "what_cannot_be_loaded_is_told_with_file_and_check"),
    ("if len(files) > 1:", "if False:",
     CALL_TESTS + "what_cannot_be_loaded_is_told_with_file_and_check"),
]  # fmt: skip

CAPTURE_IDS = [
    ("self._states.update((capture_id, (state, until_s)) for capture_id in row[\"ids\"])", "pass",
     RECORD_TESTS + "what_is_buffered_is_written_at_the_end"),
]  # fmt: skip

CAPTURE_REQUEST = [
    ("if is_clock_set and stamp", "if False and stamp", RECORD_TESTS + "each_code_by_its_cause"),
    ("if not 1 <= len(capture_id) <= MOST_ID_CHARACTERS:", "if False:",
     RECORD_TESTS + "each_code_by_its_cause"),
]  # fmt: skip

FAULTS = [
    Fault(file, *fault)
    for file, faults in {
        "src/edgeward/agent/shared_segment.py": SHARED_SEGMENT,
        "src/edgeward/agent/edge_service.py": EDGE_SERVICE,
        "src/edgeward/agent/wire_tensor.py": WIRE_TENSOR,
        "src/edgeward/agent/door.py": DOOR,
        "src/edgeward/agent/loaded_models.py": LOADED_MODELS,
        "src/edgeward/agent/model_file.py": MODEL_FILE,
        "src/edgeward/agent/capture_ids.py": CAPTURE_IDS,
        "src/edgeward/agent/capture_request.py": CAPTURE_REQUEST,
        "cpp/packages/package_format.cc": PACKAGE_FORMAT,
        "cpp/packages/package_reader.cc": PACKAGE_READER,
        "cpp/packages/trust_root.cc": TRUST_ROOT,
        "cpp/packages/dsse.cc": DSSE,
        "cpp/python/packages.cc": PACKAGE_BINDINGS,
        "src/edgeward/packages/recipe.py": RECIPE,
        "src/edgeward/inputs/sound_file.py": SOUND_FILE,
        "src/edgeward/inputs/picture_tensor.py": PICTURE_TENSOR,
        "cpp/captures/redaction.cc": REDACTION,
        "cpp/captures/redacted_image.cc": REDACTED_IMAGE,
        "cpp/captures/sealed_statistics.cc": SEALED_STATISTICS,
        "cpp/captures/statistics.cc": STATISTICS,
        "cpp/captures/statistics_format.cc": STATISTICS_FORMAT,
        "cpp/captures/segment_name.cc": SEGMENT_NAME,
        "cpp/captures/segment_format.cc": SEGMENT_FORMAT,
        "cpp/captures/segment_index.cc": SEGMENT_INDEX,
        "cpp/captures/moment.cc": MOMENT,
        "cpp/captures/retention.cc": RETENTION,
        "src/edgeward/captures/statistics_file.py": STATISTICS_FILE,
        "src/edgeward/captures/statistics_ledger.py": STATISTICS_LEDGER,
        "src/edgeward/captures/windows.py": WINDOWS,
        "src/edgeward/captures/captured.py": CAPTURED,
        "src/edgeward/captures/cursor.py": CURSOR,
        "src/edgeward/captures/pipe_file.py": PIPE_FILE,
        "src/edgeward/commands/captures_export.py": CAPTURES_EXPORT,
        "src/edgeward/terminal/page.py": PAGE,
        "src/edgeward/terminal/plot.py": PLOT,
        "src/edgeward/commands/captures_stats.py": CAPTURES_STATS,
        "src/edgeward/captures/judged_windows.py": JUDGED_WINDOWS,
        "src/edgeward/captures/joined_windows.py": JOINED_WINDOWS,
        "src/edgeward/captures/ticker.py": TICKER,
        "src/edgeward/packages/reference_statistics.py": REFERENCE_STATISTICS,
        "cpp/python/litert_interpreter.cc": LITERT_INTERPRETER,
        "cpp/model_files/flexbuffer.cc": FLEXBUFFER,
        "cpp/model_files/tflite_custom.cc": TFLITE_CUSTOM,
        "cpp/bytes/json.cc": JSON,
        "cpp/bytes/base64.cc": BASE64,
        "cpp/packages/key_wrap.cc": KEY_WRAP,
        "cpp/crypto/crypto.cc": CRYPTO,
        "cpp/packages/key_file.cc": KEY_FILE,
        "src/edgeward/lock_file.py": LOCK_FILE,
        "src/edgeward/trust/trust_directory.py": TRUST,
        "src/edgeward/packages/package.py": PACKAGE_MODULE,
        "src/edgeward/durable.py": DURABLE,
    }.items()
    for fault in faults
]


def flaw(fault: Fault) -> str:
    """What keeps a fault from being tried; empty when nothing does."""
    count = (ROOT / fault.file).read_text().count(fault.source)
    if count != 1:
        return f"{fault.file}: expected this once, found {count} times: {fault.source!r}"
    if fault.source == fault.replacement:
        return f"{fault.file}: expected a change, got none: {fault.source!r}"
    file, name = fault.test.split("::")
    definition = f'TEST_CASE("{name}")' if file.endswith(".cc") else f"\ndef {name}("
    if not (ROOT / file).is_file() or (ROOT / file).read_text().count(definition) != 1:
        return f"{file}: expected one test of this name: {name}"
    return ""


class Tree:
    """A copy of the sources, and what is built of it: the tests of the core, and the extension."""

    def __init__(self, directory: Path) -> None:
        self._tree = directory / "tree"
        shutil.rmtree(self._tree, ignore_errors=True)
        self._tree.mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        for name in COPIED:
            source, target = ROOT / name, self._tree / name
            # Times of change are kept, so that a second run builds little.
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy2(source, target)
        self._package = self._tree / "src" / "edgeward"
        self._core, self._extension = directory / "core", directory / "extension"
        command = [sys.executable, "-m", "pybind11", "--cmakedir"]
        pybind11 = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()
        self._configure(self._core, "-DEDGEWARD_TESTS=ON")
        self._configure(
            self._extension,
            f"-Dpybind11_DIR={pybind11}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={self._package}",
        )

    def _configure(self, directory: Path, *options: str) -> None:
        command = ["cmake", "-S", self._tree, "-B", directory, "-G", "Ninja"]
        subprocess.run(
            [*command, "-DCMAKE_BUILD_TYPE=Debug", *options], check=True, stdout=subprocess.DEVNULL
        )

    @contextmanager
    def changed(self, fault: Fault) -> Iterator[None]:
        path = self._tree / fault.file
        text = path.read_text()
        path.write_text(text.replace(fault.source, fault.replacement))
        try:
            yield
        finally:
            path.write_text(text)

    def is_built_for(self, tests: Sequence[str]) -> bool:
        """Builds what the tests need."""
        directories = {self._core if _is_of_core(test) else self._extension for test in tests}
        return all(
            subprocess.run(["cmake", "--build", directory, "-j2"], capture_output=True).returncode
            == 0
            for directory in directories
        )

    def outcome(self, test: str) -> str:
        """ "passed", "failed", or what else came of it."""
        file, name = test.split("::")
        if _is_of_core(test):
            program = self._core / "tests" / "cpp" / "core_tests"
            pattern = name.replace(",", "?")  # a comma would part two patterns
            command = [program, f"--source-file=*/{Path(file).name}", f"--test-case={pattern}"]
        else:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        # Without .pyc files: their dates are too coarse for a source that changes this often.
        environment = {
            **os.environ,
            "PYTHONPATH": str(self._tree / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            done = subprocess.run(
                command,
                cwd=self._tree,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return "hangs"
        if _is_of_core(test) and "test cases: 1 |" not in " ".join(done.stdout.split()):
            return "did not run"
        return {0: "passed", 1: "failed"}.get(done.returncode, f"status {done.returncode}")


def _is_of_core(test: str) -> bool:
    return test.split("::")[0].endswith(".cc")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="WORD", default="", help="faults with this in a name")
    word = parser.parse_args().only
    faults = [fault for fault in FAULTS if word in fault.file or word in fault.test]
    flaws = [reason for fault in faults if (reason := flaw(fault))]
    if flaws or not faults:
        print("\n".join(flaws) or f"no fault has {word!r} in its name")
        return 1

    start_s = time.monotonic()
    tree = Tree(SCRATCH)
    tests = sorted({fault.test for fault in faults})
    if not tree.is_built_for(tests):
        print("the tree does not build as it is")
        return 1
    failing = [test for test in tests if tree.outcome(test) != "passed"]
    if failing:
        print("these fail without any fault:", *failing, sep="\n")
        return 1

    survivors = 0
    for index, fault in enumerate(faults, 1):
        with tree.changed(fault):
            outcome = tree.outcome(fault.test) if tree.is_built_for([fault.test]) else "no build"
        is_noticed = outcome == "failed"
        survivors += not is_noticed
        line = fault.source.strip().splitlines()[0]
        verdict = "noticed" if is_noticed else f"SURVIVES ({outcome})"
        print(f"{index:3}  {verdict}  {fault.file}: {line}\n     {fault.test}", flush=True)
    took_s = time.monotonic() - start_s
    print(f"{len(faults) - survivors} of {len(faults)} faults were noticed, in {took_s:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
