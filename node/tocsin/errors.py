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
    │   └── MalformedConfig     MalformedSource    MalformedBackup     MalformedLog
    ├── RecordRefused        a record fails its checks                                     4
    │   ├── WrongAlgorithm   SignatureMismatch   DisclosureMismatch    INVALID_ARGUMENT   also ProofMismatch
    │   ├── CheckpointRefused    RecordQuarantined                     FAILED_PRECONDITION
    │   └── UntrustedIssuer  RecordExpired  IdentityOutdated  ReceiptRefused   FAILED_PRECONDITION
    ├── AccessDenied         who is calling                                                5
    │   ├── Unauthenticated                                            UNAUTHENTICATED
    │   ├── PeerPending      PeerSuspended                             FAILED_PRECONDITION
    │   ├── ReleaseBlocked   OriginStopped                             FAILED_PRECONDITION
    │   └── NotPermitted                                               PERMISSION_DENIED
    ├── StateConflict        what is there, or is not                                      6
    │   ├── NotFound                                                   NOT_FOUND
    │   ├── Conflict                                                   ALREADY_EXISTS
    │   ├── StaleCursor                                                OUT_OF_RANGE
    │   └── StaleCheckpoint                                            ABORTED
    ├── TryLater             limits, and other nodes                                       7
    │   ├── QuotaExceeded                                              RESOURCE_EXHAUSTED
    │   ├── Overloaded                                                 UNAVAILABLE
    │   └── PeerUnreachable  PeerRefused         PeerMisbehaved        UNAVAILABLE
    ├── DataLoss             our own data is not what we wrote         DATA_LOSS             8
    │   └── StoreCorrupt     AuditInconsistent   LogInconsistent
    ├── LocalState           this machine, never on the wire                               9
    │   ├── HomeMissing      HomeExists    HomeDamaged   HomeLocked    KeyExposed
    │   ├── ProfileMissing   ProfileExists
    │   └── PortBusy         NodeNotRunning               IdentityExpired
    └── InternalError        a bug; the detail stays in the log        INTERNAL             70

Programmer mistakes are `TypeError` or `RuntimeError`, never a `TocsinError`.
"""

from tocsin.failure import TocsinError as TocsinError
from tocsin.failure import by_reason as by_reason
from tocsin.failure import leaves as leaves


class Malformed(TocsinError, status="INVALID_ARGUMENT", exit_code=3):
    """The bytes are wrong, whatever our state."""


class MalformedEncoding(
    Malformed,
    reasons={
        "BAD_ENCODING": "not base64url as RFC 7515 writes it: padding, white space or non-zero trailing bits",
        "BAD_JSON": "not strict JSON: duplicate names, NaN, invalid UTF-8, numbers out of range, too deep",
    },
):
    """Text that is not strict base64url or strict JSON."""


class MalformedRecord(
    Malformed,
    reasons={
        "BAD_FORM": "not a compact SD-JWT: parts missing, no trailing tilde, or a key binding where none is expected",
        "BAD_HEADER": "the header has members that it must not have, or lacks one that it must have",
        "BAD_TYP": "the token is of another type",
        "BAD_HASH": "_sd_alg is unknown or stands where it must not",
        "BAD_STRUCTURE": "_sd or ... stands where it must not or holds what it must not",
        "TOO_COMPLEX": "larger, deeper or with more disclosures than the limits allow",
        "MISSING_CLAIM": "a claim that must be plain is missing or hidden",
        "BAD_CLAIM": "a claim does not follow the contract",
    },
):
    """A token whose form breaks RFC 9901 or our profile of it."""


class MalformedIdentity(
    Malformed,
    reasons={
        "BAD_IDENTITY": "the identity document does not follow its format or its chain does not verify",
        "WEAK_KEY": "a public key is of low order, not canonical, or not on the curve",
        "FINGERPRINT_MISMATCH": "the fingerprint is not that of the identity document",
    },
):
    """An identity document that does not hold together."""


class MalformedContent(Malformed, reasons={"BAD_CONTENT": "the content does not follow the contract of its kind"}):
    """Content that does not follow the contract; `details` has a line for each problem."""


class MalformedPolicy(Malformed, reasons={"BAD_POLICY": "a policy file does not parse or does not type-check"}):
    """Policy files with problems; `details` has a line for each."""


class MalformedName(
    Malformed, reasons={"BAD_NAME": "an organisation id, record id, path or endpoint is not of its form"}
):
    """A name that is not of its form."""


class MalformedCursor(Malformed, reasons={"BAD_CURSOR": "the cursor is not one that a node has made"}):
    """A cursor that no node has made."""


class MalformedRequest(Malformed, reasons={"BAD_REQUEST": "the message does not parse or breaks a rule of its type"}):
    """A message that does not parse or breaks a rule of its type."""


class MalformedConfig(Malformed, reasons={"BAD_CONFIG": "a setting in node.toml is unknown or has a wrong value"}):
    """A node.toml with problems; `details` has a line for each."""


class MalformedSource(Malformed, reasons={"BAD_SOURCE": "a file of another format cannot be read or mapped"}):
    """A foreign file, or a part of it, that cannot be mapped."""


class MalformedBackup(Malformed, reasons={"BAD_BACKUP": "the file is not a backup, or cannot be opened with this key"}):
    """A file that is not a backup, or not one for this key."""


class MalformedLog(
    Malformed,
    reasons={
        "BAD_NOTE": "the text is not a signed note",
        "BAD_CHECKPOINT": "the note is not a checkpoint, or is one of another log",
        "BAD_PROOF": "the proof is not of its form, or does not go with its sizes",
        "BAD_ENTRY": "an entry or a tile of a log is not of its form",
        "BAD_LOG_POLICY": "the file that says which witnesses count does not follow its format",
        "BAD_EVIDENCE": "the bundle of evidence does not follow its format",
    },
):
    """Text about a transparency log that does not follow its C2SP document."""


class RecordRefused(TocsinError, status="INVALID_ARGUMENT", exit_code=4):
    """A record fails its checks."""


class WrongAlgorithm(RecordRefused, reasons={"BAD_ALG": "the algorithm is not the one that the key signs with"}):
    """A signature algorithm that the key does not have."""


class SignatureMismatch(RecordRefused, reasons={"BAD_SIGNATURE": "the signature does not verify"}):
    """A signature that does not verify."""


class DisclosureMismatch(
    RecordRefused,
    reasons={
        "BAD_DISCLOSURE": "a disclosure is not of its form, is sent twice, or is referenced nowhere",
        "DUP_DIGEST": "a digest occurs more than once",
        "CLAIM_COLLISION": "a disclosed name is reserved or stands there already",
    },
):
    """Disclosures that do not fit what was signed."""


class ProofMismatch(
    RecordRefused,
    reasons={
        "NOT_INCLUDED": "the proof does not lead from the entry to the root of the checkpoint",
        "NOT_CONSISTENT": "the proof does not show that the newer tree begins with the older one",
    },
):
    """A proof whose hashes do not lead to the signed root."""


class CheckpointRefused(
    RecordRefused,
    status="FAILED_PRECONDITION",
    reasons={
        "UNSIGNED_CHECKPOINT": "no signature of the log itself verifies",
        "NO_QUORUM": "fewer witnesses have cosigned than the policy asks for",
        "FUTURE_COSIGNATURE": "a cosignature is from the future",
    },
):
    """A checkpoint that not enough stand behind."""


class UntrustedIssuer(
    RecordRefused,
    status="FAILED_PRECONDITION",
    reasons={
        "KEY_NOT_OF_ISSUER": "the key is not one of the issuer's, or the issuer is not the one expected",
        "KEY_NOT_VALID": "the issuer's key was not valid when the record was signed, or is revoked",
    },
):
    """A key that does not speak for the issuer."""


class RecordQuarantined(
    RecordRefused,
    status="FAILED_PRECONDITION",
    reasons={"QUARANTINED": "the key is revoked, and nothing shows that the record was logged before"},
):
    """A record of a revoked key that a thief may have signed."""


class RecordExpired(
    RecordRefused, status="FAILED_PRECONDITION", reasons={"NOT_VALID_NOW": "expired, or not valid yet"}
):
    """A record outside its time."""


class IdentityOutdated(
    RecordRefused,
    status="FAILED_PRECONDITION",
    reasons={"IDENTITY_OUTDATED": "the identity document has expired or is older than the one held"},
):
    """An identity document that has expired or is older than the one held."""


class ReceiptRefused(
    RecordRefused,
    status="FAILED_PRECONDITION",
    reasons={
        "BAD_RECEIPT": "the receipt is not of its form, or its signature does not verify",
        "BAD_CHAIN": "the receipt does not follow the last one that is held",
        "NEVER_SENT": "the receipt is for a page that was never sent",
    },
):
    """A receipt that says nothing about what was sent here."""


class AccessDenied(TocsinError, exit_code=5):
    """The caller may not."""


class Unauthenticated(
    AccessDenied,
    status="UNAUTHENTICATED",
    reasons={
        "PIN_MISMATCH": "the certificate's key is no known organisation's",
        "BAD_TLS_VERSION": "the connection is not TLS 1.3",
        "PERSON_UNKNOWN": "the certificate's key is no person's of this organisation",
    },
):
    """Nobody we know is calling."""


class PeerPending(
    AccessDenied,
    status="FAILED_PRECONDITION",
    reasons={"PEER_PENDING": "the peering waits for a confirmed fingerprint"},
):
    """A peer whose fingerprint is not confirmed."""


class PeerSuspended(AccessDenied, status="FAILED_PRECONDITION", reasons={"PEER_SUSPENDED": "the peering is suspended"}):
    """A peer that was suspended."""


class OriginStopped(
    AccessDenied,
    status="FAILED_PRECONDITION",
    reasons={"ORIGIN_STOPPED": "the origin's log shows two histories, or waits to be read again: people decide"},
):
    """An origin of which nothing is taken, or we ourselves, who issue nothing, until people have looked at its log."""


class ReleaseBlocked(
    AccessDenied,
    status="FAILED_PRECONDITION",
    reasons={"LINT_BLOCKED": "the content holds what should not go that far, and nobody has overridden it by name"},
):
    """Content that the linter does not let go this far; `details` has a line for each finding."""


class NotPermitted(
    AccessDenied, status="PERMISSION_DENIED", reasons={"NOT_PERMITTED": "a role or a policy does not allow it"}
):
    """A known caller that may not do this."""


class StateConflict(TocsinError, exit_code=6):
    """What is there, or is not."""


class NotFound(
    StateConflict, status="NOT_FOUND", reasons={"NOT_FOUND": "there is no such thing, or it is not for the caller"}
):
    """Absent, or withheld by policy: the same answer, so that existence never leaks."""


class Conflict(
    StateConflict,
    status="ALREADY_EXISTS",
    reasons={
        "CONFLICT": "the same name stands for something else already",
        "EQUIVOCATION": "the origin signed two different records under one id and version",
        "RETRACTED": "the record was retracted, and stays so",
    },
):
    """The same name for something else."""


class StaleCursor(
    StateConflict, status="OUT_OF_RANGE", reasons={"STALE_CURSOR": "the cursor is of another feed or from the future"}
):
    """A resume point that this feed does not have."""


class StaleCheckpoint(
    StateConflict,
    status="ABORTED",
    reasons={"STALE_CHECKPOINT": "the proof begins at another size than the one that was cosigned last"},
):
    """A consistency proof from a size that is not the last one; metadata has the size that is."""


class TryLater(TocsinError, status="UNAVAILABLE", exit_code=7):
    """A limit was reached, or another node did not do its part."""


class QuotaExceeded(
    TryLater, status="RESOURCE_EXHAUSTED", reasons={"QUOTA_EXCEEDED": "more than the accepting side takes in this time"}
):
    """The caller's limit."""


class Overloaded(TryLater, reasons={"NO_SPACE": "the node's disk is full", "DISK_FAILED": "the node's disk fails"}):
    """Our own limit: nothing was changed, and the same call works when there is room again."""


class PeerUnreachable(TryLater, reasons={"PEER_UNREACHABLE": "no connection to the peer's node"}):
    """No connection to a peer."""


class PeerRefused(TryLater, reasons={"PEER_REFUSED": "the peer's node refused the call"}):
    """A peer that said no."""


class PeerMisbehaved(TryLater, reasons={"PEER_MISBEHAVED": "the peer's answer breaks the protocol"}):
    """A peer that broke the protocol."""


class DataLoss(TocsinError, status="DATA_LOSS", exit_code=8):
    """Our own data is not what we wrote."""


class StoreCorrupt(DataLoss, reasons={"STORE_CORRUPT": "the store does not read as it was written"}):
    """A store that does not read as it was written."""


class AuditInconsistent(DataLoss, reasons={"AUDIT_INCONSISTENT": "the decision log is not the one that was written"}):
    """A decision log whose chain or seals do not hold."""


class LogInconsistent(DataLoss, reasons={"LOG_INCONSISTENT": "the transparency log is not the one that was signed"}):
    """A log of ours whose tree does not lead to what was signed."""


class LocalState(TocsinError, exit_code=9):
    """The state of this machine; never on the wire."""


class HomeMissing(LocalState, reasons={"HOME_MISSING": "the folder is not a home"}):
    """A folder that is no home."""


class HomeExists(LocalState, reasons={"HOME_EXISTS": "the folder is a home already, or holds something else"}):
    """A folder that is a home already, or holds something else."""


class HomeDamaged(LocalState, reasons={"HOME_DAMAGED": "a part of the home is missing or unreadable"}):
    """A home with a part missing or unreadable."""


class HomeLocked(LocalState, reasons={"HOME_LOCKED": "another process holds the home"}):
    """A home that another process holds."""


class KeyExposed(LocalState, reasons={"KEY_EXPOSED": "a key file can be read by others"}):
    """A key file that others can read."""


class ProfileMissing(LocalState, reasons={"PROFILE_MISSING": "nobody on this machine has a profile for the home"}):
    """A home that nobody here may ask anything of."""


class ProfileExists(LocalState, reasons={"PROFILE_EXISTS": "a profile stands there already"}):
    """A profile that would be overwritten."""


class PortBusy(LocalState, reasons={"PORT_BUSY": "the address cannot be listened on"}):
    """An address that cannot be listened on."""


class NodeNotRunning(LocalState, reasons={"NODE_NOT_RUNNING": "no node is running on this home"}):
    """A call that needs a running node."""


class IdentityExpired(LocalState, reasons={"IDENTITY_EXPIRED": "the organisation's own identity document has expired"}):
    """Our own identity document has expired."""


class InternalError(TocsinError, status="INTERNAL", reasons={"INTERNAL": "a bug; the detail is in the node's log"}):
    """A bug; what it was stays in the log."""
