"""This module reads what shows who a node is: the identity document of its home, and the keys that the document names.

They are read together and hold together: a key that the document does not name
for today is refused, since no peer would believe what it signs. When they are
others than before, the decision log says so, under the new delivery key.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tocsin.audit.entry import Entry, Event
from tocsin.audit.log import Log
from tocsin.desk.layout import Layout, cause
from tocsin.desk.passphrase import find_passphrase
from tocsin.encoding import JSON, parse_json
from tocsin.errors import HomeDamaged, IdentityExpired, MalformedEncoding, MalformedIdentity
from tocsin.identity.certificate import TlsKeys, certificate_pem, key_pin, spki_pin
from tocsin.identity.keys import load_private_key
from tocsin.identity.root import Organisation, parse_identity
from tocsin.identity.signer import Signer, load_signer
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name
from tocsin.store.model import AuditFilter
from tocsin.store.protocol import Store

RESTORE = "restore it from a backup of the home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Who a node is, and what it shows and signs with."""

    organisation: Organisation
    record_signer: Signer
    delivery_signer: Signer
    log_signer: Signer
    witness_signer: Signer
    tls: TlsKeys

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Return what signs: records, pages, the log, and cosignatures."""
        return (self.record_signer, self.delivery_signer, self.log_signer, self.witness_signer)


def load_papers(layout: Layout, *, now: int) -> Papers:
    """Read identity document and keys, and see that peers will believe them today.

    Raises HomeDamaged, KeyExposed and IdentityExpired.
    """
    organisation = load_organisation(layout)
    if organisation.expires <= now:
        expired = datetime.fromtimestamp(organisation.expires, UTC).date().isoformat()
        raise IdentityExpired(
            f"the identity document of {organisation.org} expired on {expired}",
            where=str(layout.document),
            hint="sign the next version with the root key: tocsin keys renew; then send it to your peers",
        )
    passphrase = find_passphrase(layout)
    record = load_signer(layout.key("record"), passphrase=passphrase)
    delivery = load_signer(layout.key("delivery"), passphrase=passphrase)
    for name, signer, keys in (
        ("record", record, organisation.record_keys),
        ("delivery", delivery, organisation.delivery_keys),
    ):
        _verify_named(layout, name, signer.key_id in keys and keys[signer.key_id].is_valid_at(now))
    log = load_signer(layout.key("log"), passphrase=passphrase)
    vkey = format_vkey(log_name(organisation.org), algorithm=NoteAlgorithm.ED25519, public_key=log.public_key)
    _verify_named(layout, "log", vkey in organisation.log_vkeys)
    witness = load_signer(layout.key("witness"), passphrase=passphrase)
    name, cosigns = witness_name(organisation.org), NoteAlgorithm.COSIGNATURE_V1
    vkey = format_vkey(name, algorithm=cosigns, public_key=witness.public_key)
    _verify_named(layout, "witness", vkey in organisation.witness_vkeys)
    return Papers(
        organisation=organisation,
        record_signer=record,
        delivery_signer=delivery,
        log_signer=log,
        witness_signer=witness,
        tls=_load_tls(layout, organisation, passphrase=passphrase),
    )


def load_organisation(layout: Layout) -> Organisation:
    """Read the identity document, which may have expired. Raises HomeDamaged."""
    where = str(layout.document)
    try:
        return parse_identity(layout.document.read_bytes(), now=0, check_expiry=False)
    except OSError as error:
        raise HomeDamaged(f"the identity document cannot be read: {cause(error)}", where=where, hint=RESTORE) from None
    except (MalformedIdentity, MalformedEncoding) as error:
        raise HomeDamaged(
            f"the identity document does not verify: {error.message}", where=where, hint=RESTORE
        ) from error


def unread_version(layout: Layout, organisation: Organisation) -> int:
    """Return the version of a newer document that waits in the home for a node that goes on with this one; else 0.

    Raises HomeDamaged.
    """
    written = load_organisation(layout)
    return written.version if written.version > organisation.version else 0


def note_papers(log: Log, store: Store, papers: Papers, *, now: int) -> None:
    """Keep in the decision log which version and keys the node goes on with, where they are not those it had.

    Those of a new home are version 1, which its founding says.
    """
    organisation = papers.organisation
    details: dict[str, JSON] = {
        "version": organisation.version,
        "record_key": papers.record_signer.key_id,
        "delivery_key": papers.delivery_signer.key_id,
        "log_key": papers.log_signer.key_id,
        "witness_key": papers.witness_signer.key_id,
        "pin": spki_pin(x509.load_pem_x509_certificate(papers.tls.certificate).public_bytes(Encoding.DER)),
    }
    last = store.audit.list(AuditFilter(act=Event.KEY_ROTATED), limit=1, newest_first=True)
    before = parse_json(last[0].body.encode()) if last else None
    if organisation.version > 1 and not (isinstance(before, dict) and before.get("details") == details):
        log.append(Entry(Event.KEY_ROTATED, details=details), now=now)


def _load_tls(layout: Layout, organisation: Organisation, *, passphrase: bytes | None) -> TlsKeys:
    """Read the key of the node's certificate, and find the certificate for it in the document."""
    key = load_private_key(layout.key("tls"), passphrase=passphrase)
    pin = key_pin(key.public_key())
    certificate = next((der for der in organisation.node_certs if spki_pin(der) == pin), b"")
    _verify_named(layout, "tls", bool(certificate))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return TlsKeys(plain, certificate_pem(certificate))


def _verify_named(layout: Layout, name: str, named: bool) -> None:
    if not named:
        path = layout.relative(layout.key(name))
        message = "the identity document does not name this key for today, so no peer would believe it"
        raise HomeDamaged(message, where=path, hint="restore key and identity document from the same backup")
