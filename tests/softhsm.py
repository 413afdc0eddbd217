"""SoftHSM from Debian, with a token of its own directory: keys that no file of ours has."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "5678"
SOUND = importlib.util.find_spec("pkcs11") and MODULE.exists() and shutil.which("softhsm2-util")
needs_softhsm = pytest.mark.skipif(not SOUND, reason="no softhsm2 (apt) or python-pkcs11 (pip)")
ED25519 = bytes.fromhex("130c656477617264733235353139")
P256 = bytes.fromhex("06082a8648ce3d030107")
P384 = bytes.fromhex("06052b81040022")


class House:
    """A token "house" with the keys "ed", "ec" and "other"; a directory for each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "tokens").mkdir()
        self.configuration = directory / "softhsm2.conf"
        self.configuration.write_text(f"directories.tokendir = {directory / 'tokens'}\n")
        self.pin_file = directory / "pin"
        self.pin_file.touch(mode=0o600)
        self.pin_file.write_text(PIN + "\n")
        os.environ["SOFTHSM2_CONF"] = str(self.configuration)
        self.make_token()
        self._make_keys()

    def make_token(self) -> None:
        """One more of this name, empty."""
        import pkcs11

        words = f"softhsm2-util --init-token --free --label house --so-pin 1234 --pin {PIN}"
        subprocess.run(words.split(), check=True, capture_output=True)
        pkcs11.lib(str(MODULE)).reinitialize()  # it looks for tokens once

    def _make_keys(self) -> None:
        import pkcs11

        with (
            pkcs11.lib(str(MODULE))
            .get_token(token_label="house")
            .open(rw=True, user_pin=PIN) as session
        ):
            for name, kind, parameters in (
                ("ed", pkcs11.KeyType.EC_EDWARDS, ED25519),
                ("ec", pkcs11.KeyType.EC, P256),
                ("other", pkcs11.KeyType.EC, P384),
            ):
                domain = session.create_domain_parameters(
                    kind, {pkcs11.Attribute.EC_PARAMS: parameters}, local=True
                )
                domain.generate_keypair(store=True, label=name, id=name.encode())

    def uri(self, path: str, query: str = "") -> str:
        """A URI with this module, and the PIN's file unless `query` says another."""
        return f"pkcs11:{path}?module-path={MODULE}&{query or f'pin-source={self.pin_file}'}"

    def pull_out(self) -> None:
        """All tokens are gone from their slots, as when a key is pulled out of its socket."""
        shutil.rmtree(self.directory / "tokens")
