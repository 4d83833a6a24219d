"""This module knows where everything lies in a home, and who may read it.

HOME/                        0700   everything an organisation's node owns
  node.toml                         settings
  keys/                      0700   PKCS#8, one key a file, each 0600
    root-1.pem …                    sign identity documents; belong offline
    record.pem                      signs records, nothing else
    delivery.pem                    signs pages
    tls.pem                         the key of the node's certificate
    log.pem, witness.pem            named in the identity document for the transparency log
    NAME.uri                        in the place of NAME.pem, but for tls: where the key is, in a token
  identity/document.tocsin          the organisation's identity: the chain of its root documents
  policies/floor.toml               what never leaves, whoever asks: the working copy that people edit
  policies/PARTNER.toml             what one partner gets
  policies/witnesses.tlog           whose cosignatures make a checkpoint good; need not be there
  names.txt                         names that the linter looks for, one a line; need not be there
  tocsin.db                         the store
  run/                       0700   the desk socket, while a node runs
  lock                              held by the one process that uses the home
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tocsin.identity.uri import PEM_SUFFIX, URI_SUFFIX

KEY_NAMES = ("record", "delivery", "tls", "log", "witness")
"""Keys of the node; each has its own file, so that stealing one does not give another."""

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
FOR_OTHERS = 0o077
"""Mode bits that let anybody but the owner in."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one home."""

    root: Path

    @property
    def settings(self) -> Path:
        """Return the path of node.toml."""
        return self.root / "node.toml"

    @property
    def keys(self) -> Path:
        """Return the folder of the key files."""
        return self.root / "keys"

    @property
    def document(self) -> Path:
        """Return the path of the identity document."""
        return self.root / "identity" / "document.tocsin"

    @property
    def policies(self) -> Path:
        """Return the folder of the policy files."""
        return self.root / "policies"

    @property
    def witnesses(self) -> Path:
        """Return the path of the file that says which witnesses count; it need not be there."""
        return self.policies / "witnesses.tlog"

    @property
    def names(self) -> Path:
        """Return the path of the names that must not go far; it need not be there."""
        return self.root / "names.txt"

    @property
    def store(self) -> Path:
        """Return the path of the store."""
        return self.root / "tocsin.db"

    @property
    def run(self) -> Path:
        """Return the folder of the desk socket."""
        return self.root / "run"

    @property
    def lock(self) -> Path:
        """Return the path of the lock file."""
        return self.root / "lock"

    def key(self, name: str) -> Path:
        """Return the path of a key file."""
        return self.keys / f"{name}.pem"

    def key_file(self, name: str) -> Path:
        """Return the file that a key is in, or the one that says where it is instead."""
        uri = self.key(name).with_suffix(URI_SUFFIX)
        return uri if uri.is_file() else self.key(name)

    def key_files(self) -> tuple[Path, ...]:
        """Return every file of the folder that is a key, or says where one is."""
        return tuple(sorted(path for path in self.keys.glob("*") if path.suffix in (PEM_SUFFIX, URI_SUFFIX)))

    def root_key(self, number: int) -> Path:
        """Return the path of the root key with this number, from 1."""
        return self.key(f"root-{number}")

    def root_keys_here(self) -> tuple[Path, ...]:
        """Return the root keys that nobody has moved offline yet."""
        return tuple(path for path in self.key_files() if path.name.startswith("root-"))

    def policy(self, partner: str) -> Path:
        """Return the path of the policy file for a partner."""
        return self.policies / f"{partner}.toml"

    def relative(self, path: Path) -> str:
        """Return a path as people read it: relative to the home."""
        return path.relative_to(self.root).as_posix()

    def folders(self) -> tuple[Path, ...]:
        """Return the folders that every home has."""
        return (self.keys, self.document.parent, self.policies, self.run)

    def missing(self) -> Iterator[Path]:
        """Yield each part without which a home cannot be opened and that is not there.

        A key that waits may be on its way to the place of the one that is not there: opening the home settles it.
        """
        waiting = {self.key(name) for name in KEY_NAMES if self.key(f"{name}.next").is_file()}
        files = (self.settings, self.document, *(self.key_file(name) for name in KEY_NAMES), self.store)
        yield from (folder for folder in self.folders()[:-1] if not folder.is_dir())
        yield from (file for file in files if not file.is_file() and file not in waiting)


def cause(error: OSError) -> str:
    """Return what the system says went wrong, as a part of a sentence."""
    return (error.strerror or "unknown error").lower()
