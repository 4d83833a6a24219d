"""This module puts policies in force for tests, as a policy-admin does."""

from collections.abc import Mapping

from tests.support.organisations import NOW
from tests.support.people import Colleague
from tocsin.desk.home import Home
from tocsin.desk.inforce import put_in_force
from tocsin.people.act import Act, policy_subject
from tocsin.policy.model import PolicySet
from tocsin.v1 import desk_service_pb2 as v1


def apply(home: Home, files: Mapping[str, str], *, by: Colleague, now: int = NOW) -> PolicySet:
    """Put files, by their bare names, in force beside those that are, under a person's signature.

    Nothing is weighed anew by it: that is what `ApplyPolicies` does.
    """
    request = request_to_apply(home, files, by=by, now=now)
    return put_in_force(
        home.store,
        {file.name: file.text for file in request.files},
        statement=request.statement,
        person=home.store.people.get(by.name),
        organisation=home.organisation,
        log=home.log,
        now=now,
    )


def request_to_apply(home: Home, files: Mapping[str, str], *, by: Colleague, now: int = NOW) -> v1.ApplyPoliciesRequest:
    """Return what somebody asks of the desk who wants files in force beside those that are."""
    before = home.store.policies.latest()
    whole = {**(before.files if before else {}), **files}
    subject = policy_subject(whole, replaces=before.subject if before else "")
    return v1.ApplyPoliciesRequest(
        files=[v1.PolicyFile(name=name, text=text) for name, text in sorted(whole.items())],
        statement=by.sign(Act.APPLY_POLICIES, subject, now=now),
    )
