"""This module lists receipts: what partners signed for of ours, and what this organisation signed for of theirs."""

from tocsin.desk.lookup import find_peer
from tocsin.desk.room import Room
from tocsin.identity.names import OrgId, parse_org
from tocsin.store.evidence import ReceiptRow
from tocsin.v1 import desk_service_pb2 as v1


class Receipts:
    """Shows what can be proved to somebody else."""

    def __init__(self, room: Room) -> None:
        self._ours = room.home.organisation.org
        self._store = room.home.store

    def list_receipts(self, request: v1.ListReceiptsRequest) -> v1.ListReceiptsResponse:
        """List receipts of one direction; also of a partner that is no peer any more, since they still prove something.

        Raises MalformedName for what is no organisation id, NotFound for one with whom there never was any receipt
        and that is no peer, MalformedRequest for a token that is not of this listing.
        """
        rows, token = self._store.receipts.list(
            given=request.given,
            peer=parse_org(request.partner) if request.partner else "",
            digest=request.digest,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        if request.partner and not rows:
            find_peer(self._store, request.partner)
        return v1.ListReceiptsResponse(receipts=[_message(row, self._ours) for row in rows], next_page_token=token)


def _message(row: ReceiptRow, ours: OrgId) -> v1.Receipt:
    issuer, audience = (ours, row.peer) if row.given else (row.peer, ours)
    message = v1.Receipt(
        issuer=issuer,
        audience=audience,
        chain=row.chain,
        number=row.number,
        first=row.page.first,
        last=row.page.last,
        statement=row.statement,
        page_statement=row.page.statement,
        refused=row.refused,
    )
    message.at.FromSeconds(row.at)
    return message
