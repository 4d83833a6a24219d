"""This module makes messages of the desk by hand."""

from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1 import record_pb2

RECORD_ID = "3f2b8c1e-6a57-4d0f-9b1e-0c2d4e6f8a10"
NOON = 1772366400  # 2026-03-01T12:00:00Z


def record(*, content=None, withheld=(), title="Tool output redirects an agent", **fields):
    envelope = record_pb2.Envelope(
        iss="lab-a.example",
        iat=NOON,
        record_id=fields.pop("record_id", RECORD_ID),
        version=1,
        kind=fields.pop("kind", record_pb2.RECORD_KIND_FINDING),
        schema="tocsin.v1",
        status=record_pb2.RECORD_STATUS_ISSUED,
        tlp=fields.pop("tlp", record_pb2.TLP_AMBER_STRICT),
    )
    made = v1.Record(
        digest="d" * 43,
        envelope=envelope,
        title=title,
        severity=fields.pop("severity", "high"),
        received_from="lab-a.example",
        versions=[1],
        key_id="k" * 43,
        withheld=[withheld_field(*one) for one in withheld],
        **fields,
    )
    made.stored_at.FromSeconds(NOON)
    made.content.update(
        content if content is not None else {"title": title, "finding_kind": "vulnerability", "severity": "high"}
    )
    return made


def withheld_field(path, reason="", until=0):
    made = v1.WithheldField(path=path, reason=reason)
    if until:
        made.until.FromSeconds(until)
    return made


def waiting(partner="aisi.example", *, not_before=0, **fields):
    made = v1.Waiting(partner=partner, **fields)
    if not_before:
        made.not_before.FromSeconds(not_before)
    return made


def organisation(org="lab-b.example", **fields):
    made = v1.Organisation(
        org=org,
        name="Lab B",
        kind=v1.ORGANISATION_KIND_LAB,
        fingerprint="MFZWI3D-BONSGYC",
        version=1,
        endpoints=["127.0.0.1:7470"],
        **fields,
    )
    made.expires_at.FromSeconds(NOON + 365 * 86_400)
    return made


def peer(state=v1.PEER_STATE_ACTIVE, **fields):
    return v1.Peer(
        organisation=organisation(),
        role=v1.PEER_ROLE_MEMBER,
        state=state,
        policy_file="policies/lab-b.example.toml",
        **fields,
    )
