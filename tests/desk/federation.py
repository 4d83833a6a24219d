"""This module brings two open homes together and moves the feed of one to the other, without a wire."""

import secrets

from tests.desk.conftest import Office
from tocsin.desk.room import open_office
from tocsin.errors import StaleCheckpoint
from tocsin.exchange.directory import Directory
from tocsin.exchange.quota import Budget
from tocsin.exchange.receive import Received
from tocsin.exchange.side import Side
from tocsin.identity.names import OrgId
from tocsin.release import office as release
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.exchange_service_pb2 import Page


def introduce(one: Office, other: Office) -> None:
    """Make each a confirmed peer of the other."""
    for here, there in ((one, other), (other, one)):
        organisation = there.home.organisation
        request = v1.AddPeerRequest(document=organisation.document, fingerprint=organisation.fingerprint)
        here.desk.add_peer(request, here.me)


def office_of(office: Office) -> release.Office:
    """Return what release works with in an open home."""
    return open_office(office.home, strict=False, random=secrets.token_bytes)


def side_of(office: Office) -> Side:
    """Return what an open home brings to an exchange; it can dial nobody."""
    home = office.home
    return Side(
        office=office_of(office),
        delivery_signer=home.delivery_signer,
        directory=Directory(home.store, own_certificate=home.tls.certificate),
        clock=office.clock,
        dial=nobody,
        budget=Budget(20),
    )


def nobody(organisation: object) -> None:
    raise AssertionError("nobody is called here")


def deliver(sender: Office, receiver: Office, *, answer: bool = True) -> Received | None:
    """Move everything that waits, as the wire would; return what the last page brought.

    Without `answer` the receipts stay on their way.
    """
    out, into = side_of(sender), side_of(receiver)
    received = None
    while (page := out.next_page(into.organisation.org, into.stored(out.organisation.org))) is not None:
        received = _take(into, out, page)
        if answer:
            receipts = into.receipts(out.organisation.org)
            out.acknowledge(into.organisation.org, receipts)
            into.handed_over(out.organisation.org, receipts)
    return received


def _take(into: Side, out: Side, page: Page) -> Received:
    """Take a page in, and read the logs first that it needs; no identity document comes along."""
    sender = out.organisation.org
    for _ in range(2):  # that of the sender, and that of an origin
        try:
            return into.accept(sender, page)
        except StaleCheckpoint as error:
            origin = OrgId(error.metadata["origin"])
            growth = out.comparison().growth(origin, into.comparison().size(origin))
            assert growth is not None
            into.extend(sender, origin, growth)
    return into.accept(sender, page)
