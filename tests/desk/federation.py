"""This module brings two open homes together and moves the feed of one to the other, without a wire."""

from tests.desk.conftest import Office
from tocsin.exchange.outbox import next_page
from tocsin.exchange.receive import Received, accept_page
from tocsin.identity.names import OrgId
from tocsin.v1 import desk_service_pb2 as v1


def introduce(one: Office, other: Office) -> None:
    """Make each a confirmed peer of the other."""
    for here, there in ((one, other), (other, one)):
        organisation = there.home.organisation
        here.desk.add_peer(v1.AddPeerRequest(document=organisation.document, fingerprint=organisation.fingerprint))


def deliver(sender: Office, receiver: Office, *, cursor: str = "") -> Received | None:
    """Move everything that waits, as the wire would; return what the last page brought."""
    ours = OrgId(receiver.home.organisation.org)
    received = None
    while True:
        page = next_page(
            sender.home.store,
            ours,
            cursor,
            policies=sender.home.policies,
            signer=sender.home.delivery_signer,
            organisation=sender.home.organisation,
            now=sender.clock(),
        )
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
