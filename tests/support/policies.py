"""This module puts policies in force for tests, as a policy-admin does."""

from collections.abc import Mapping

from tests.support.organisations import NOW
from tests.support.people import Colleague
from tocsin.desk.home import Home
from tocsin.desk.inforce import put_in_force
from tocsin.people.act import Act, policy_subject
from tocsin.policy.model import PolicySet


def apply(home: Home, files: Mapping[str, str], *, by: Colleague, now: int = NOW) -> PolicySet:
    """Put files, by their bare names, in force beside those that are, under a person's signature.

    Nothing is weighed anew by it: that is what `ApplyPolicies` does.
    """
    before = home.store.policies.latest()
    whole = {**(before.files if before else {}), **files}
    subject = policy_subject(whole, replaces=before.subject if before else "")
    return put_in_force(
        home.store,
        whole,
        statement=by.sign(Act.APPLY_POLICIES, subject, now=now),
        person=home.store.people.get(by.name),
        organisation=home.organisation,
        log=home.log,
        now=now,
    )
