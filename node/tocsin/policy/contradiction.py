"""This module finds what a rule says and cannot do: whoever reads the file would believe it.

Rules that do nothing because of other rules are found by `tocsin.policy.idle`.
"""

from collections.abc import Collection, Iterable

from tocsin.policy.clauses import MOST_RELAYED_CLASS, RELAYED_TLPS, Never, Require, Share
from tocsin.policy.document import SectionReader
from tocsin.policy.idle import matches_nothing
from tocsin.policy.reach import covered, covered_leaves, leaves
from tocsin.schema.contract import Disclosure


def check_relayed(reader: SectionReader, share: Share) -> None:
    """Report what a rule about others' records says and cannot do."""
    if not share.relayed:
        return
    if share.max_tlp not in RELAYED_TLPS:
        reader.report(f"max_tlp: records of others are passed on up to TLP:{RELAYED_TLPS[-1]}", key="max_tlp")
    if share.classes > MOST_RELAYED_CLASS:
        problem = f"classes: of others' records nothing above {MOST_RELAYED_CLASS.name} is passed on"
        reader.report(problem, key="classes")
    if share.reveal:
        reader.report("reveal: fields of class NAMED are for those whom their origin names", key="reveal")
    if share.name_withheld:
        problem = "name_withheld: which fields others' records have is for their origin to tell"
        reader.report(problem, key="name_withheld")


def check_match(reader: SectionReader, rule: Share | Never | Require) -> None:
    """Report a condition that nothing can make true."""
    if matches_nothing(rule):
        reader.report("when: no record that this rule covers can make it true", key="when")


def check_reveal(
    reader: SectionReader, reveal: Iterable[str], withhold: Collection[str], kinds: Collection[str]
) -> None:
    """Report revealed paths in which there is nothing to reveal."""
    for path in sorted(reveal):
        inside = {leaves(kind)[leaf].disclosure for kind in kinds for leaf in covered_leaves(kind, (path,))}
        if covered(path, withhold):
            reader.report(f"reveal: {path} is also withheld, by the same rule", key="reveal", value=path)
        elif inside == {Disclosure.LOCAL}:
            reader.report(f"reveal: {path} is of class LOCAL and never leaves the node", key="reveal", value=path)
        elif inside and Disclosure.NAMED not in inside:
            widest = max(inside - {Disclosure.LOCAL}).name
            reader.report(
                f"reveal: {path} is not of class NAMED but {widest}: say so in classes", key="reveal", value=path
            )
