"""This module keeps a person's profile: its keys, and the node that it works with.

PROFILE/                 0700   never in the home of a node
  person.toml                   who the person is, and where the node is
  identity.tocsin               the organisation's identity document: whom to take for its node
  signing.pem            0600   signs what the person decides
  tls.pem                0600   the key of its certificate
  tls.der                       the certificate, by which the node knows who is calling

    name = "analyst-1"
    org  = "lab-a.example"
    home = "/srv/tocsin"             # a node on this machine; "": none
    desk = "lab-a.example:7471"      # a node elsewhere, as its `desk_listen` says; "": none

Profiles are in `$XDG_CONFIG_HOME/tocsin/profiles`, each in the folder `NAME@ORG`,
or wherever `--profile` says. A new one is made beside its place and moved there
in one step when whatever it is for has succeeded.
"""

import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.errors import HomeDamaged, Malformed, MalformedName, ProfileExists, ProfileMissing
from tocsin.identity.certificate import TlsKeys, certificate_pem, make_certificate
from tocsin.identity.keys import generate_ed25519, generate_p256, load_private_key, save_private_key, sync_folder
from tocsin.identity.names import KeyId, OrgId, parse_endpoint, parse_org
from tocsin.identity.root import Organisation, parse_identity, update_identity
from tocsin.identity.signer import FileSigner, Signer, load_signer
from tocsin.people.person import parse_person_name
from tocsin_cli.command import UsageProblem

PERSON_FILE = "person.toml"
IDENTITY_FILE = "identity.tocsin"
SIGNING_FILE = "signing.pem"
TLS_FILE = "tls.pem"
CERTIFICATE_FILE = "tls.der"
REPLACED = ".replaced"
"""Ending of a profile that was left from a home that is gone: no folder `NAME@ORG` any more, so nobody finds it."""

_PRIVATE_FOLDER = 0o700
_SETTINGS = frozenset({"name", "org", "home", "desk"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonKeys:
    """The new keys of a person, before they are in files."""

    signing: Ed25519PrivateKey = field(repr=False)
    tls: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: bytes

    @property
    def signer(self) -> Signer:
        """Return what signs with the person's key."""
        return FileSigner(self.signing)

    @property
    def key_id(self) -> KeyId:
        """Return the name of the signing key, which people compare."""
        return self.signer.key_id

    def card(self, name: str) -> str:
        """Return how the person introduces itself to its node."""
        from tocsin.people.card import make_card  # and the signatures of records: only who is new needs a card

        return make_card(name, signer=self.signer, certificate=self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A person on this machine, and the node that it works with."""

    folder: Path
    name: str
    org: OrgId
    home: str = ""
    desk: str = ""

    @property
    def label(self) -> str:
        """Return what `--profile` takes for it."""
        return f"{self.name}@{self.org}"

    def is_of(self, home: Path) -> bool:
        """Say whether this is a profile for a home on this machine."""
        return bool(self.home) and Path(self.home).resolve() == home.resolve()

    def load_signer(self) -> Signer:
        """Open the key that signs what the person decides. Raises ProfileMissing and KeyExposed."""
        with _readable(self.folder):
            return load_signer(self.folder / SIGNING_FILE)

    def load_tls(self) -> TlsKeys:
        """Read what the person shows to its node. Raises ProfileMissing and KeyExposed."""
        with _readable(self.folder):
            load_private_key(self.folder / TLS_FILE)
            pem = (self.folder / TLS_FILE).read_bytes()
            return TlsKeys(pem, certificate_pem((self.folder / CERTIFICATE_FILE).read_bytes()))

    def load_organisation(self) -> Organisation:
        """Read who the organisation is, whether or not its document has expired. Raises ProfileMissing."""
        with _readable(self.folder):
            return parse_identity((self.folder / IDENTITY_FILE).read_bytes(), now=0, check_expiry=False)

    def renew_identity(self, document: bytes, *, now: int) -> None:
        """Keep a newer identity document, by which the node is known when it shows another certificate.

        Raises MalformedIdentity and IdentityOutdated for one that does not go
        on from the one kept, and ProfileMissing where it cannot be kept.
        """
        held = self.load_organisation()
        newer, _ = update_identity(held, document, now=now)
        if newer.version == held.version:
            return
        with _readable(self.folder):
            _save(beside := self.folder / f".{IDENTITY_FILE}.new", document)
            beside.replace(self.folder / IDENTITY_FILE)
            sync_folder(self.folder)


def make_keys(org: OrgId, *, now: int, random: Callable[[int], bytes]) -> PersonKeys:
    """Make the keys of a person, and its certificate for the organisation."""
    tls = generate_p256(random)
    return PersonKeys(
        signing=generate_ed25519(random),
        tls=tls,
        certificate=make_certificate(org, private_key=tls, now=now, random=random),
    )


def profiles_folder() -> Path:
    """Return the folder of the profiles of whoever runs this (XDG Base Directory Specification)."""
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".config"
    return base / "tocsin" / "profiles"


def default_folder(name: str, org: str) -> Path:
    """Return where the profile of a person is, unless it is said otherwise."""
    return profiles_folder() / f"{name}@{org}"


def load_profile(folder: Path) -> Profile:
    """Read a profile, but no key of it. Raises ProfileMissing."""
    folder = folder.expanduser().absolute()
    with _readable(folder):
        values = tomllib.loads((folder / PERSON_FILE).read_text(encoding="utf-8"))
        if values.keys() != _SETTINGS or not all(isinstance(value, str) for value in values.values()):
            raise MalformedName(f"{PERSON_FILE} does not hold {', '.join(sorted(_SETTINGS))}")
        return Profile(
            folder=folder,
            name=parse_person_name(values["name"]),
            org=parse_org(values["org"]),
            home=values["home"],
            desk=values["desk"] and parse_endpoint(values["desk"]),
        )


def load_profiles() -> tuple[Profile, ...]:
    """Read the profiles that are in their place; one that cannot be read is nobody's."""
    found = []
    for folder in sorted(profiles_folder().glob("*@*")):
        with suppress(ProfileMissing):
            profile = load_profile(folder)
            found += [profile] * (profile.label == folder.name)
    return tuple(found)


def find_profile(named: str, *, home: Path | None) -> Profile:
    """Return the profile that is meant: the one that is named, else the only one for a home.

    A name with a slash in it is a folder; any other is `NAME@ORG`, or `NAME`
    where one profile alone has it.

    Raises ProfileMissing where there is none, UsageProblem where there are several.
    """
    if "/" in named or named in (".", ".."):
        return load_profile(Path(named))
    known = load_profiles()
    if named:
        found = [profile for profile in known if named in (profile.label, profile.name)]
    else:
        found = [profile for profile in known if home is not None and profile.is_of(home)]
    if len(found) > 1 and home is not None:
        found = [profile for profile in found if profile.is_of(home)] or found
    if len(found) > 1:
        labels = ", ".join(profile.label for profile in found)
        raise UsageProblem(
            f"several profiles could be meant: {labels}", "name one with --profile, or in TOCSIN_PROFILE"
        )
    if not found:
        raise _missing(named, home=home, known=known)
    return found[0]


@contextmanager
def new_profile(profile: Profile, keys: PersonKeys, *, replaces: bool = False) -> Iterator[Callable[[bytes], object]]:
    """Make a profile, and move it to its place if what is done in the context succeeds.

    Gives what saves the organisation's identity document in it, which may not
    be known before. With `replaces`, the profile of the same home that stands
    there is moved aside.

    Raises ProfileExists where anything else stands there, and ProfileMissing
    where it cannot be written.
    """
    _verify_place(profile, replaces=replaces)
    beside = profile.folder.with_name(f".{profile.folder.name}.{token_hex(8)}.new")
    try:
        beside.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        beside.mkdir(mode=_PRIVATE_FOLDER)
        _write(beside, profile=profile, keys=keys)
        yield partial(_save, beside / IDENTITY_FILE)
        set_aside(profile.folder)
        beside.replace(profile.folder)
        sync_folder(profile.folder.parent)
    except OSError as error:
        problem = (error.strerror or "unknown error").lower()
        raise ProfileMissing(
            f"the profile cannot be written: {problem}",
            where=str(profile.folder),
            hint="name a folder that you may write in: --profile DIR",
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def set_aside(folder: Path) -> None:
    """Give a profile whose keys count no more another name, if it is there: nobody but its owner destroys keys."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}{REPLACED}{f'-{number}' if number > 1 else ''}")).exists():
        number += 1
    folder.replace(aside)


def _write(folder: Path, *, profile: Profile, keys: PersonKeys) -> None:
    settings = {"name": profile.name, "org": profile.org, "home": profile.home, "desk": profile.desk}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items()]
    _save(folder / PERSON_FILE, "".join(lines).encode())
    save_private_key(folder / SIGNING_FILE, keys.signing, passphrase=None)
    save_private_key(folder / TLS_FILE, keys.tls, passphrase=None)
    _save(folder / CERTIFICATE_FILE, keys.certificate)


def _save(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _verify_place(profile: Profile, *, replaces: bool) -> None:
    """Refuse a place where something stands, and one that is in a home."""
    folder = profile.folder
    if profile.home and folder.resolve().is_relative_to(Path(profile.home).resolve()):
        raise UsageProblem(
            f"{folder} is in the home of the node", "the keys of a person are no part of it: name another"
        )
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    with suppress(ProfileMissing):
        if replaces and profile.home and load_profile(folder).is_of(Path(profile.home)):
            return
    raise ProfileExists(
        "a profile stands here already, or something else",
        where=str(folder),
        hint="move it away if its keys are of no use any more, or choose another name",
    )


def _missing(named: str, *, home: Path | None, known: tuple[Profile, ...]) -> ProfileMissing:
    labels = ", ".join(profile.label for profile in known)
    if named:
        hint = f"known here: {labels}" if known else "an operator makes it: tocsin person add NAME --role ROLE"
        return ProfileMissing(f"there is no profile {named!r} on this machine", hint=hint)
    return ProfileMissing(
        "you have no profile for this home",
        where=str(home),
        hint="name one with --profile, or in TOCSIN_PROFILE; if there is none, stop the node and run: "
        "tocsin person recover NAME",
    )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn whatever is wrong with the files of a profile into one error."""
    try:
        yield
    except (OSError, ValueError, Malformed, HomeDamaged) as error:
        text = getattr(error, "message", "") or getattr(error, "strerror", "") or str(error)
        raise ProfileMissing(
            f"the profile cannot be used: {text[:1].lower()}{text[1:]}",
            where=str(folder),
            hint="restore it from a backup, or let an operator add you anew",
        ) from None
