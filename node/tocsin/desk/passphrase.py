"""This module finds the passphrase of a home's key files, where they have one.

The passphrase lies in a file that node.toml names (`passphrase_file`), on a
disk or a credential store of its own. Its last line end does not belong to it.
"""

from pathlib import Path

from tocsin.config import load_config
from tocsin.desk.layout import FOR_OTHERS, Layout, cause
from tocsin.errors import HomeDamaged, KeyExposed

# The PEM label of PKCS#8 with encryption (RFC 7468 section 11).
ENCRYPTED = b"ENCRYPTED PRIVATE KEY"
MOST_BYTES = 4096
"""More than anybody types; a device or a wrong file is not read to its end."""


def find_passphrase(layout: Layout) -> bytes | None:
    """Return the passphrase of the key files, or None where they have none.

    The settings are read only when they are needed: they cost more than opening
    the whole home.
    """
    path = layout.key("tls")  # the one key that is never in a token
    if path.exists() and ENCRYPTED not in _read(path):
        return None
    named = load_config(layout.root).passphrase_file
    if not named and not path.exists():  # it was lost, and the others have none
        return None
    if not named:
        raise HomeDamaged(
            "the keys have a passphrase, and node.toml does not say where it is",
            where=layout.relative(layout.settings),
            hint='set passphrase_file = "/path/of/the/file"',
        )
    return load_passphrase(layout.root / Path(named).expanduser())


def load_passphrase(path: Path) -> bytes:
    """Read a passphrase from a file that nobody else can read.

    Raises KeyExposed where others can, HomeDamaged where it cannot be read or is empty.
    """
    text = _read(path, hint="bring the file back, or say in node.toml where it is: passphrase_file")
    if path.stat().st_mode & FOR_OTHERS:
        raise KeyExposed("the passphrase can be read by others", where=str(path), hint=f"chmod 600 {path}")
    passphrase = text.rstrip(b"\r\n")
    if not passphrase:
        raise HomeDamaged("the passphrase file is empty", where=str(path), hint="write the passphrase into it")
    return passphrase


def _read(path: Path, *, hint: str = "restore it from a backup") -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise HomeDamaged(f"the file cannot be read: {cause(error)}", where=str(path), hint=hint) from None
