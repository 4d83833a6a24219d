"""This module reads the names everything else is keyed by: organisations, records, keys, endpoints.

    OrgId     lab-a.example                          a DNS name, the organisation's canonical id
    RecordId  1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11   a random UUID (version 4), stable over versions
    KeyId     kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k   the RFC 7638 thumbprint of a public key

A name is read in exactly one spelling. Whatever would have to be normalised
first is refused, so that two texts are the same name only if they are equal.
"""

import ipaddress
import re
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import NewType

from tocsin.errors import MalformedName

OrgId = NewType("OrgId", str)
RecordId = NewType("RecordId", str)
KeyId = NewType("KeyId", str)

# RFC 1035 allows 253 characters of text and 63 in a label; nothing shorter than `a.b` has two labels.
_MIN_ORG, _MAX_ORG = 3, 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_RECORD_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_MAX_PORT = 65_535


def parse_org(text: str) -> OrgId:
    """Read an organisation id: a lower-case DNS name with at least one dot.

    Internationalised labels (`xn--…`, RFC 5890) are refused: two of them can
    look alike, and a name is what people compare. The last label needs a
    letter, so that no name is also an IPv4 address.

    Raises MalformedName.
    """
    fits = _MIN_ORG <= len(text) <= _MAX_ORG
    problem = _org_problem(text) if fits else f"it has {len(text)} characters, {_MIN_ORG} to {_MAX_ORG} are allowed"
    if problem:
        hint = "use the organisation's DNS name in lower case, such as lab-a.example"
        raise MalformedName(f"{text[:_MAX_ORG]!r} is not an organisation id: {problem}", hint=hint)
    return OrgId(text)


@lru_cache(1024)  # each record and each claim names one, and there are few
def _org_problem(text: str) -> str:
    labels = text.split(".")
    if len(labels) == 1:
        return "it has no dot"
    for label in labels:
        if not _LABEL.fullmatch(label):
            return f"{label!r} is not a lower-case DNS label"
        if label[2:4] == "--":
            return f"{label!r} is an internationalised label, which can be made to look like another"
    if labels[-1].isdigit():
        return "it could be taken for an address"
    return ""


def parse_record_id(text: str) -> RecordId:
    """Read a whole record id; raises MalformedName."""
    if not _RECORD_ID.fullmatch(text):
        raise MalformedName(f"{text[:40]!r} is not a record id: a UUID of version 4 in lower case")
    return RecordId(text)


def new_record_id(random: Callable[[int], bytes]) -> RecordId:
    """Make a record id from 16 random bytes (RFC 9562 section 5.4)."""
    return RecordId(str(uuid.UUID(bytes=random(16), version=4)))


def parse_endpoint(text: str) -> str:
    """Read `host:port` (a name, an IPv4 address or an IPv6 address in brackets).

    Raises MalformedName, also for an address that is not in its shortest form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > _MAX_PORT or not _is_host(host):
        hint = "write it as lab-a.example:7443, 192.0.2.1:7443 or [2001:db8::1]:7443"
        raise MalformedName(f"{text[:_MAX_ORG]!r} is not an endpoint", hint=hint)
    return text


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return host.endswith("]") and _is_address(host[1:-1], version=6)
    labels = host.split(".")
    if labels[-1].isdigit():
        return _is_address(host, version=4)
    return len(host) <= _MAX_ORG and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(text: str, *, version: int) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A zone (`fe80::1%eth0`) means something on one machine only.
    return address.version == version and str(address) == text and "%" not in text
