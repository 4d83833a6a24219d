"""This module founds organisations for tests: the same name always has the same keys."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tocsin.identity.certificate import make_certificate
from tocsin.identity.details import Details, RecordKey, index_keys
from tocsin.identity.keys import generate_ed25519, generate_p256
from tocsin.identity.names import parse_org
from tocsin.identity.root import Organisation, found_organisation, parse_identity
from tocsin.identity.signer import FileSigner, Signer
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name

NOW = 1_772_366_400  # 2026-03-01T12:00:00Z
YEAR = 365 * 86_400


def seeded(seed: str) -> Callable[[int], bytes]:
    """Return a source of bytes that look random and are the same in every run."""
    state = hashlib.shake_256(seed.encode())
    position = 0

    def random(count: int) -> bytes:
        nonlocal position
        position += count
        return state.digest(position)[-count:]

    return random


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signer(seed: str) -> Signer:
    return FileSigner(generate_ed25519(seeded(seed)))


def record_key(of: Signer, *, now: int = NOW, status: str = "active", revoked_at: int | None = None) -> RecordKey:
    return RecordKey(
        key_id=of.key_id,
        public_key=of.public_key,
        status=status,
        not_before=now,
        not_after=now + 2 * YEAR,
        revoked_at=revoked_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """An organisation with all its private keys."""

    organisation: Organisation
    roots: tuple[Signer, ...]
    record: Signer
    delivery: Signer
    tls: ec.EllipticCurvePrivateKey
    log: Signer
    witness: Signer

    @property
    def document(self) -> bytes:
        return self.organisation.document


def make_details(name: str, *, now: int = NOW, kind: str = "lab", endpoints: tuple[str, ...] = ()) -> Details:
    org = parse_org(name)
    tls = generate_p256(seeded(f"{name} tls"))
    log, witness = signer(f"{name} log"), signer(f"{name} witness")
    return Details(
        org=org,
        name=name.partition(".")[0].title(),
        kind=kind,
        record_keys=index_keys([record_key(signer(f"{name} record"), now=now)]),
        delivery_keys=index_keys([record_key(signer(f"{name} delivery"), now=now)]),
        node_certs=(make_certificate(org, private_key=tls, now=now, random=seeded(f"{name} serial")),),
        endpoints=endpoints,
        contact=f"mailto:security@{name}",
        log_vkey=format_vkey(log_name(org), algorithm=NoteAlgorithm.ED25519, public_key=log.public_key),
        witness_vkey=format_vkey(
            witness_name(org), algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=witness.public_key
        ),
    )


def found(
    name: str = "lab-a.example",
    *,
    now: int = NOW,
    kind: str = "lab",
    endpoints: tuple[str, ...] = (),
    root_keys: int = 1,
    threshold: int = 1,
) -> Founded:
    """Found an organisation; the keys follow from its name."""
    roots = tuple(signer(f"{name} root-{number}") for number in range(1, root_keys + 1))
    details = make_details(name, now=now, kind=kind, endpoints=endpoints)
    document = found_organisation(details, signers=roots, threshold=threshold, now=now)
    return Founded(
        organisation=parse_identity(document, now=now),
        roots=roots,
        record=signer(f"{name} record"),
        delivery=signer(f"{name} delivery"),
        tls=generate_p256(seeded(f"{name} tls")),
        log=signer(f"{name} log"),
        witness=signer(f"{name} witness"),
    )
