"""This module makes a home: the keys, the identity, and everything else an organisation's node owns.

It makes the first person as well, who has every role: the floor that a home
starts with is in force under that person's signature. The person's own keys
are made elsewhere, and never lie in the home.

A home is built beside its place, as `.NAME.<random>.new`, and moved there in one
step when it is whole: no half of a home ever stands in that place, and two
founders at once cannot mix theirs. A building that fails is cleared away; one
that is killed leaves its folder, which nobody needs.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.audit.entry import Entry, Event
from tocsin.audit.log import Log
from tocsin.config import default_config_text, load_config
from tocsin.desk.inforce import put_in_force
from tocsin.desk.layout import KEY_NAMES, PRIVATE_FILE, PRIVATE_FOLDER, Layout, cause
from tocsin.desk.passphrase import load_passphrase
from tocsin.errors import HomeDamaged, HomeExists, MalformedIdentity
from tocsin.identity.certificate import BACKDATED, DAY, make_certificate, verify_certificate
from tocsin.identity.details import Details, RecordKey, index_keys
from tocsin.identity.keys import generate_ed25519, generate_p256, save_private_key, sync_folder
from tocsin.identity.names import OrgId, parse_endpoint, parse_org
from tocsin.identity.root import DOCUMENT_DAYS, Organisation, found_organisation, parse_identity
from tocsin.identity.signer import FileSigner, Signer
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name
from tocsin.people.act import Act, policy_subject, sign_act
from tocsin.people.person import Person, Role, parse_person_name
from tocsin.policy.parse import FLOOR
from tocsin.policy.starter import starter_floor
from tocsin.store.sqlite import open_store

KEY_DAYS = 2 * DOCUMENT_DAYS
"""Validity of a signing key: twice the life of a document, so that one renewal may be late."""
MOST_ROOT_KEYS = 16


@dataclass(frozen=True, slots=True)
class Founder:
    """The first person, as it makes itself known: `certificate` is the DER of its TLS certificate."""

    name: str
    signer: Signer
    certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The new keys, before any of them is in a file."""

    root: tuple[Ed25519PrivateKey, ...]
    record: Ed25519PrivateKey
    delivery: Ed25519PrivateKey
    tls: ec.EllipticCurvePrivateKey
    log: Ed25519PrivateKey
    witness: Ed25519PrivateKey


def create_home(
    root: Path,
    *,
    org: str,
    name: str,
    kind: str,
    listen: str,
    endpoints: Sequence[str],
    contact: str,
    founder: Founder,
    now: int,
    random: Callable[[int], bytes],
    root_keys: int = 1,
    threshold: int = 1,
    passphrase_file: Path | None = None,
) -> Organisation:
    """Make a home with new keys, the first version of the organisation's identity, and its first person.

    Raises HomeExists where something stands in its place, MalformedName and
    MalformedIdentity for what cannot be in an identity document, MalformedConfig
    for what cannot be in node.toml, KeyExposed and HomeDamaged for a passphrase
    file that cannot be used.
    """
    root = root.expanduser().absolute()
    verify_free(root)
    _verify_threshold(threshold, root_keys)
    passphrase = load_passphrase(passphrase_file) if passphrase_file else None
    keys = _generate_keys(root_keys, random=random)
    details = _details(
        keys, org=org, name=name, kind=kind, endpoints=endpoints, contact=contact, now=now, random=random
    )
    roots = [FileSigner(key) for key in keys.root]
    document = found_organisation(details, signers=roots, threshold=threshold, now=now)
    organisation = parse_identity(document, now=now)
    person = _first(founder, org=organisation.org, now=now)
    try:
        with beside(root, random=random) as layout:
            _write(
                layout, keys=keys, passphrase=passphrase, document=document, settings=_settings(listen, passphrase_file)
            )
            _settle(layout, person, founder=founder, organisation=organisation, keys=keys, now=now)
    except OSError as error:
        verify_free(root)  # somebody else was faster
        raise cannot_build(root, error) from None
    return organisation


def _first(founder: Founder, *, org: OrgId, now: int) -> Person:
    """Return the founder as a person with every role. Raises MalformedName and MalformedIdentity."""
    verify_certificate(founder.certificate, org=org)
    return Person(
        name=parse_person_name(founder.name),
        roles=frozenset(Role),
        key_id=founder.signer.key_id,
        public_key=founder.signer.public_key,
        certificate=founder.certificate,
        added_at=now,
    )


def _settle(
    layout: Layout, person: Person, *, founder: Founder, organisation: Organisation, keys: _Keys, now: int
) -> None:
    """Make the store, write into it who the first person is, and put the floor in force under its signature."""
    files = {FLOOR: starter_floor()}
    subject = policy_subject(files, replaces="")
    statement = sign_act(
        Act.APPLY_POLICIES, on=subject, org=organisation.org, person=person.name, signer=founder.signer, now=now
    )
    details = {"key_id": person.key_id, "pin": person.pin, "fingerprint": organisation.fingerprint}
    with closing(open_store(layout.store, create=True)) as store, store.transaction():
        log = Log(store, org=organisation.org, signer=FileSigner(keys.delivery))
        store.people.add(person)
        log.append(Entry(Event.FOUNDED, person=person.name, details=details), now=now)
        put_in_force(store, files, statement=statement, person=person, organisation=organisation, log=log, now=now)
    for folder in (*layout.folders(), layout.root):
        sync_folder(folder)


def _verify_threshold(threshold: int, root_keys: int) -> None:
    if not 1 <= threshold <= root_keys <= MOST_ROOT_KEYS:
        keys = f"{root_keys} root key{'s' if root_keys != 1 else ''}"
        message = f"a threshold of {threshold} does not go with {keys}"
        raise MalformedIdentity(message, reason="BAD_IDENTITY", hint="give more with --root-keys, or ask for fewer")


def verify_free(root: Path) -> None:
    """Refuse a place where anything stands but an empty folder."""
    try:
        taken = root.is_symlink() or (root.exists() and (not root.is_dir() or any(root.iterdir())))
    except OSError as error:
        raise cannot_build(root, error) from None
    if not taken:
        return
    if Layout(root).document.exists():
        raise HomeExists("the folder is a home already", where=str(root), hint="use it, or name another with --home")
    raise HomeExists(
        "something else stands here", where=str(root), hint="name a folder that is empty or does not exist"
    )


def _generate_keys(root_keys: int, *, random: Callable[[int], bytes]) -> _Keys:
    return _Keys(
        root=tuple(generate_ed25519(random) for _ in range(root_keys)),
        record=generate_ed25519(random),
        delivery=generate_ed25519(random),
        tls=generate_p256(random),
        log=generate_ed25519(random),
        witness=generate_ed25519(random),
    )


def _details(
    keys: _Keys,
    *,
    org: str,
    name: str,
    kind: str,
    endpoints: Sequence[str],
    contact: str,
    now: int,
    random: Callable[[int], bytes],
) -> Details:
    """Put together what the identity document says; what is wrong with it is refused there."""
    org_id = parse_org(org)
    return Details(
        org=org_id,
        name=name,
        kind=kind,
        record_keys=index_keys([new_record_key(keys.record, starts=now)]),
        delivery_keys=index_keys([new_record_key(keys.delivery, starts=now)]),
        node_certs=(make_certificate(org_id, private_key=keys.tls, now=now, random=random),),
        endpoints=tuple(parse_endpoint(endpoint) for endpoint in endpoints),
        contact=contact,
        log_vkey=format_vkey(
            log_name(org_id), algorithm=NoteAlgorithm.ED25519, public_key=keys.log.public_key().public_bytes_raw()
        ),
        witness_vkey=format_vkey(
            witness_name(org_id),
            algorithm=NoteAlgorithm.COSIGNATURE_V1,
            public_key=keys.witness.public_key().public_bytes_raw(),
        ),
    )


def new_record_key(key: Ed25519PrivateKey, *, starts: int) -> RecordKey:
    """Return how the document lists a new record or delivery key that is used from a time on.

    Its validity begins a day before: a clock that was put back must not lock a node out.
    """
    signer = FileSigner(key)
    return RecordKey(
        key_id=signer.key_id,
        public_key=signer.public_key,
        status="active",
        not_before=starts - BACKDATED,
        not_after=starts + KEY_DAYS * DAY,
    )


def _settings(listen: str, passphrase_file: Path | None) -> str:
    text = default_config_text(listen)
    if passphrase_file is None:
        return text
    path = json.dumps(str(passphrase_file.expanduser().absolute()), ensure_ascii=False)  # a TOML basic string as well
    return f"{text}passphrase_file = {path}\n"


@contextmanager
def beside(root: Path, *, random: Callable[[int], bytes]) -> Iterator[Layout]:
    """Give a folder to build in, and move it to its place if the building succeeds."""
    root.parent.mkdir(parents=True, exist_ok=True)
    building = root.with_name(f".{root.name}.{random(8).hex()}.new")
    building.mkdir(mode=PRIVATE_FOLDER)
    try:
        yield Layout(building)
        building.replace(root)  # the system refuses where somebody has put something there since
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_folder(root.parent)


def _write(layout: Layout, *, keys: _Keys, passphrase: bytes | None, document: bytes, settings: str) -> None:
    for folder in layout.folders():
        folder.mkdir(mode=PRIVATE_FOLDER)
    save_file(layout.settings, settings.encode())
    load_config(layout.root)  # settings that would not read back make no home
    save_file(layout.document, document)
    save_file(layout.policies / FLOOR, starter_floor().encode())
    for number, key in enumerate(keys.root, 1):
        save_private_key(layout.root_key(number), key, passphrase=passphrase)
    for name in KEY_NAMES:
        save_private_key(layout.key(name), getattr(keys, name), passphrase=passphrase)


def save_file(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def cannot_build(root: Path, error: OSError) -> HomeDamaged:
    """Return what to raise where the disk refuses."""
    hint = "name a folder that you may write in"
    return HomeDamaged(f"the home cannot be made: {cause(error)}", where=str(root), hint=hint)
