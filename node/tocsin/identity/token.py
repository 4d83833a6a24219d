"""This module signs with an Ed25519 key that stays in its token: a smart card, an HSM, or software that acts as one.

A token is reached through a PKCS#11 module, a library of its maker that runs
inside our process. Three things follow from how PKCS#11 works (version 3.0,
sections 5.4 to 5.6), and decide how this is built:

- python-pkcs11 tells a module that one thread at a time will call it, so that
  one lock is held over every call.
- Who has logged in is known for the whole process, and a second login is an
  error. All keys of a token share one session, and it is never closed while it
  works.
- A token that is given a wrong PIN a few times locks itself. A PIN that was
  refused is not offered again by this process.

Where a call fails, session and key are opened anew and the call is made once
more: a token may have been pulled out, or its server started again. Where it is
the module that failed, it is initialised anew, which ends all its sessions.

python-pkcs11 is an extra (`tocsin[pkcs11]`), and this is the only module that
knows it.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tocsin.errors import HomeDamaged, MalformedIdentity
from tocsin.identity.admission import ED25519_BYTES, verify_public_key
from tocsin.identity.keys import load_owned, thumbprint, to_jwk
from tocsin.identity.names import KeyId
from tocsin.identity.uri import TOKEN_ATTRIBUTES, TokenUri

_log = logging.getLogger(__name__)

# How CKA_EC_PARAMS says Ed25519: the OID of RFC 8410, or the PrintableString "edwards25519" of PKCS#11.
_ED25519 = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")
# How CKA_EC_POINT holds the 32 bytes: bare, or as an OCTET STRING.
_POINT_PREFIXES = (b"", bytes.fromhex("0420"))
# Signed when a key is opened, to see that it can sign and goes with its public key; nothing else begins like this.
_PROBE = b"tocsin/token-probe/v1\n"

_MEANINGS = {
    "PinLocked": ("the token is locked after too many wrong PINs", "unlock it as its security officer"),
    "UserPinNotInitialized": ("the token has no PIN yet", "set one with the tool of its maker"),
    "TokenNotPresent": ("the token is not there", "plug it in"),
    "DeviceRemoved": ("the token is not there", "plug it in"),
    "MechanismInvalid": ("the token cannot sign with Ed25519 (CKM_EDDSA)", "use another token, or a key in a file"),
}
_WRONG_PIN = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange"})

# After these a module may know nothing of its tokens until it is initialised again.
_MODULE_FAILS = frozenset({"GeneralError", "FunctionFailed", "DeviceError", "DeviceMemory"})

_lock = RLock()
_open: "dict[tuple[str, bytes], _Session]" = {}
_refused: set[tuple[str, bytes, bytes]] = set()


class _Session:
    """The session of this process with one token, until it ends."""

    __slots__ = ("address", "ended", "pin_digest", "session")

    def __init__(self, session: Any, *, address: tuple[str, bytes], pin_digest: bytes) -> None:  # noqa: ANN401
        self.session = session
        self.address = address
        self.pin_digest = pin_digest
        self.ended = False

    def is_alive(self) -> bool:
        """Say whether the token still knows it: asked by the one call that leaves nothing behind where it fails."""
        library = _library()
        try:
            self.session.generate_random(8)
        except (library.RandomNoRNG, library.FunctionNotSupported):
            return True
        except library.PKCS11Error:
            return False
        return True

    def end(self) -> None:
        """Close it, unless that was done; whoever needs one opens another."""
        if self.ended:
            return
        self.ended = True
        _open.pop(self.address, None)
        with suppress(_library().PKCS11Error):
            self.session.close()


class TokenSigner:
    """Sign with a key in a token. Threads may share it; they take turns."""

    __slots__ = ("_key", "_key_id", "_public_key", "_session", "_uri")

    def __init__(self, uri: TokenUri) -> None:
        """Open the key and try it. Raises HomeDamaged and KeyExposed."""
        self._uri = uri
        self._session: _Session | None = None
        self._key: Any = None
        self._public_key = b""
        probe = self.sign(_PROBE)
        public = Ed25519PublicKey.from_public_bytes(self._public_key)
        try:
            public.verify(probe, _PROBE)
        except InvalidSignature:
            hint = "give the two halves of the pair one id of their own in the token"
            raise _damaged(uri, "the private and the public key do not belong together", hint) from None
        self._key_id = thumbprint(to_jwk(public))

    @property
    def key_id(self) -> KeyId:
        """The RFC 7638 thumbprint of the public key."""
        return self._key_id

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature (RFC 8032 section 5.1.6).

        Raises HomeDamaged where the token does not sign, also after it was
        opened anew; KeyExposed where others can read the PIN by then.
        """
        with _lock:
            library = _library(self._uri.shown)
            with _explained(self._uri):
                try:
                    return self._sign(data)
                except library.PKCS11Error as error:
                    problem = type(error).__name__
                    _log.warning("%s: %s, opening the token again", self._uri.shown, problem)
                    if self._session is not None:
                        self._session.end()
                    if problem in _MODULE_FAILS:
                        _restart(self._uri.module)
                    return self._sign(data)

    def _sign(self, data: bytes) -> bytes:
        if self._session is None or self._session.ended or self._key is None:
            self._key = None
            self._session = _session_of(self._uri)
            self._find_key(self._session.session)
        return bytes(self._key.sign(data, mechanism=_library().Mechanism.EDDSA))

    def _find_key(self, session: Any) -> None:  # noqa: ANN401
        """Find the key in a session, which must be the same key each time."""
        key = _find_private(session, self._uri)
        public_key = _find_public(session, key, self._uri)
        if self._public_key not in (b"", public_key):
            hint = "bring the key back, or start the node again with an identity document that names the new one"
            raise _damaged(self._uri, "the token holds another key than before", hint)
        self._key, self._public_key = key, public_key


def _library(where: str = "") -> Any:  # noqa: ANN401
    """Return python-pkcs11. Raises HomeDamaged where it is not installed."""
    try:
        import pkcs11
    except ImportError:
        message, hint = "a key is in a token, and python-pkcs11 is not installed", "pip install 'tocsin[pkcs11]'"
        raise HomeDamaged(message, where=where, hint=hint) from None
    return pkcs11


def _restart(module: Path) -> None:
    for each in [session for session in _open.values() if session.address[0] == str(module)]:
        each.end()
    library = _library()
    with suppress(library.PKCS11Error):  # what does not start is told when its token is looked for
        library.lib(str(module)).reinitialize()


def _session_of(uri: TokenUri) -> _Session:
    """Return the session with the token of a key, opened where there is none."""
    pin = load_owned(uri.pin_file, "PIN")
    digest = hashlib.sha256(pin.encode()).digest()
    token = _find_token(uri)
    address = (str(uri.module), bytes(token.serial))
    held = _open.get(address)
    if held is not None and not held.is_alive():
        held.end()
        held = None
    if held is None:
        _open[address] = held = _Session(_login(token, pin, uri, address), address=address, pin_digest=digest)
    elif held.pin_digest != digest:
        hint = "correct the file; if the PIN of the token was changed, stop the node and start it again"
        raise HomeDamaged("the PIN is another one than the token was opened with", where=str(uri.pin_file), hint=hint)
    return held


def _login(token: Any, pin: str, uri: TokenUri, address: tuple[str, bytes]) -> Any:  # noqa: ANN401
    """Open a session as the user of the token, with a PIN that it has not refused yet."""
    attempt = (*address, hashlib.sha256(pin.encode()).digest())
    try:
        if attempt not in _refused:
            return token.open(user_pin=pin)
    except _library().PKCS11Error as error:
        if type(error).__name__ not in _WRONG_PIN:
            raise
        _refused.add(attempt)
    hint = "correct the file; it is tried once only, since a token locks itself after a few wrong PINs"
    raise HomeDamaged(f"the token refuses the PIN: {uri.shown}", where=str(uri.pin_file), hint=hint) from None


def _find_token(uri: TokenUri) -> Any:  # noqa: ANN401
    if not uri.module.is_file():
        hint = "install it, or correct module-path in the URI"
        raise _damaged(uri, f"there is no PKCS#11 module at {uri.module}", hint)
    library = _library()
    try:
        module = library.lib(str(uri.module))
    except library.PKCS11Error:
        hint = "correct module-path in the URI; a module has settings of its own, see what its maker says"
        raise _damaged(uri, f"the PKCS#11 module {uri.module} does not start", hint) from None
    found = []
    for slot in module.get_slots(token_present=True):
        with suppress(library.TokenNotPresent, library.TokenNotRecognised):
            token = slot.get_token()
            names = (token.label, bytes(token.serial).decode("latin-1"), token.model, token.manufacturer_id)
            said = dict(zip(TOKEN_ATTRIBUTES, names, strict=True))
            if all(said[name] == value for name, value in uri.token.items()):
                found.append(token)
    if len(found) == 1:
        return found[0]
    if found:
        raise _damaged(uri, f"{len(found)} tokens are called like this", "add serial=… to the URI")
    raise _damaged(uri, "the token is not there", "plug it in, or correct the URI; pkcs11-tool -L lists what is there")


def _find_private(session: Any, uri: TokenUri) -> Any:  # noqa: ANN401
    library = _library()
    wanted = {library.Attribute.CLASS: library.ObjectClass.PRIVATE_KEY}
    wanted |= {} if uri.label is None else {library.Attribute.LABEL: uri.label}
    wanted |= {} if uri.object_id is None else {library.Attribute.ID: uri.object_id}
    found = list(session.get_objects(wanted))
    if not found:
        hint = "correct the URI, or bring the key back; pkcs11-tool -l -O lists what is there"
        raise _damaged(uri, "the token has no such key", hint)
    if len(found) > 1:
        raise _damaged(uri, f"the token has {len(found)} keys that are called like this", "add id=… to the URI")
    key = found[0]
    if key[library.Attribute.KEY_TYPE] != library.KeyType.EC_EDWARDS or not _is_ed25519(key):
        raise _damaged(uri, "the key is not an Ed25519 key", "name another one in the URI")
    return key


def _is_ed25519(key: Any) -> bool:  # noqa: ANN401
    return bytes(key[_library().Attribute.EC_PARAMS]) in _ED25519


def _find_public(session: Any, private: Any, uri: TokenUri) -> bytes:  # noqa: ANN401
    """Return the public key that lies beside a private one, under the same id."""
    library = _library()
    attribute = library.Attribute
    wanted = {attribute.CLASS: library.ObjectClass.PUBLIC_KEY, attribute.KEY_TYPE: library.KeyType.EC_EDWARDS}
    found = list(session.get_objects(wanted | {attribute.ID: private[attribute.ID]}))
    if len(found) != 1:
        hint = "make or import both halves of the pair under one id of their own"
        raise _damaged(uri, f"the token has {len(found)} public keys for this key instead of one", hint)
    point = bytes(found[0][attribute.EC_POINT])
    public_key = point[-ED25519_BYTES:]
    if point.removesuffix(public_key) not in _POINT_PREFIXES or not _is_ed25519(found[0]):
        raise _damaged(uri, "the public key is not an Ed25519 key", "name another pair in the URI")
    try:
        verify_public_key(public_key)
    except MalformedIdentity as error:
        raise _damaged(uri, error.message, "name another pair in the URI") from error
    return public_key


@contextmanager
def _explained(uri: TokenUri) -> Iterator[None]:
    """Say in words what a token or its module refuses."""
    try:
        yield
    except _library().PKCS11Error as error:
        name = type(error).__name__
        unknown = (f"the token or its module fails: {name}", "see that the token is there, then try again")
        raise _damaged(uri, *_MEANINGS.get(name, unknown)) from None


def _damaged(uri: TokenUri, problem: str, hint: str) -> HomeDamaged:
    return HomeDamaged(problem, where=uri.shown, hint=hint)
