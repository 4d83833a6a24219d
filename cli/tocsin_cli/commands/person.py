"""This module has the commands about the organisation's own people: person card, add, list, change, remove, recover."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_bytes

import click

from tocsin.errors import TocsinError
from tocsin.identity.names import OrgId, parse_endpoint
from tocsin.identity.root import Organisation, parse_identity
from tocsin.people.card import parse_card
from tocsin.people.person import Role, parse_person_name
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, UsageProblem, group, input_path, json_option, read_input
from tocsin_cli.document import claim, document
from tocsin_cli.grid import Cell, Column
from tocsin_cli.profile import PersonKeys, Profile, default_folder, make_keys, new_profile
from tocsin_cli.session import Session, now, wait_for_lock

_HERE = "tocsin_cli.commands.person"
_ROLE_NUMBERS = {
    Role.ANALYST: v1.PERSON_ROLE_ANALYST,
    Role.RELEASER: v1.PERSON_ROLE_RELEASER,
    Role.POLICY_ADMIN: v1.PERSON_ROLE_POLICY_ADMIN,
    Role.AUDITOR: v1.PERSON_ROLE_AUDITOR,
    Role.OPERATOR: v1.PERSON_ROLE_OPERATOR,
}

COLUMNS = (Column("name"), Column("state"), Column("roles", flexible=True, wraps=True), Column("key"))

person = group(
    name="person",
    examples=(
        "tocsin person add analyst-1 --role analyst",
        "tocsin person add counsel --role releaser --card counsel.card",
        "tocsin person list",
    ),
    sections=(
        Section(
            "Commands",
            (
                Entry("card", f"{_HERE}:card", "Make keys on your own machine, and print the card to hand in."),
                Entry("add", f"{_HERE}:add", "Let a person work with the node."),
                Entry("list", f"{_HERE}:list_people", "List the organisation's own people."),
                Entry("change", f"{_HERE}:change", "Change what a person may do."),
                Entry("remove", f"{_HERE}:remove", "End what a person may do."),
                Entry("recover", f"{_HERE}:recover", "Give a person new keys, as whoever owns the home."),
            ),
        ),
    ),
    summary="Add, list, change or remove the organisation's own people.",
)

_name_argument = click.argument("name", metavar="NAME")
_role_option = click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="What the person may do; may be given more than once.",
)


@click.command(
    cls=Command,
    examples=(
        "tocsin person card analyst-1 --identity lab-a.tocsin > analyst-1.card",
        "tocsin person card counsel --identity lab-a.tocsin --desk lab-a.example:7471 > counsel.card",
    ),
)
@_name_argument
@click.option("--identity", type=input_path(), required=True, metavar="FILE", help="Your organisation's identity.")
@click.option("--desk", default="", metavar="HOST:PORT", help="Where the node takes calls from your machine.")
@json_option
def card(*, name: str, identity: Path, desk: str, as_json: bool) -> None:
    """Make keys on your own machine, and print the card to hand in.

    The keys never leave the profile that they are made in. The card holds
    nothing secret: give it to an operator of the node, and tell them the key
    by another way.
    """
    try:
        organisation = parse_identity(read_input(identity), now=now())
    except TocsinError as error:
        error.where = error.where or str(identity)
        raise
    profile = _profile(name, org=organisation.org, desk=desk and parse_endpoint(desk))
    with _new_person(profile) as (keys, save_identity):
        save_identity(organisation.document)
    text = keys.card(profile.name)
    if as_json:
        output.document({"name": profile.name, "org": profile.org, "key_id": keys.key_id, "card": text})
        return
    output.data(text)
    output.hint(f"your keys are in {profile.folder}; tell the operator your key: {keys.key_id}")
    output.hint(f"the identity is {organisation.org}'s if your people say this fingerprint: {organisation.fingerprint}")


@click.command(
    cls=Command,
    examples=(
        "tocsin person add analyst-1 --role analyst",
        "tocsin person add counsel --role releaser --role auditor --card counsel.card",
    ),
)
@_name_argument
@_role_option
@click.option("--card", "card_file", type=input_path(), metavar="FILE", help="What `tocsin person card` printed.")
@json_option
@click.pass_obj
def add(session: Session, *, name: str, roles: tuple[str, ...], card_file: Path | None, as_json: bool) -> None:
    """Let a person work with the node.

    With a card, the person has made its keys where it works; compare the key.
    Without one they are made here, in a profile of whoever runs this.
    """
    parse_person_name(name)
    if card_file is not None:
        answer = session.call(_request(_read_card(session, name, card_file), roles), v1.AddPersonResponse)
    else:
        me = session.profile
        profile = _profile(name, org=me.org, home=me.home, desk=me.desk)
        with _new_person(profile) as (keys, save_identity):
            save_identity(me.load_organisation().document)
            answer = session.call(_request(keys.card(name), roles), v1.AddPersonResponse)
    if as_json:
        output.document(document(answer))
        return
    _print_person(answer.person)
    if card_file is not None:
        output.hint(f"compare the key with what {name} sees: {answer.person.key_id}")
    else:
        output.hint(f"its keys are in {profile.folder}")
        output.hint(f"say from now on who is asking: --profile {me.name} or {name}, or TOCSIN_PROFILE")


@click.command("list", cls=Command, examples=("tocsin person list", "tocsin person list --json"))
@json_option
@click.pass_obj
def list_people(session: Session, *, as_json: bool) -> None:
    """List the organisation's own people."""
    found = session.call(v1.ListPeopleRequest(), v1.ListPeopleResponse)
    if as_json:
        output.document(document(found))
        return
    output.table(COLUMNS, [_row(one) for one in found.people])
    if found.strict:
        output.talk("strict: nobody may hold releaser, policy-admin and operator at once")


@click.command(cls=Command, examples=("tocsin person change analyst-1 --role analyst --role releaser",))
@_name_argument
@_role_option
@json_option
@click.pass_obj
def change(session: Session, *, name: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Change what a person may do.

    The roles that are given are all that it has from now on.
    """
    request = v1.ChangePersonRequest(name=name, roles=[_ROLE_NUMBERS[Role(role)] for role in roles])
    answer = session.call(request, v1.ChangePersonResponse)
    if as_json:
        output.document(document(answer))
        return
    _print_person(answer.person)


@click.command(cls=Command, examples=("tocsin person remove analyst-1",))
@_name_argument
@json_option
@click.pass_obj
def remove(session: Session, *, name: str, as_json: bool) -> None:
    """End what a person may do.

    Its running calls end at once. What it decided stays on record.
    """
    answer = session.call(v1.RemovePersonRequest(name=name), v1.RemovePersonResponse)
    if as_json:
        output.document(document(answer))
        return
    output.data(f"{answer.person.name} may do nothing any more")


@click.command(cls=Command, examples=("tocsin person recover operator",))
@_name_argument
@json_option
@click.pass_obj
def recover(session: Session, *, name: str, as_json: bool) -> None:
    """Give a person new keys, as whoever owns the home.

    For a stopped node, when keys are lost, and for a home from before there
    were people. Where nobody is left who may add people, the person gets every
    role. The decision log says that it was done.
    """
    from tocsin.desk.home import open_home
    from tocsin.desk.recovery import recover_person

    def find_out() -> Organisation:
        with open_home(session.home, now=now()) as home:
            return home.organisation

    organisation = wait_for_lock(find_out)
    profile = _profile(name, org=organisation.org, home=str(session.home))
    with _new_person(profile, replaces=True) as (keys, save_identity):
        save_identity(organisation.document)
        recovered = recover_person(session.home, keys.card(name), now=now())
    roles = sorted(role.value for role in recovered.roles)
    if as_json:
        answer = {"name": recovered.name, "roles": roles, "key_id": recovered.key_id, "profile": str(profile.folder)}
        output.document(answer)
        return
    output.data(f"{recovered.name} has new keys in {profile.folder}")
    output.data(f"roles {', '.join(roles)}")
    output.hint("what the lost keys signed counts no more; start the node, and see: tocsin status")


def roles_of(colleague: v1.Colleague) -> list[str]:
    """Return what a person may do, as it is written on the command line."""
    return [claim(v1.PersonRole.DESCRIPTOR, role) for role in colleague.roles]


def _profile(name: str, *, org: OrgId, home: str = "", desk: str = "") -> Profile:
    return Profile(folder=default_folder(parse_person_name(name), org), name=name, org=org, home=home, desk=desk)


@contextmanager
def _new_person(profile: Profile, *, replaces: bool = False) -> Iterator[tuple[PersonKeys, Callable[[bytes], object]]]:
    """Make keys, which are a profile once what is done in the context has succeeded."""
    keys = make_keys(profile.org, now=now(), random=token_bytes)
    with new_profile(profile, keys, replaces=replaces) as save_identity:
        yield keys, save_identity


def _read_card(session: Session, name: str, file: Path) -> str:
    """Return a card that is for the person that is meant; the node will read it again."""
    text = read_input(file).decode("utf-8", "replace").strip()
    try:
        read = parse_card(text, org=session.profile.org)
    except TocsinError as error:
        error.where = error.where or str(file)
        error.hint = error.hint or "a card is what `tocsin person card` prints, for this organisation"
        raise
    if read.name != name:
        raise UsageProblem(f"{file} is the card of {read.name}, not of {name}", "ask whose card it is")
    return text


def _request(card_text: str, roles: Sequence[str]) -> v1.AddPersonRequest:
    return v1.AddPersonRequest(card=card_text, roles=[_ROLE_NUMBERS[Role(role)] for role in roles])


def _print_person(colleague: v1.Colleague) -> None:
    output.data(f"{colleague.name} may act as {', '.join(roles_of(colleague))}")


def _row(colleague: v1.Colleague) -> list[Cell | str]:
    state = Cell("active", "green") if colleague.active else Cell("left", "dim")
    return [Cell(colleague.name, "bold"), state, ", ".join(roles_of(colleague)), colleague.key_id]
