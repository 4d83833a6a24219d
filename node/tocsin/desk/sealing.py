"""This module seals a stream of bytes to age keys, and opens it again (age-encryption.org/v1).

Public keys (`age1…`) and secret keys (`AGE-SECRET-KEY-1…`) stand in files as
`age-keygen` writes them: one a line; lines that begin with # say nothing.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyrage  # type: ignore[import-untyped]

from tocsin.desk.layout import PRIVATE_FILE, cause
from tocsin.errors import HomeDamaged, MalformedBackup
from tocsin.identity.keys import sync_folder

MOST_KEY_FILE = 64 * 1024  # bytes of a file of keys


def read_keys(path: Path) -> list[str]:
    """Read a file of keys. Raises MalformedBackup."""
    try:
        with path.open("rb") as file:
            lines = [line.strip() for line in file.read(MOST_KEY_FILE).decode().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedBackup("the file of keys cannot be read", where=str(path)) from error
    return [line for line in lines if line and not line.startswith("#")]


def parse_recipients(texts: Sequence[str]) -> list[Any]:
    """Return whom something is sealed to. Raises MalformedBackup for what is no public key, and for nobody."""
    hint = "make a key with age-keygen on another machine, and name its public key: --to age1…"
    recipients = []
    for text in texts:
        try:
            recipients.append(pyrage.x25519.Recipient.from_str(text))
        except pyrage.RecipientError:
            shown = "a secret key" if text.startswith("AGE-SECRET-KEY-") else repr(text[:80])
            raise MalformedBackup(f"{shown} is no age public key", hint=hint) from None
    if not recipients:
        raise MalformedBackup("a backup that is sealed to nobody could never be opened", hint=hint)
    return recipients


def parse_identities(texts: Sequence[str]) -> list[Any]:
    """Return what something is opened with. Raises MalformedBackup."""
    try:
        identities = [pyrage.x25519.Identity.from_str(text) for text in texts]
    except pyrage.IdentityError:
        identities = []
    if not identities:
        hint = "name the file that age-keygen wrote: its last line is AGE-SECRET-KEY-1…"
        raise MalformedBackup("the file holds no age secret key", hint=hint)
    return identities


def seal(plain: BinaryIO, target: Path, *, recipients: list[Any]) -> None:
    """Seal a stream into a new file, which has its name when it is on the disk and not before. Raises HomeDamaged."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)  # by a process of the same number, long ago
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as sealed:
            pyrage.encrypt_io(plain, sealed, recipients)
            sealed.flush()
            os.fsync(sealed.fileno())
        part.rename(target)
        sync_folder(target.absolute().parent)
    except (OSError, pyrage.EncryptError) as error:
        part.unlink(missing_ok=True)
        what = cause(error) if isinstance(error, OSError) else str(error)
        hint = "name a file in a folder that you may write in, with room for it"
        raise HomeDamaged(f"the backup cannot be written: {what}", where=str(target), hint=hint) from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def unseal(file: Path, plain: BinaryIO, *, identities: list[Any]) -> None:
    """Open a sealed file into a stream. Raises MalformedBackup where it does not open or was changed, HomeDamaged."""
    try:
        with file.open("rb") as sealed:
            pyrage.decrypt_io(sealed, plain, identities)
        plain.seek(0)
    except pyrage.DecryptError as error:
        what = f"it does not open with this key: {str(error).lower()}"
        hint = "try another key file, and see that this is what `tocsin backup` wrote"
        raise MalformedBackup(what, where=str(file), hint=hint) from None
    except OSError as error:
        if error.errno is None:  # age's own word for bytes that were changed
            raise MalformedBackup("the backup was changed, or is cut off", where=str(file)) from None
        raise HomeDamaged(f"the backup cannot be read: {cause(error)}", where=str(file)) from None
