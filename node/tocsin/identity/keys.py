"""This module makes key pairs, keeps private keys in files, and reads public keys from JWKs.

A private key is one PEM file of PKCS#8, mode 0600, with a passphrase or
without. A public key is the JWK of RFC 8037 section 2, named by its
RFC 7638 thumbprint:

    {"kty": "OKP", "crv": "Ed25519", "x": "<32 bytes, base64url>"}

Of the pure core only this module touches files, and `token` a PKCS#11 module.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tocsin.encoding import decode_base64url, dump_json, encode_base64url
from tocsin.errors import HomeDamaged, KeyExposed, MalformedEncoding, MalformedIdentity
from tocsin.identity.admission import ED25519_BYTES, verify_public_key
from tocsin.identity.names import KeyId

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_SEED_BYTES = 40

_OWNER_ONLY = 0o600
_OTHERS = 0o077
# A PKCS#8 file of the keys we make has under 600 bytes; nothing larger is read into memory.
_MAX_KEY_FILE = 16 * 1024
MOST_BYTES = 4096
"""More than any PIN or URI has; a device or a wrong file is not read to its end."""

# What else a JWK may say about itself, and must not contradict (RFC 7517 section 4, RFC 9864).
_JWK_USES: Mapping[str, tuple[object, ...]] = {
    "alg": ("Ed25519", "EdDSA"),
    "use": ("sig",),
    "key_ops": (["verify"],),
}


def generate_ed25519(random: Callable[[int], bytes]) -> Ed25519PrivateKey:
    """Make an Ed25519 key from 32 random bytes (RFC 8032 section 5.1.5)."""
    return Ed25519PrivateKey.from_private_bytes(random(ED25519_BYTES))


def generate_p256(random: Callable[[int], bytes]) -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key from 40 random bytes: 64 bits beyond the order, so none is likelier (FIPS 186-5 A.2.1)."""
    secret = int.from_bytes(random(_P256_SEED_BYTES), "big") % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(secret, ec.SECP256R1())


def to_jwk(public: Ed25519PublicKey) -> dict[str, str]:
    """Return the JWK of a public key, with the three members that its thumbprint covers."""
    return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(public.public_bytes_raw())}


def from_jwk(jwk: Mapping[str, object]) -> Ed25519PublicKey:
    """Read a public Ed25519 key and decide whether it may be trusted with anything.

    Members that say nothing about the use of the key are left alone.

    Raises MalformedIdentity: BAD_IDENTITY for the form, WEAK_KEY for the point.
    """
    if "d" in jwk:
        raise MalformedIdentity("a JWK holds a private key where a public one belongs", reason="BAD_IDENTITY")
    if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        raise MalformedIdentity("a JWK's kty and crv are not those of an Ed25519 key", reason="BAD_IDENTITY")
    for member, allowed in _JWK_USES.items():
        if member in jwk and jwk[member] not in allowed:
            raise MalformedIdentity(f"a JWK's {member} is not that of an Ed25519 key", reason="BAD_IDENTITY")
    x = jwk.get("x")
    if not isinstance(x, str):
        raise MalformedIdentity("a JWK has no x", reason="BAD_IDENTITY")
    try:
        raw = decode_base64url(x)
    except MalformedEncoding as error:
        raise MalformedIdentity(f"a JWK's x is {error.message}", reason="BAD_IDENTITY") from error
    verify_public_key(raw)
    return Ed25519PublicKey.from_public_bytes(raw)


def thumbprint(jwk: Mapping[str, object]) -> KeyId:
    """Return the id of an Ed25519 key: RFC 7638 over the members that RFC 8037 section 2 requires, in order."""
    required = {name: jwk[name] for name in ("crv", "kty", "x")}
    return KeyId(encode_base64url(hashlib.sha256(dump_json(required)).digest()))


def save_private_key(path: Path, key: PrivateKey, *, passphrase: bytes | None) -> None:
    """Write a private key so that a crash leaves the old file or the new one, never half of one.

    The file is readable by its owner alone from the moment it exists.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _encryption(passphrase))
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(descriptor)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that a file made or moved in a folder is still there after a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encryption(passphrase: bytes | None) -> KeySerializationEncryption:
    if passphrase is None:
        return NoEncryption()
    # PBES2 with AES-256 and 2,048 rounds of PBKDF2, which the library fixes: enough for the random
    # secret that a passphrase file holds, not for a word that somebody can remember.
    return BestAvailableEncryption(passphrase)


def load_private_key(path: Path, *, passphrase: bytes | None = None) -> PrivateKey:
    """Read a private key that nobody else can read.

    Raises KeyExposed when another user owns the file or may read it, and
    HomeDamaged when it is missing, no key of ours, or the passphrase is wrong.
    """
    pem = _read_owned(path)
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError as error:
        wrong = "needs a passphrase" if passphrase is None else "has no passphrase, but one was given"
        hint = "the keys of a home have one passphrase, or none"
        raise HomeDamaged(f"the key {wrong}", where=str(path), hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = "is not a PKCS#8 key" if passphrase is None else "is not a PKCS#8 key, or the passphrase is wrong"
        raise HomeDamaged(f"the file {wrong}", where=str(path), hint="restore it from a backup") from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise HomeDamaged("the key is neither Ed25519 nor P-256", where=str(path), hint="restore it from a backup")


def load_owned(path: Path, what: str) -> str:
    """Return the text of a file that nobody else can read, without its last line end; `what` is in it.

    Raises KeyExposed when another user owns the file or may read it, and
    HomeDamaged when it cannot be read or is empty.
    """
    data = _read_owned(path, what=what, most=MOST_BYTES, hint="bring the file back")
    try:
        text = data.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) == MOST_BYTES:
        hint = f"write the {what} into it"
        raise HomeDamaged(f"the file does not hold the {what}", where=str(path), hint=hint)
    return text


def _read_owned(
    path: Path, *, what: str = "key", most: int = _MAX_KEY_FILE, hint: str = "restore it from a backup"
) -> bytes:
    """Read a file, with its mode and owner taken from the open file so that it cannot be swapped in between."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _verify_private(path, status, what=what)
            return file.read(most)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise HomeDamaged(f"the {what} cannot be read: {reason}", where=str(path), hint=hint) from error


def _verify_private(path: Path, status: os.stat_result, *, what: str) -> None:
    if status.st_uid != os.geteuid():
        hint = f"run as the owner, or: chown {os.geteuid()} {path}"
        raise KeyExposed(f"the {what} belongs to another user (uid {status.st_uid})", where=str(path), hint=hint)
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        message = f"the {what} can be read by others (mode {mode:04o})"
        raise KeyExposed(message, where=str(path), hint=f"chmod 600 {path}")
