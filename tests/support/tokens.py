"""This module gives tests tokens made of software: SoftHSM, which acts as an HSM and keeps its keys in a folder.

SoftHSM reads its settings once in a process, so there is one folder for all
tests of a process, and all its tokens are made before the first is used.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN, SO_PIN = "mockingbird-4321", "mockingbird-1234"
KEYS = "keys"
TOKENS = (KEYS, "home", "guarded", "twins", "twins")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of this process, and the file that holds their PIN."""

    module: str
    folder: Path

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def uri(self, name: str, *, token: str = KEYS, module: str = "", pin_file: Path | None = None) -> str:
        """Return the URI of the key with this label."""
        how = f"module-path={module or self.module}&pin-source=file:{pin_file or self.pin_file}"
        return f"pkcs11:token={token};object={name}?{how}"

    def add(self, name: str, key: PrivateKeyTypes, *, number: str, token: str = KEYS) -> str:
        """Put a key into a token, and return its URI."""
        pem = self.folder / f"{name}.pem"
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        _run("softhsm2-util", "--import", pem, "--token", token, "--label", name, "--id", number, "--pin", PIN)
        pem.unlink()
        return self.uri(name, token=token)

    def change(self, token: str, work: str, *, pin: str = PIN) -> None:
        """Do something to a token in another process: Python, with the `session` of somebody who may write."""
        opening = f"pkcs11.lib({self.module!r}).get_token(token_label={token!r}).open(rw=True, user_pin={pin!r})"
        script = f"import pkcs11\nfrom pkcs11 import Attribute\nsession = {opening}\n{work}"
        _run(sys.executable, "-c", script, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})

    def remove(self, name: str, *, token: str) -> None:
        """Remove a key and its public half from a token."""
        self.change(token, f"for each in list(session.get_objects({{Attribute.LABEL: {name!r}}})): each.destroy()")

    def interrupt(self) -> None:
        """End every session with a token, as when all of them are pulled out and put back."""
        import pkcs11

        pkcs11.lib(self.module).reinitialize()


def tokens() -> Tokens:
    """Return the tokens, or skip the test and say what is missing."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed: pip install 'tocsin[pkcs11]'")
    module = next((path for path in MODULES if Path(path).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed: apt-get install softhsm2")
    return _make(module)


@functools.cache
def _make(module: str) -> Tokens:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-tokens-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(settings)
    for label in TOKENS:
        _run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN)
    made = Tokens(module, folder)
    made.pin_file.write_text(f"{PIN}\n")
    made.pin_file.chmod(0o600)
    return made


def _run(*command: object, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
