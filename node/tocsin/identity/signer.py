"""This module signs: a `Signer` holds one private key, wherever that key lives.

A signer never hands out its private key, so that one in a token can stand where
one from a file does. A home says that a key is in a token by a file NAME.uri in
the place of NAME.pem, which holds the URI of the key on one line.
"""

import re
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.errors import HomeDamaged
from tocsin.identity.keys import load_owned, load_private_key, thumbprint, to_jwk
from tocsin.identity.names import KeyId
from tocsin.identity.token import TokenSigner
from tocsin.identity.uri import PEM_SUFFIX, URI_SUFFIX, parse_file_uri, parse_token_uri

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):.*", re.DOTALL)  # RFC 3986 section 3.1


class Signer(Protocol):
    """Sign with one Ed25519 key."""

    @property
    def key_id(self) -> KeyId:
        """The RFC 7638 thumbprint of the public key."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature (RFC 8032 section 5.1.6)."""


class FileSigner:
    """Sign with a key held in memory, as read from its file."""

    __slots__ = ("_key", "_key_id", "_public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        public = key.public_key()
        self._key = key
        self._key_id = thumbprint(to_jwk(public))
        self._public_key = public.public_bytes_raw()

    @property
    def key_id(self) -> KeyId:
        """The RFC 7638 thumbprint of the public key."""
        return self._key_id

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature (RFC 8032 section 5.1.6)."""
        return self._key.sign(data)


def open_signer(where: str | Path, *, passphrase: bytes | None = None) -> Signer:
    """Open the signer of a key by its URI, `file:` or `pkcs11:`, or by its path as `load_signer` does.

    The passphrase is for files alone: a URI says itself where its PIN is.

    Raises KeyExposed and HomeDamaged.
    """
    if isinstance(where, str) and _SCHEME.fullmatch(where):
        return _open_uri(where, where=where.partition("?")[0], passphrase=passphrase)
    return load_signer(Path(where), passphrase=passphrase)


def load_signer(path: Path, *, passphrase: bytes | None = None) -> Signer:
    """Open the signer whose key is in NAME.pem, or where NAME.uri beside it says; `path` may be either.

    Raises KeyExposed and HomeDamaged as `load_private_key` and `open_signer`
    do, HomeDamaged for a key of another type and where both files are there.
    """
    uri = path.with_suffix(URI_SUFFIX)
    if path.suffix not in (PEM_SUFFIX, URI_SUFFIX) or (path != uri and not uri.exists()):
        return _load_file(path, passphrase=passphrase)
    if path.with_suffix(PEM_SUFFIX).exists():
        hint = "keep the one that the identity document names, and move the other away"
        message = f"{path.stem}{PEM_SUFFIX} and {path.stem}{URI_SUFFIX} are both there, and only one can be the key"
        raise HomeDamaged(message, where=str(uri), hint=hint)
    return _open_uri(load_owned(uri, "URI of the key"), where=str(uri), passphrase=passphrase)


def _open_uri(text: str, *, where: str, passphrase: bytes | None) -> Signer:
    match = _SCHEME.fullmatch(text)
    scheme = match[1].lower() if match else ""
    if scheme == "file":
        return _load_file(parse_file_uri(text, where=where), passphrase=passphrase)
    if scheme == "pkcs11":
        return TokenSigner(parse_token_uri(text, where=where))
    raise HomeDamaged("keys are not kept in such a place", where=where, hint="name a file: or pkcs11: URI")


def _load_file(path: Path, *, passphrase: bytes | None) -> Signer:
    key = load_private_key(path, passphrase=passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeDamaged("the key is not an Ed25519 key", where=str(path), hint="restore it from a backup")
    return FileSigner(key)
