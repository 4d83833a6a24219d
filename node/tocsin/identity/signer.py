"""This module signs: a `Signer` holds one private key, wherever that key lives.

A signer never hands out its private key, so that one in a hardware token can
stand where one from a file does.
"""

from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.errors import HomeDamaged
from tocsin.identity.keys import load_private_key, thumbprint, to_jwk
from tocsin.identity.names import KeyId


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


def load_signer(path: Path, *, passphrase: bytes | None = None) -> Signer:
    """Open the signer whose key is in a file.

    Raises KeyExposed and HomeDamaged as `load_private_key` does, HomeDamaged
    for a key of another type.
    """
    key = load_private_key(path, passphrase=passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeDamaged("the key is not an Ed25519 key", where=str(path), hint="restore it from a backup")
    return FileSigner(key)
