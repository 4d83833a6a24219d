"""This module says which role may call which method of DeskService, and nothing else says it.

The door of the desk asks it before the body of a call is read
(`services.doorkeeper`). A method that is added is closed to everybody until it
is named here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tocsin.people.person import Role

_ANALYST, _RELEASER, _ADMIN, _AUDITOR, _OPERATOR = (
    Role.ANALYST,
    Role.RELEASER,
    Role.POLICY_ADMIN,
    Role.AUDITOR,
    Role.OPERATOR,
)

_EVERYBODY: Final = frozenset(Role)
_READERS: Final = frozenset({_ANALYST, _RELEASER, _AUDITOR, _ADMIN})
_ON_POLICY: Final = frozenset({_ADMIN, _AUDITOR, _RELEASER})
_AUDITING: Final = frozenset({_AUDITOR, _ADMIN})
_ON_DELIVERY: Final = _AUDITING | {_OPERATOR}

PERMITS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        "GetStatus": _EVERYBODY,
        "GetIdentity": _EVERYBODY,
        "ListPeers": _EVERYBODY,
        "GetPeer": _EVERYBODY,
        "ListRecords": _READERS,
        "GetRecord": _READERS,
        "SearchRecords": _READERS,
        "ExplainRecord": _READERS,
        "PreviewRecord": _READERS,
        "ListReviews": _READERS,
        "GetReview": _READERS,
        "ListRetractions": _READERS,
        "GetRetraction": _READERS,
        "PostRecords": frozenset({_ANALYST}),
        "AmendRecord": frozenset({_ANALYST}),
        "RetractRecord": frozenset({_ANALYST, _RELEASER}),
        "RequestFields": frozenset({_ANALYST}),
        "RevealFields": frozenset({_ANALYST, _RELEASER}),
        "DecideReview": frozenset({_RELEASER}),
        "CheckPolicies": _ON_POLICY,
        "PlanPolicies": _ON_POLICY,
        "GetPolicyMatrix": _ON_POLICY,
        "ApplyPolicies": frozenset({_ADMIN}),
        "AddPeer": frozenset({_OPERATOR}),
        "SuspendPeer": frozenset({_OPERATOR}),
        "ResumePeer": frozenset({_OPERATOR}),
        "RemovePeer": frozenset({_OPERATOR}),
        "SyncPeers": frozenset({_OPERATOR, _ANALYST}),
        "TestPeer": frozenset({_OPERATOR}),
        "RunChecks": frozenset({_OPERATOR}),
        "ListOutbox": _READERS | {_OPERATOR},
        "ListReceipts": _ON_DELIVERY,
        "ListPeople": frozenset({_OPERATOR, _AUDITOR}),
        "AddPerson": frozenset({_OPERATOR}),
        "ChangePerson": frozenset({_OPERATOR}),
        "RemovePerson": frozenset({_OPERATOR}),
        "GetLog": _EVERYBODY,
        "GetLogPolicy": _EVERYBODY,
        "ReadLog": _EVERYBODY,
        "ExportLog": _EVERYBODY,
        "ListEvidence": _EVERYBODY,
        "GetEvidence": _READERS,
        "ProveRecord": _READERS,
        "ResumeLog": frozenset({_OPERATOR}),
        "ListAudit": _AUDITING,
        "VerifyAudit": _AUDITING,
    }
)
"""Who may call what, by the names of the contract."""


def permitted(method: str) -> frozenset[Role]:
    """Return the roles that may call a method; nobody may call one that is not named here."""
    return PERMITS.get(method, frozenset())
