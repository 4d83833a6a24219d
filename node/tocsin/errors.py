"""This module holds every exception that Tocsin raises on purpose.

The tree is also the table of reason codes. Each leaf owns one or more
reasons; a reason belongs to exactly one leaf; `docs/errors.md` and the
`ErrorReason` enum of the contract list the same set (a test compares the
three). Each leaf carries the name of the gRPC status it travels as (empty:
it never leaves this machine) and the exit code of the command.

    TocsinError
    ├── Malformed            wrong bytes, whatever our state         INVALID_ARGUMENT      3
    │   ├── MalformedEncoding   MalformedRecord    MalformedIdentity   MalformedContent
    │   ├── MalformedPolicy     MalformedName      MalformedCursor     MalformedRequest
    │   └── MalformedConfig     MalformedSource
    ├── RecordRefused        a record fails its checks                                     4
    │   ├── WrongAlgorithm   SignatureMismatch   DisclosureMismatch    INVALID_ARGUMENT
    │   └── UntrustedIssuer  RecordExpired       IdentityOutdated      FAILED_PRECONDITION
    ├── AccessDenied         who is calling                                                5
    │   ├── Unauthenticated                                            UNAUTHENTICATED
    │   ├── PeerPending      PeerSuspended                             FAILED_PRECONDITION
    │   └── NotPermitted                                               PERMISSION_DENIED
    ├── StateConflict        what is there, or is not                                      6
    │   ├── NotFound                                                   NOT_FOUND
    │   ├── Conflict                                                   ALREADY_EXISTS
    │   └── StaleCursor                                                OUT_OF_RANGE
    ├── TryLater             limits, and other nodes                                       7
    │   ├── QuotaExceeded                                              RESOURCE_EXHAUSTED
    │   └── PeerUnreachable  PeerRefused         PeerMisbehaved        UNAVAILABLE
    ├── DataLoss             our own data is not what we wrote         DATA_LOSS             8
    │   └── StoreCorrupt
    ├── LocalState           this machine, never on the wire                               9
    │   ├── HomeMissing      HomeExists    HomeDamaged   HomeLocked    KeyExposed
    │   └── PortBusy         NodeNotRunning               IdentityExpired
    └── InternalError        a bug; the detail stays in the log        INTERNAL             70

Programmer mistakes are `TypeError` or `RuntimeError`, never a `TocsinError`.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar


class TocsinError(Exception):
    """Carry what is wrong, where, and what to do next.

    `message` says what is wrong in lower case without a full stop; `where` is
    a place such as `policies/aisi.toml:12`; `hint` says what to do next.
    `details` holds one line for each problem where there are several.
    `metadata` travels with the error over the wire and never holds content.
    """

    status: ClassVar[str] = ""
    exit_code: ClassVar[int] = 70
    reasons: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        where: str = "",
        hint: str = "",
        details: tuple[str, ...] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Take the only reason of the class where none is given.

        Raises TypeError for a reason that the class does not own.
        """
        if not reason and len(self.reasons) == 1:
            (reason,) = self.reasons
        if reason not in self.reasons:
            raise TypeError(f"{type(self).__name__} has no reason {reason!r}")
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.where = where
        self.hint = hint
        self.details = details
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        """Return place and message on one line."""
        return f"{self.where}: {self.message}" if self.where else self.message


class Malformed(TocsinError):
    """The bytes are wrong, whatever our state."""

    status = "INVALID_ARGUMENT"
    exit_code = 3


class MalformedEncoding(Malformed):
    """Text that is not strict base64url or strict JSON."""

    reasons: ClassVar[Mapping[str, str]] = {
        "BAD_ENCODING": "not base64url as RFC 7515 writes it: padding, white space, foreign characters or non-zero trailing bits",
        "BAD_JSON": "not strict JSON: duplicate names, NaN, lone surrogates, invalid UTF-8, numbers out of range or too deep",
    }


class MalformedRecord(Malformed):
    """A token whose form breaks RFC 9901 or our profile of it."""

    reasons: ClassVar[Mapping[str, str]] = {
        "BAD_FORM": "not a compact SD-JWT: parts missing, no trailing tilde, or a key binding where none is expected",
        "BAD_HEADER": "the header has members that it must not have, or lacks one that it must have",
        "BAD_TYP": "the token is of another type",
        "BAD_HASH": "_sd_alg is unknown or stands where it must not",
        "BAD_STRUCTURE": "_sd or ... stands where it must not or holds what it must not",
        "TOO_COMPLEX": "larger, deeper or with more disclosures than the limits allow",
        "MISSING_CLAIM": "a claim that must be plain is missing or hidden",
        "BAD_CLAIM": "a claim does not follow the contract",
    }


class MalformedIdentity(Malformed):
    """An identity document that does not hold together."""

    reasons: ClassVar[Mapping[str, str]] = {
        "BAD_IDENTITY": "the identity document does not follow its format or its chain does not verify",
        "WEAK_KEY": "a public key is of low order, not canonical, or not on the curve",
        "FINGERPRINT_MISMATCH": "the fingerprint is not that of the identity document",
    }


class MalformedContent(Malformed):
    """Content that does not follow the contract; `details` has a line for each problem."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_CONTENT": "the content does not follow the contract of its kind"}


class MalformedPolicy(Malformed):
    """Policy files with problems; `details` has a line for each."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_POLICY": "a policy file does not parse or does not type-check"}


class MalformedName(Malformed):
    """A name that is not of its form."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_NAME": "an organisation id, record id, path or endpoint is not of its form"}


class MalformedCursor(Malformed):
    """A cursor that no node has made."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_CURSOR": "the cursor is not one that a node has made"}


class MalformedRequest(Malformed):
    """A message that does not parse or breaks a rule of its type."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_REQUEST": "the message does not parse or breaks a rule of its type"}


class MalformedConfig(Malformed):
    """A node.toml with problems; `details` has a line for each."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_CONFIG": "a setting in node.toml is unknown or has a wrong value"}


class MalformedSource(Malformed):
    """A foreign file, or a part of it, that cannot be mapped."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_SOURCE": "a file of another format cannot be read or mapped"}


class RecordRefused(TocsinError):
    """A record fails its checks."""

    status = "INVALID_ARGUMENT"
    exit_code = 4


class WrongAlgorithm(RecordRefused):
    """A signature algorithm that the key does not have."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_ALG": "the algorithm is not the one that the key signs with"}


class SignatureMismatch(RecordRefused):
    """A signature that does not verify."""

    reasons: ClassVar[Mapping[str, str]] = {"BAD_SIGNATURE": "the signature does not verify"}


class DisclosureMismatch(RecordRefused):
    """Disclosures that do not fit what was signed."""

    reasons: ClassVar[Mapping[str, str]] = {
        "BAD_DISCLOSURE": "a disclosure is not of its form, is sent twice, or is referenced nowhere",
        "DUP_DIGEST": "a digest occurs more than once",
        "CLAIM_COLLISION": "a disclosed name is reserved or stands there already",
    }


class UntrustedIssuer(RecordRefused):
    """A key that does not speak for the issuer."""

    status = "FAILED_PRECONDITION"
    reasons: ClassVar[Mapping[str, str]] = {
        "KEY_NOT_OF_ISSUER": "the key is not one of the issuer's, or the issuer is not the one expected",
        "KEY_NOT_VALID": "the issuer's key was not valid when the record was signed, or is revoked",
    }


class RecordExpired(RecordRefused):
    """A record outside its time."""

    status = "FAILED_PRECONDITION"
    reasons: ClassVar[Mapping[str, str]] = {"NOT_VALID_NOW": "expired, or not valid yet"}


class IdentityOutdated(RecordRefused):
    """An identity document that has expired or is older than the one held."""

    status = "FAILED_PRECONDITION"
    reasons: ClassVar[Mapping[str, str]] = {
        "IDENTITY_OUTDATED": "the identity document has expired or is older than the one held"
    }


class AccessDenied(TocsinError):
    """The caller may not."""

    exit_code = 5


class Unauthenticated(AccessDenied):
    """Nobody we know is calling."""

    status = "UNAUTHENTICATED"
    reasons: ClassVar[Mapping[str, str]] = {
        "PIN_MISMATCH": "the certificate's key is no known organisation's",
        "BAD_TLS_VERSION": "the connection is not TLS 1.3",
    }


class PeerPending(AccessDenied):
    """A peer whose fingerprint is not confirmed."""

    status = "FAILED_PRECONDITION"
    reasons: ClassVar[Mapping[str, str]] = {"PEER_PENDING": "the peering waits for a confirmed fingerprint"}


class PeerSuspended(AccessDenied):
    """A peer that was suspended."""

    status = "FAILED_PRECONDITION"
    reasons: ClassVar[Mapping[str, str]] = {"PEER_SUSPENDED": "the peering is suspended"}


class NotPermitted(AccessDenied):
    """A known caller that may not do this."""

    status = "PERMISSION_DENIED"
    reasons: ClassVar[Mapping[str, str]] = {"NOT_PERMITTED": "a role or a policy does not allow it"}


class StateConflict(TocsinError):
    """What is there, or is not."""

    exit_code = 6


class NotFound(StateConflict):
    """Absent, or withheld by policy: the same answer, so that existence never leaks."""

    status = "NOT_FOUND"
    reasons: ClassVar[Mapping[str, str]] = {"NOT_FOUND": "there is no such thing, or it is not for the caller"}


class Conflict(StateConflict):
    """The same name for something else."""

    status = "ALREADY_EXISTS"
    reasons: ClassVar[Mapping[str, str]] = {
        "CONFLICT": "the same name stands for something else already",
        "EQUIVOCATION": "the origin signed two different records under one id and version",
    }


class StaleCursor(StateConflict):
    """A resume point that this feed does not have."""

    status = "OUT_OF_RANGE"
    reasons: ClassVar[Mapping[str, str]] = {"STALE_CURSOR": "the cursor is of another feed or from the future"}


class TryLater(TocsinError):
    """A limit was reached, or another node did not do its part."""

    status = "UNAVAILABLE"
    exit_code = 7


class QuotaExceeded(TryLater):
    """The caller's limit."""

    status = "RESOURCE_EXHAUSTED"
    reasons: ClassVar[Mapping[str, str]] = {"QUOTA_EXCEEDED": "more than the accepting side takes in this time"}


class PeerUnreachable(TryLater):
    """No connection to a peer."""

    reasons: ClassVar[Mapping[str, str]] = {"PEER_UNREACHABLE": "no connection to the peer's node"}


class PeerRefused(TryLater):
    """A peer that said no."""

    reasons: ClassVar[Mapping[str, str]] = {"PEER_REFUSED": "the peer's node refused the call"}


class PeerMisbehaved(TryLater):
    """A peer that broke the protocol."""

    reasons: ClassVar[Mapping[str, str]] = {"PEER_MISBEHAVED": "the peer's answer breaks the protocol"}


class DataLoss(TocsinError):
    """Our own data is not what we wrote."""

    status = "DATA_LOSS"
    exit_code = 8


class StoreCorrupt(DataLoss):
    """A store that does not read as it was written."""

    reasons: ClassVar[Mapping[str, str]] = {"STORE_CORRUPT": "the store does not read as it was written"}


class LocalState(TocsinError):
    """The state of this machine; never on the wire."""

    exit_code = 9


class HomeMissing(LocalState):
    """A folder that is no home."""

    reasons: ClassVar[Mapping[str, str]] = {"HOME_MISSING": "the folder is not a home"}


class HomeExists(LocalState):
    """A folder that is a home already, or holds something else."""

    reasons: ClassVar[Mapping[str, str]] = {"HOME_EXISTS": "the folder is a home already, or holds something else"}


class HomeDamaged(LocalState):
    """A home with a part missing or unreadable."""

    reasons: ClassVar[Mapping[str, str]] = {"HOME_DAMAGED": "a part of the home is missing or unreadable"}


class HomeLocked(LocalState):
    """A home that another process holds."""

    reasons: ClassVar[Mapping[str, str]] = {"HOME_LOCKED": "another process holds the home"}


class KeyExposed(LocalState):
    """A key file that others can read."""

    reasons: ClassVar[Mapping[str, str]] = {"KEY_EXPOSED": "a key file can be read by others"}


class PortBusy(LocalState):
    """An address that cannot be listened on."""

    reasons: ClassVar[Mapping[str, str]] = {"PORT_BUSY": "the address cannot be listened on"}


class NodeNotRunning(LocalState):
    """A call that needs a running node."""

    reasons: ClassVar[Mapping[str, str]] = {"NODE_NOT_RUNNING": "no node is running on this home"}


class IdentityExpired(LocalState):
    """Our own identity document has expired."""

    reasons: ClassVar[Mapping[str, str]] = {"IDENTITY_EXPIRED": "the organisation's own identity document has expired"}


class InternalError(TocsinError):
    """A bug; what it was stays in the log."""

    status = "INTERNAL"
    reasons: ClassVar[Mapping[str, str]] = {"INTERNAL": "a bug; the detail is in the node's log"}


def leaves(of: type[TocsinError] = TocsinError) -> Iterator[type[TocsinError]]:
    """Yield every class of the tree that owns reasons."""
    if of.reasons:
        yield of
    for child in of.__subclasses__():
        yield from leaves(child)


def by_reason(reason: str) -> type[TocsinError] | None:
    """Return the class that owns a reason, or None."""
    return next((leaf for leaf in leaves() if reason in leaf.reasons), None)
