"""This module has the commands about the policies as such: policy check, policy matrix; plan and apply are next door.

Files that are named on the command line stand in for those of the same name in
the home: they may lie anywhere and be called anything, because a partner's file
says whose it is, and one of nothing but rules of the floor is the floor. What
says neither, an empty file for one, must be called what it is.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click

from tocsin.errors import MalformedPolicy
from tocsin.policy.document import parse_document
from tocsin.policy.model import Problem
from tocsin.schema.contract import TLPS
from tocsin.v1 import desk_service_pb2 as v1
from tocsin.v1.record_pb2 import DisclosureClass, RecordKind, Tlp
from tocsin_cli import output
from tocsin_cli.command import (
    Command,
    Entry,
    Section,
    UsageProblem,
    complete_partner,
    group,
    input_path,
    json_option,
    read_input,
)
from tocsin_cli.document import claim, document
from tocsin_cli.grid import Cell, Column
from tocsin_cli.session import Session

FOLDER = "policies/"
FLOOR = "floor.toml"
_FLOOR_KEYS = frozenset({"never", "require"})
LEGEND = "? conditions have a say   ~ but for some fields   72h: so long after issue   +1: so many must agree"

policy = group(
    name="policy",
    examples=("tocsin policy check", "tocsin policy plan", "tocsin policy apply", "tocsin policy matrix"),
    sections=(
        Section(
            "Commands",
            (
                Entry("check", "tocsin_cli.commands.policy:check", "Report every problem in the policy files."),
                Entry("plan", "tocsin_cli.commands.plan:plan", "Say what changed policy files would release or stop."),
                Entry("apply", "tocsin_cli.commands.plan:apply", "Put policy files in force, under your signature."),
                Entry("matrix", "tocsin_cli.commands.policy:matrix", "Show how far records go to each partner."),
            ),
        ),
    ),
    summary="Check, plan and apply the policy files.",
)


class Named(NamedTuple):
    """A policy file that was named on the command line."""

    place: str
    file: v1.PolicyFile


@click.command(
    cls=Command,
    examples=("tocsin policy check", "tocsin policy check aisi.toml", "tocsin policy check --json"),
)
@click.argument("files", nargs=-1, type=input_path(), metavar="[FILE...]")
@json_option
@click.pass_obj
def check(session: Session, *, files: tuple[Path, ...], as_json: bool) -> None:
    """Report every problem in the policy files.

    Reads those in the home as they are on disk now, and each FILE in the place
    of the one for the same partner. With a problem the exit code is 3.
    """
    named = read_policies(files)
    found = session.call(v1.CheckPoliciesRequest(files=[one.file for one in named]), v1.CheckPoliciesResponse)
    if as_json:
        output.document(document(found))
    else:
        _print_checked(found)
    refuse_problems(found.problems, named)


def _print_checked(found: v1.CheckPoliciesResponse) -> None:
    for partner in found.partners:
        output.data(f"{partner}  in order")
    if not found.partners and not found.problems:
        output.talk("no partner has a policy file; tocsin peer add writes one")
    for warning in found.warnings:
        output.warning(warning)
    if found.changed_files and not found.problems:
        output.warning(f"not in force as they are: {', '.join(found.changed_files)}")
        output.hint("see what they would change: tocsin policy plan; put them in force: tocsin policy apply")


def read_policies(files: Sequence[Path]) -> list[Named]:
    """Read policy files that somebody names.

    Raises MalformedPolicy, and UsageProblem where it is not clear whose a file is, or two are for one partner.
    """
    named = [_read(file) for file in files]
    for name in {one.file.name for one in named}:
        places = [one.place for one in named if one.file.name == name]
        if len(places) > 1:
            raise UsageProblem(f"{' and '.join(places)} are both {FOLDER}{name}", "name one of them")
    return named


def _read(file: Path) -> Named:
    place = "standard input" if str(file) == "-" else str(file)
    try:
        text = read_input(file).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPolicy("not UTF-8 text", where=place) from None
    return Named(place, v1.PolicyFile(name=_name_of(text, file.name, place=place), text=text))


def _name_of(text: str, called: str, *, place: str) -> str:
    """Return what a policy file is called in the home: by what it says, else by how it is called already."""
    problems: list[Problem] = []
    sections = parse_document(text, file=place, problems=problems)
    tables = {section.name for section in sections if section.name}
    head = sections[0].values if sections else {}
    partner = head.get("partner")
    if isinstance(partner, str) and partner and "/" not in partner:
        return f"{partner}.toml"
    if tables and tables <= _FLOOR_KEYS and not head:
        return FLOOR
    if called != FLOOR and "." not in called.removesuffix(".toml"):
        refuse_problems([v1.PolicyProblem(file=place, line=one.line, message=one.shown) for one in problems], ())
        raise UsageProblem(
            f"{place} does not say whose policy it is",
            f'begin it with partner = "ORG", or call it {FLOOR} or ORG.toml',
        )
    return called  # the node says what is wrong with it, and where


def refuse_problems(problems: Iterable[v1.PolicyProblem], named: Iterable[Named]) -> None:
    """Raise MalformedPolicy where there are problems, each at the place where people find it."""
    places = {f"{FOLDER}{one.file.name}": one.place for one in named}
    details = tuple(f"{places.get(one.file, one.file)}:{one.line}: {one.message}" for one in problems)
    if details:
        count = len(details)
        raise MalformedPolicy(
            f"{count} problem{'s' if count > 1 else ''} in the policy files",
            details=details,
            hint="files with a problem cannot be put in force; what is in force stays in force",
        )


@click.command(
    cls=Command,
    examples=("tocsin policy matrix", "tocsin policy matrix aisi.example", "tocsin policy matrix --json"),
)
@click.argument("partners", nargs=-1, metavar="[PARTNER...]", shell_complete=complete_partner)
@json_option
@click.pass_obj
def matrix(session: Session, *, partners: tuple[str, ...], as_json: bool) -> None:
    """Show how far records go to each partner.

    For each kind and marking: the class up to which fields go, at most.
    """
    found = session.call(v1.GetPolicyMatrixRequest(partners=partners), v1.GetPolicyMatrixResponse)
    if as_json:
        output.document(document(found))
        return
    if not found.cells:
        output.talk("no partner has a policy in force")
        return
    for partner, cells in groupby(found.cells, key=lambda cell: cell.partner):
        output.styled(partner, "bold")
        output.table((Column("kind"), *(Column(f"TLP:{tlp}") for tlp in TLPS)), _rows(list(cells)))
        output.data()
    output.talk(LEGEND)


def _rows(cells: Sequence[v1.PolicyCell]) -> list[list[Cell | str]]:
    found = {(subject_of(cell), claim(Tlp.DESCRIPTOR, cell.tlp)): cell for cell in cells}
    kinds = dict.fromkeys(subject_of(cell) for cell in cells)
    return [[kind, *(cell_of(found.get((kind, tlp), v1.PolicyCell())) for tlp in TLPS)] for kind in kinds]


def subject_of(cell: v1.PolicyCell) -> str:
    """Return the kind of record that a cell is about, and whether it is about those of others."""
    kind = claim(RecordKind.DESCRIPTOR, cell.kind)
    return f"{kind}, of others" if cell.relayed else kind


def cell_of(cell: v1.PolicyCell) -> Cell:
    """Return how far records go, and on what terms, in a few letters; `LEGEND` says what they mean."""
    if not cell.classes:
        return Cell("—", "dim")
    marks = "?" * cell.conditional + "~" * cell.withheld
    hold = f" {_duration(cell.hold_seconds)}" if cell.hold_seconds else ""
    approvals = f" +{cell.approvals}" if cell.approvals else ""
    return Cell(f"{claim(DisclosureClass.DESCRIPTOR, cell.classes)}{marks}{hold}{approvals}", "green")


def _duration(seconds: int) -> str:
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
