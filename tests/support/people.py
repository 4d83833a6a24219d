"""This module makes people for tests: the same name at the same organisation always has the same keys."""

from dataclasses import dataclass

from tests.support.organisations import NOW, private_pem, seeded
from tocsin.desk.founding import Founder
from tocsin.identity.certificate import TlsKeys, certificate_pem, make_certificate
from tocsin.identity.keys import generate_ed25519, generate_p256
from tocsin.identity.names import OrgId
from tocsin.identity.signer import FileSigner, Signer
from tocsin.people.act import Act, sign_act
from tocsin.people.card import make_card
from tocsin.people.person import Person, Role

FIRST = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Colleague:
    """One of an organisation's own people, with all its private keys: what lies in its profile."""

    name: str
    org: OrgId
    signer: Signer
    tls: TlsKeys
    certificate: bytes

    @property
    def card(self) -> str:
        return make_card(self.name, signer=self.signer, certificate=self.certificate)

    @property
    def founder(self) -> Founder:
        return Founder(self.name, self.signer, self.certificate)

    def person(self, *roles: Role, active: bool = True, now: int = NOW) -> Person:
        """Return the person as a store holds it; without roles: with every role."""
        return Person(
            name=self.name,
            roles=frozenset(roles or Role),
            key_id=self.signer.key_id,
            public_key=self.signer.public_key,
            certificate=self.certificate,
            active=active,
            added_at=now,
        )

    def sign(self, act: Act, on: str, *, now: int = NOW) -> str:
        return sign_act(act, on=on, org=self.org, person=self.name, signer=self.signer, now=now)


def colleague(name: str, org: str, *, now: int = NOW, keys: str = "") -> Colleague:
    """Return a person; other `keys` give one of the same name another pair."""
    seed = f"{org} {name} {keys}"
    tls = generate_p256(seeded(f"{seed} tls"))
    certificate = make_certificate(OrgId(org), private_key=tls, now=now, random=seeded(f"{seed} serial"))
    return Colleague(
        name=name,
        org=OrgId(org),
        signer=FileSigner(generate_ed25519(seeded(f"{seed} signing"))),
        tls=TlsKeys(private_pem(tls), certificate_pem(certificate)),
        certificate=certificate,
    )


def first(org: str, *, now: int = NOW) -> Colleague:
    """Return the person who founded a home made for tests."""
    return colleague(FIRST, org, now=now)
