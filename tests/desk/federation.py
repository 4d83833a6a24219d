"""This module brings two open homes together and moves the feed of one to the other, without a wire."""

import secrets

from tests.desk.conftest import Office
from tocsin.desk.room import open_office
from tocsin.exchange.outbox import next_page
from tocsin.exchange.receive import Received, accept_page
from tocsin.identity.names import OrgId
from tocsin.release import office as release
from tocsin.v1 import desk_service_pb2 as v1


def introduce(one: Office, other: Office) -> None:
    """Make each a confirmed peer of the other."""
    for here, there in ((one, other), (other, one)):
        organisation = there.home.organisation
        request = v1.AddPeerRequest(document=organisation.document, fingerprint=organisation.fingerprint)
        here.desk.add_peer(request, here.me)


def office_of(office: Office) -> release.Office:
    """Return what release works with in an open home."""
    return open_office(office.home, strict=False, random=secrets.token_bytes)


def deliver(sender: Office, receiver: Office, *, cursor: str = "") -> Received | None:
    """Move everything that waits, as the wire would; return what the last page brought."""
    ours = OrgId(receiver.home.organisation.org)
    received = None
    while True:
        page = next_page(office_of(sender), ours, cursor, signer=sender.home.delivery_signer, now=sender.clock())
        if page is None:
            return received
        policy = receiver.home.policies.policies[sender.home.organisation.org]
        received = accept_page(
            receiver.home.store,
            page,
            sender=sender.home.organisation,
            ours=ours,
            accept=policy.accept,
            now=receiver.clock(),
        )
        cursor = received.cursor
