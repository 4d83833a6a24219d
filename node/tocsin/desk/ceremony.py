"""This module signs the next version of a home's identity with root keys, here or wherever people keep them.

    root keys here        the version is signed and in force at once
    --draft FILE          it is written down unsigned; people sign it one after another, offline (sign_file);
                          the home puts it in force when enough have signed (adopt_draft)

Between the two the home goes on as it was. It keeps the keys that the draft
names, and the draft as it was made: another one, however well signed, is not
adopted here. A newer draft takes the place of an older one.

A root key signs no version that is not newer than the last one that it signed
(tocsin.desk.signings), here or there.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.desk.founding import MOST_ROOT_KEYS
from tocsin.desk.layout import Layout, cause
from tocsin.desk.papers import load_organisation
from tocsin.desk.passphrase import ENCRYPTED, MOST_BYTES, find_passphrase, load_passphrase
from tocsin.desk.signings import remember, verify_newer
from tocsin.desk.succession import (
    ROTATED,
    drafted_path,
    hold_keys,
    load_drafted,
    load_waiting,
    named_keys,
    save_whole,
    settle,
    slot,
    written,
)
from tocsin.errors import Conflict, HomeDamaged, IdentityOutdated, MalformedIdentity, NotFound
from tocsin.identity.details import Details
from tocsin.identity.draft import Draft, document_before, finish_draft, make_draft, parse_draft, sign_draft
from tocsin.identity.keys import PrivateKey, generate_ed25519, save_private_key
from tocsin.identity.root import Organisation, parse_chain
from tocsin.identity.signer import Signer, load_signer
from tocsin.identity.version import Version, parse_root_key, root_key_id

_log = logging.getLogger(__name__)

_BRING = (
    "bring the root keys from where they lie offline, and name each with --root-key FILE, "
    "or write what they are to sign into a file: --draft FILE"
)
FEWEST_OF_AN_ID = 8
"""Characters of an id that stand for all of it."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Say who signs: the root keys in these files, else those in the home; or, with a draft, nobody yet.

    `allow_older`: also a version that is not newer than the last one that a key has signed.
    """

    root_keys: tuple[Path, ...] = ()
    passphrase_file: Path | None = None
    draft: Path | None = None
    allow_older: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Say what came of it: the organisation as it is now, and the draft where it is only one."""

    organisation: Organisation
    draft: Draft | None = None


def put_forward(
    layout: Layout,
    held: Organisation,
    details: Details,
    *,
    authority: Authority,
    now: int,
    keys: Mapping[str, PrivateKey] | None = None,
    kind: str = "next",
    root_keys: Sequence[bytes] = (),
    threshold: int = 0,
) -> Outcome:
    """Make the next version under root keys that are here, or draft it; the caller holds the keys.

    The new `keys` are in their files before anything names them.

    Raises MalformedIdentity and UntrustedIssuer where the root keys cannot
    sign, IdentityOutdated where one has signed such a version before, Conflict
    where the draft's file is there, KeyExposed and HomeDamaged.
    """
    draft = make_draft(held, details, now=now, root_keys=root_keys, threshold=threshold)
    if authority.draft is not None:
        return _draft(layout, held, draft, path=authority.draft, keys=keys or {})
    document, signed_by = _sign(layout, draft, authority=authority, now=now)
    with written():
        for name, key in (keys or {}).items():
            save_private_key(slot(layout, name, kind), key, passphrase=find_passphrase(layout))
        save_whole(layout.document, document)
    for path in signed_by:
        try:
            remember(path, draft)
        except HomeDamaged as error:  # the version is in force, and its number is in the home
            _log.warning("%s", error.message)
    return Outcome(_settled(layout, now=now))


def _draft(layout: Layout, held: Organisation, draft: Draft, *, path: Path, keys: Mapping[str, PrivateKey]) -> Outcome:
    verify_absent(path)
    with written():
        for name, key in keys.items():
            save_private_key(slot(layout, name, "draft"), key, passphrase=find_passphrase(layout))
        save_whole(drafted_path(layout), draft.content)
    _save_file(path, draft.content)
    return Outcome(held, draft)


def _sign(layout: Layout, draft: Draft, *, authority: Authority, now: int) -> tuple[bytes, list[Path]]:
    """Return the document, and the files of the root keys here that have signed it."""
    here = layout.root_keys_here()
    if not authority.root_keys and not here:
        raise MalformedIdentity("no root key is here to sign with", reason="BAD_IDENTITY", hint=_BRING)
    passphrase = load_passphrase(authority.passphrase_file) if authority.passphrase_file else find_passphrase(layout)
    known = {*draft.before.root_keys, *draft.version.root_keys}
    signed, signed_by = draft, []
    for path in authority.root_keys or here:
        signer = load_root_signer(path, passphrase=passphrase)
        if authority.root_keys or signer.public_key in known:  # one in the home that was removed signs no more
            if not authority.allow_older:
                verify_newer(path, draft)
            signed = sign_draft(signed, signer=signer, now=now)
            signed_by.append(path)
    try:
        return finish_draft(signed, now=now), signed_by
    except MalformedIdentity as error:
        raise MalformedIdentity(error.message, reason=error.reason, hint=_BRING, details=error.details) from error


def _settled(layout: Layout, *, now: int) -> Organisation:
    """Return what the document says now, after the keys have taken their places."""
    organisation = load_organisation(layout)
    settle(layout, organisation, now=now)
    with written():
        if load_drafted(layout, organisation) is None:
            drafted_path(layout).unlink(missing_ok=True)
    return organisation


def change_root(
    layout: Layout,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    threshold: int = 0,
    authority: Authority,
    now: int,
) -> Outcome:
    """Add and remove root keys, and say how many of them must sign from then on.

    Raises MalformedIdentity for a key or threshold that cannot be, NotFound for
    an id that is none, Conflict where nothing would change.
    """
    with hold_keys(layout):
        held = load_organisation(layout)
        last = parse_chain(held.document)[-1]
        gone = {find_root_key(last, text) for text in remove}
        keys = [*(key for key in last.root_keys if key not in gone), *map(parse_root_key, add)]
        if not 1 <= len(keys) <= MOST_ROOT_KEYS:
            message = f"an organisation has 1 to {MOST_ROOT_KEYS} root keys, and this would be {len(keys)}"
            raise MalformedIdentity(message, reason="BAD_IDENTITY")
        if len(set(keys)) < len(keys):
            raise Conflict("a root key is one already", reason="CONFLICT", hint="see them: tocsin keys root show")
        if set(keys) == set(last.root_keys) and threshold in (0, last.threshold):
            raise Conflict("nothing would change", reason="CONFLICT", hint="say what: --add, --remove, --threshold")
        return put_forward(
            layout, held, held, authority=authority, now=now, root_keys=keys, threshold=threshold or last.threshold
        )


def find_root_key(version: Version, text: str) -> bytes:
    """Return the root key with an id, or with one that begins so. Raises NotFound."""
    found = [key for key in version.root_keys if root_key_id(key).startswith(text)]
    if len(found) != 1 or len(text) < FEWEST_OF_AN_ID:
        hint = f"name {FEWEST_OF_AN_ID} characters of it or more; see them: tocsin keys root show"
        raise NotFound(f"no root key of version {version.number} has the id {text}", hint=hint)
    return found[0]


def load_root(layout: Layout) -> Version:
    """Return the last version of a home's identity, whose root keys must sign the next one."""
    return parse_chain(load_organisation(layout).document)[-1]


def make_root_key(path: Path, *, random: Callable[[int], bytes], passphrase_file: Path | None) -> bytes:
    """Make a root key away from any home, and return its public part.

    Raises Conflict where the file is there, HomeDamaged where it cannot be written, KeyExposed for the passphrase.
    """
    verify_absent(path)
    key = generate_ed25519(random)
    passphrase = load_passphrase(passphrase_file) if passphrase_file else None
    try:
        save_private_key(path, key, passphrase=passphrase)
    except OSError as error:
        raise HomeDamaged(f"the key cannot be written: {cause(error)}", where=str(path)) from None
    return key.public_key().public_bytes_raw()


def sign_file(
    path: Path, key: Path, *, passphrase_file: Path | None, now: int, expected: Draft, allow_older: bool = False
) -> Draft:
    """Add the signature of a root key to the draft in a file, if it is still the one that somebody has read.

    What the key signs is written down beside it first. `allow_older` is for
    who knows why it is to sign a version that is not newer than its last one.

    Raises Conflict where it is another one by now, IdentityOutdated where it
    is not newer, and what `load_draft`, `sign_draft` and `load_root_signer` do.
    """
    passphrase = load_passphrase(passphrase_file) if passphrase_file else None
    signer = load_root_signer(key, passphrase=passphrase)
    draft = load_draft(path)
    if draft.content != expected.content:
        hint = "read it again, and sign it then"
        raise Conflict("the draft is another one than was shown", reason="CONFLICT", where=str(path), hint=hint)
    if not allow_older:
        verify_newer(key, draft)
    signed = sign_draft(draft, signer=signer, now=now)
    try:
        remember(key, draft)
    except HomeDamaged:
        if not allow_older:
            raise
    _save_file(path, signed.content)
    return signed


def load_draft(path: Path) -> Draft:
    """Read the draft in a file. Raises HomeDamaged, and what `parse_draft` does."""
    try:
        return parse_draft(path.read_bytes())
    except OSError as error:
        raise HomeDamaged(f"the draft cannot be read: {cause(error)}", where=str(path)) from None


def adopt_draft(layout: Layout, draft: Draft, *, now: int) -> Organisation:
    """Put a draft in force that enough root keys have signed. Where it is refused, nothing has changed.

      1. it is of this organisation, and goes on from the document that the home has
      2. it is the draft that was made here last, and the new keys that it names are here
      3. no key that is in use until now was to end before today
      4. thresholds of the version before and of its own are reached     TUF 5.3.4

    Raises MalformedIdentity, IdentityOutdated and Conflict.
    """
    with hold_keys(layout):
        held = load_organisation(layout)
        _verify_next(held, draft)  # 1
        drafted = load_drafted(layout, held)
        if drafted is None or drafted.version.payload != draft.version.payload:  # 2
            message = "this is not the draft that was made here last"
            raise Conflict(message, reason="CONFLICT", hint="adopt that one, or draft what is wanted here")
        _verify_keys_here(layout, held, draft.version.details)
        _verify_in_time(held, draft.version.details, now=now)  # 3
        document = finish_draft(draft, now=now)  # 4
        with written():
            save_whole(layout.document, document)
        return _settled(layout, now=now)


def _verify_next(held: Organisation, draft: Draft) -> None:
    org = draft.version.details.org
    if org != held.org:
        problem = f"the draft is of {org}, and this is the home of {held.org}"
        raise MalformedIdentity(problem, reason="BAD_IDENTITY", hint="adopt it in the home in which it was made")
    if draft.before.number < held.version:
        problem = f"the draft is one of version {draft.version.number}, and version {held.version} is in force"
        raise IdentityOutdated(problem, hint="draft anew what is still to change")
    ours, theirs = parse_chain(held.document), parse_chain(document_before(draft))
    if [each.payload for each in ours] != [each.payload for each in theirs]:
        problem = f"the draft does not go on from version {held.version} as the home has it"
        raise MalformedIdentity(problem, reason="BAD_IDENTITY", hint="see which homes there are of the organisation")


def _verify_keys_here(layout: Layout, held: Organisation, details: Details) -> None:
    for name in ROTATED:
        new = named_keys(details, name).keys() - named_keys(held, name).keys()
        if not new <= {*load_waiting(layout, held.org, name).values()}:
            message = f"the new {name} key that the draft names is not in this home"
            raise Conflict(message, reason="CONFLICT", hint="draft it anew")


def _verify_in_time(held: Organisation, details: Details, *, now: int) -> None:
    """Refuse to end a key in the past that was in use until today: what it signed meanwhile would not count."""
    for name, before, after in (
        ("record", held.record_keys, details.record_keys),
        ("delivery", held.delivery_keys, details.delivery_keys),
    ):
        for key_id, key in after.items():
            if key.status == "retired" and key.not_after < now <= before.get(key_id, key).not_after:
                message = f"the draft comes too late: the {name} key in use was to end before today"
                raise IdentityOutdated(message, hint="draft it anew, with a longer --overlap")


def load_root_signer(path: Path, *, passphrase: bytes | None) -> Signer:
    """Open a root key, with the passphrase where it has one. Raises HomeDamaged and KeyExposed."""
    try:
        with path.open("rb") as file:
            is_encrypted = ENCRYPTED in file.read(MOST_BYTES)
    except OSError as error:
        raise HomeDamaged(f"the root key cannot be read: {cause(error)}", where=str(path)) from None
    if is_encrypted and passphrase is None:
        hint = "name the file that holds it: --root-passphrase-file FILE"
        raise HomeDamaged("the root key has a passphrase", where=str(path), hint=hint)
    return load_signer(path, passphrase=passphrase if is_encrypted else None)


def verify_absent(path: Path) -> None:
    """Refuse to write over a file. Raises Conflict."""
    if path.exists() or path.is_symlink():
        raise Conflict("something stands there already", reason="CONFLICT", where=str(path), hint="name another file")


def _save_file(path: Path, content: bytes) -> None:
    try:
        save_whole(path, content)
    except OSError as error:
        raise HomeDamaged(f"the draft cannot be written: {cause(error)}", where=str(path)) from None
