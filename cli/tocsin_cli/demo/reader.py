"""This module lets a reader try what only members may: deliver a page to another node.

It calls the peer port as the reader's own node would, with the reader's
certificate, and reports the refusal.
"""

import asyncio

from tocsin.desk.layout import Layout
from tocsin.errors import PeerMisbehaved, PeerRefused
from tocsin.exchange.client import PEER_REASON
from tocsin.exchange.peer import PeerClient
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.identity.root import Organisation, parse_identity
from tocsin.v1 import exchange_service_pb2 as v1
from tocsin_cli.demo.network import Node
from tocsin_cli.session import now


def try_to_publish(reader: Node, *, at: Node) -> str:
    """Call Deliver with the reader's key and return how it was refused.

    Raises PeerMisbehaved where it was not.
    """
    return asyncio.run(_deliver(_organisation(at), at.endpoint, keys=_keys(reader)))


async def _deliver(organisation: Organisation, endpoint: str, *, keys: TlsKeys) -> str:
    async with PeerClient(organisation, endpoint, keys=keys) as client:
        try:
            await client.deliver(v1.Page(), last_receipt="")
        except PeerRefused as refused:
            if refused.metadata.get(PEER_REASON) == "NOT_PERMITTED":
                return "PERMISSION_DENIED (NOT_PERMITTED)"
            raise
    raise PeerMisbehaved("a reader's page was taken")


def _organisation(node: Node) -> Organisation:
    return parse_identity(Layout(node.home).document.read_bytes(), now=now())


def _keys(node: Node) -> TlsKeys:
    certificate = certificate_pem(_organisation(node).node_certs[-1])
    return TlsKeys(key=Layout(node.home).key("tls").read_bytes(), certificate=certificate)
