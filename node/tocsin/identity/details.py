"""This module reads and writes what an organisation says of itself: the `x-tocsin` member of its root metadata.

    {
      "org": "lab-a.example", "name": "Lab A", "kind": "lab", "contact": "mailto:security@lab-a.example",
      "record_keys":   [{"kty": "OKP", "crv": "Ed25519", "x": …, "kid": …, "nbf": …, "exp": …, "status": "active"}],
      "delivery_keys": [ … ],                  keys that sign pages and receipts, in the same form
      "node_certs":    ["<DER, base64url>"],   the TLS leaves of its node; two during a rotation
      "endpoints":     ["lab-a.example:7443"], where its node listens; none for one that only dials
      "log_vkey": "lab-a.example/tocsin+…", "witness_vkey": "lab-a.example/witness+…",
      "former_log_vkeys": [ … ], "former_witness_vkeys": [ … ],    newest first; each only where there are some
      "log_vkey_from": 1790000000, "witness_vkey_from": …          each only where a key was announced before its day
    }

`status` is `active`, `retired` (it signs no more; what it signed in its time
stands) or `revoked`, and then `revoked_at` says since when somebody else may
have signed with it: nothing of it stands but what was logged before. What a
former log or witness key signed stands, without an end, so one that was stolen
is not listed (docs/decisions/0029). `log_vkey_from` is when the log begins to
sign with `log_vkey`; until then it goes on with the first of the former ones.
Who verifies takes all of them at any time: `log_vkeys`.

Members that are not named here are left for newer readers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from tocsin.encoding import JSON, decode_base64url, encode_base64url
from tocsin.errors import MalformedEncoding, MalformedIdentity, MalformedName
from tocsin.identity.certificate import verify_certificate
from tocsin.identity.keys import from_jwk, thumbprint
from tocsin.identity.names import KeyId, OrgId, parse_endpoint, parse_org
from tocsin.identity.vkey import NoteAlgorithm, log_name, parse_vkey, witness_name

KINDS = ("lab", "government", "academia", "civil-society", "vendor")
KEY_STATUSES = ("active", "retired", "revoked")

# Room for rotations over decades; a document that needs more is not one that people can check.
_MAX_KEYS = 64
LATEST = 253_402_300_799  # the last second of the year 9999: a time behind it has no date that people could be shown
_MAX_CERTIFICATES = 8
_MAX_ENDPOINTS = 8
_MAX_NAME = 200
_MAX_CONTACT = 500

_T = TypeVar("_T", str, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordKey:
    """A public Ed25519 key, and when it speaks for its organisation. Times are unix seconds."""

    key_id: KeyId
    public_key: bytes
    status: str
    not_before: int
    not_after: int
    revoked_at: int | None = None

    def is_valid_at(self, moment: int, *, logged_at: int | None = None) -> bool:
        """Return whether a signature made at that moment counts today.

        One under a revoked key does not, since its thief would write any date,
        unless what was signed was in the log before: `logged_at` is when
        witnesses, who are not the thief, said that it was.
        """
        was_first = logged_at is not None and self.revoked_at is not None and logged_at < self.revoked_at
        return (self.status != "revoked" or was_first) and self.not_before <= moment <= self.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What an organisation says of itself; not verified until it is part of an `Organisation`."""

    org: OrgId
    name: str
    kind: str
    record_keys: Mapping[KeyId, RecordKey]
    delivery_keys: Mapping[KeyId, RecordKey]
    node_certs: tuple[bytes, ...]
    endpoints: tuple[str, ...]
    contact: str
    log_vkey: str
    witness_vkey: str
    former_log_vkeys: tuple[str, ...] = ()
    former_witness_vkeys: tuple[str, ...] = ()
    log_vkey_from: int | None = None
    witness_vkey_from: int | None = None

    @property
    def log_vkeys(self) -> tuple[str, ...]:
        """Return every verifier key under which a checkpoint of the log counts, the current one first."""
        return (self.log_vkey, *self.former_log_vkeys)

    @property
    def witness_vkeys(self) -> tuple[str, ...]:
        """Return every verifier key under which a cosignature counts, the current one first."""
        return (self.witness_vkey, *self.former_witness_vkeys)

    def to_member(self) -> dict[str, JSON]:
        """Return the `x-tocsin` member."""
        member: dict[str, JSON] = {
            "org": self.org,
            "name": self.name,
            "kind": self.kind,
            "record_keys": [_key_member(key) for key in self.record_keys.values()],
            "delivery_keys": [_key_member(key) for key in self.delivery_keys.values()],
            "node_certs": [encode_base64url(der) for der in self.node_certs],
            "endpoints": list(self.endpoints),
            "contact": self.contact,
            "log_vkey": self.log_vkey,
            "witness_vkey": self.witness_vkey,
        }
        for name, former in (("log", self.former_log_vkeys), ("witness", self.former_witness_vkeys)):
            member |= {f"former_{name}_vkeys": list(former)} if former else {}
        for name, starts in (("log", self.log_vkey_from), ("witness", self.witness_vkey_from)):
            member |= {} if starts is None else {f"{name}_vkey_from": starts}
        return member

    def signing_keys(self) -> tuple[bytes, ...]:
        """Return every Ed25519 key named here, each as often as it is named."""
        keys = (*self.record_keys.values(), *self.delivery_keys.values())
        return (*(key.public_key for key in keys), *_note_keys(self.org, self.log_vkeys, self.witness_vkeys))


def index_keys(keys: Iterable[RecordKey]) -> Mapping[KeyId, RecordKey]:
    """Return the keys by their ids; raises MalformedIdentity when one stands there twice."""
    listed = tuple(keys)
    by_id = {key.key_id: key for key in listed}
    if len(by_id) != len(listed):
        raise _malformed("a key stands there twice")
    return MappingProxyType(by_id)


def parse_details(member: JSON) -> Details:
    """Read an `x-tocsin` member and admit every key in it.

    Raises MalformedIdentity: BAD_IDENTITY for the form, WEAK_KEY for a key.
    """
    if not isinstance(member, dict):
        raise _malformed("x-tocsin is not an object")
    try:
        org = parse_org(_value(member, "org", str))
        endpoints = tuple(parse_endpoint(text) for text in _texts(member, "endpoints", most=_MAX_ENDPOINTS))
        certificates = tuple(decode_base64url(t) for t in _texts(member, "node_certs", most=_MAX_CERTIFICATES))
    except (MalformedName, MalformedEncoding) as error:
        raise _malformed(error.message) from error
    kind = _value(member, "kind", str)
    if kind not in KINDS:
        raise _malformed(f"kind is none of {', '.join(KINDS)}")
    if not certificates:
        raise _malformed("node_certs is empty")
    for der in certificates:
        verify_certificate(der, org=org)
    log_vkeys, witness_vkeys = _vkeys(member, "log"), _vkeys(member, "witness")
    _note_keys(org, log_vkeys, witness_vkeys)
    return Details(
        org=org,
        name=_line(member, "name", fewest=1, most=_MAX_NAME),
        kind=kind,
        record_keys=_parse_keys(member, "record_keys"),
        delivery_keys=_parse_keys(member, "delivery_keys"),
        node_certs=certificates,
        endpoints=endpoints,
        contact=_line(member, "contact", fewest=0, most=_MAX_CONTACT),
        log_vkey=log_vkeys[0],
        witness_vkey=witness_vkeys[0],
        former_log_vkeys=log_vkeys[1:],
        former_witness_vkeys=witness_vkeys[1:],
        log_vkey_from=_starts(member, "log_vkey_from"),
        witness_vkey_from=_starts(member, "witness_vkey_from"),
    )


def _vkeys(member: Mapping[str, JSON], name: str) -> tuple[str, ...]:
    """Return the verifier keys of a log or witness, the current one first; a list that is there is not empty."""
    current, listed = _value(member, f"{name}_vkey", str), f"former_{name}_vkeys"
    former = _texts(member, listed, most=_MAX_KEYS) if listed in member else None
    if former == ():
        raise _malformed(f"{listed} is empty")
    return (current, *(former or ()))


def _starts(member: Mapping[str, JSON], name: str) -> int | None:
    starts = _value(member, name, int) if name in member else None
    if starts is not None and not 0 <= starts <= LATEST:
        raise _malformed(f"{name} is no time")
    return starts


def _note_keys(org: OrgId, log_vkeys: Iterable[str], witness_vkeys: Iterable[str]) -> tuple[bytes, ...]:
    return (
        *(parse_vkey(text, name=log_name(org), algorithm=NoteAlgorithm.ED25519) for text in log_vkeys),
        *(parse_vkey(text, name=witness_name(org), algorithm=NoteAlgorithm.COSIGNATURE_V1) for text in witness_vkeys),
    )


def _parse_keys(member: Mapping[str, JSON], name: str) -> Mapping[KeyId, RecordKey]:
    listed = member.get(name)
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_KEYS:
        raise _malformed(f"{name} is not a list of 1 to {_MAX_KEYS} keys")
    return index_keys(_parse_key(jwk) for jwk in listed)


def _parse_key(jwk: JSON) -> RecordKey:
    if not isinstance(jwk, dict):
        raise _malformed("a key is not a JWK")
    public = from_jwk(jwk)
    status, revoked_at = _value(jwk, "status", str), jwk.get("revoked_at")
    key = RecordKey(
        key_id=thumbprint(jwk),
        public_key=public.public_bytes_raw(),
        status=status,
        not_before=_value(jwk, "nbf", int),
        not_after=_value(jwk, "exp", int),
        revoked_at=None if revoked_at is None else _value(jwk, "revoked_at", int),
    )
    if jwk.get("kid") != key.key_id:
        raise _malformed("a key's kid is not its thumbprint")
    if status not in KEY_STATUSES or (status == "revoked") != (key.revoked_at is not None):
        raise _malformed(f"a key's status is none of {', '.join(KEY_STATUSES)}, or revoked_at does not go with it")
    if not 0 <= key.not_before < key.not_after:
        raise _malformed("a key's time ends before it begins")
    if key.not_after > LATEST or not 0 <= (key.revoked_at or 0) <= LATEST:
        raise _malformed("a key's time is none that has a date")
    return key


def _key_member(key: RecordKey) -> dict[str, JSON]:
    member: dict[str, JSON] = {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(key.public_key)}
    member |= {"kid": key.key_id, "nbf": key.not_before, "exp": key.not_after, "status": key.status}
    return member if key.revoked_at is None else member | {"revoked_at": key.revoked_at}


def _value(member: Mapping[str, JSON], name: str, kind: type[_T]) -> _T:
    value = member.get(name)
    if type(value) is not kind:  # isinstance would take true for 1
        raise _malformed(f"{name} is missing or not {'a text' if kind is str else 'an integer'}")
    return value


def _line(member: Mapping[str, JSON], name: str, *, fewest: int, most: int) -> str:
    """Return one line of text for people: nothing that moves a cursor, reorders or hides what is shown."""
    text = _value(member, name, str)
    if not fewest <= len(text) <= most or not text.isprintable() or text != text.strip():
        raise _malformed(f"{name} is not one line of {fewest} to {most} printable characters")
    return text


def _texts(member: Mapping[str, JSON], name: str, *, most: int) -> tuple[str, ...]:
    values = member.get(name)
    if not isinstance(values, list) or len(values) > most:
        raise _malformed(f"{name} is not a list of at most {most} texts")
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values) or len(set(texts)) != len(texts):
        raise _malformed(f"{name} holds something that is no text, or one twice")
    return texts


def _malformed(problem: str) -> MalformedIdentity:
    return MalformedIdentity(f"the identity document does not follow its format: {problem}", reason="BAD_IDENTITY")
