"""This module looks a draft over before it is posted: what the linter finds, and what the poster took upon itself.

A finding warns. It blocks a record that goes beyond AMBER, today or by the
schedule that is signed with it, until the poster overrides it by name: `email`
everywhere, or `email@summary` in one field.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tocsin.desk.layout import Layout, cause
from tocsin.desk.messages import disclosure_value
from tocsin.errors import HomeDamaged, ReleaseBlocked
from tocsin.records.record import VerifiedRecord
from tocsin.release.lint import Finding, lint
from tocsin.v1 import desk_service_pb2 as v1

FAR: Final = frozenset({"CLEAR", "GREEN"})
"""Markings beyond AMBER: whoever gets such a record may pass it on."""


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found in a record; the value itself is never repeated."""

    findings: tuple[Finding, ...]
    overrides: frozenset[str]
    goes_far: bool

    @property
    def overridden(self) -> tuple[Finding, ...]:
        """Return the findings that the poster took upon itself."""
        return tuple(finding for finding in self.findings if self.is_overridden(finding))

    def is_overridden(self, finding: Finding) -> bool:
        """Say whether the poster named a finding, by its rule, or by its rule in this field."""
        return not self.overrides.isdisjoint({finding.rule, f"{finding.rule}@{finding.path}"})

    def verify(self) -> None:
        """Refuse a record that goes far with anything in it that nobody took upon itself. Raises ReleaseBlocked."""
        open_yet = [finding for finding in self.findings if not self.is_overridden(finding)]
        if open_yet and self.goes_far:
            names = " ".join(f"--override {name}" for name in sorted({f"{one.rule}@{one.path}" for one in open_yet}))
            raise ReleaseBlocked(
                "the content holds what should not go beyond AMBER",
                details=tuple(f"{one.path} holds what the rule {one.rule} of the linter finds" for one in open_yet),
                hint=f"take it out, or take it upon yourself: {names}",
            )

    def messages(self) -> list[v1.LintFinding]:
        """Return the findings as the contract says them."""
        return [
            v1.LintFinding(
                rule=finding.rule,
                path=finding.path,
                disclosure=disclosure_value(finding.disclosure),
                overridden=self.is_overridden(finding),
            )
            for finding in self.findings
        ]


def lint_record(record: VerifiedRecord, *, overrides: Collection[str], names: Collection[str]) -> Linted:
    """Look a record over; `names` are those that the organisation does not want to see go far."""
    widest = record.downgrade_at[-1].tlp if record.downgrade_at else record.tlp
    findings = lint(record.kind, record.content, names=names)
    return Linted(findings, frozenset(overrides), widest in FAR)


def load_names(layout: Layout) -> tuple[str, ...]:
    """Read the names that must not go far, one a line; there need not be any.

    Raises HomeDamaged where the file cannot be read: nobody is to believe that
    there are none.
    """
    try:
        lines = layout.names.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        why = cause(error) if isinstance(error, OSError) else "not UTF-8 text"
        hint = "write one name a line, or remove the file"
        raise HomeDamaged(f"the names cannot be read: {why}", where=layout.relative(layout.names), hint=hint) from None
    return tuple(line.strip() for line in lines if line.strip())
