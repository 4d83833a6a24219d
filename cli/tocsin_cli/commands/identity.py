"""This module has the commands about the own identity: show, export, fingerprint."""

import click

from tocsin.errors import IdentityOutdated, ProfileMissing
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.command import Command, Entry, Section, group, json_option
from tocsin_cli.document import claim, document, timestamp_text
from tocsin_cli.session import Session, now

_HERE = "tocsin_cli.commands.identity"

identity = group(
    name="identity",
    examples=("tocsin identity show", "tocsin identity export > lab-a.tocsin", "tocsin identity fingerprint"),
    sections=(
        Section(
            "Commands",
            (
                Entry("show", f"{_HERE}:show", "Show who this node is."),
                Entry("export", f"{_HERE}:export", "Print the identity document that partners need."),
                Entry("fingerprint", f"{_HERE}:fingerprint", "Print what partners compare with you."),
            ),
        ),
    ),
    summary="Show or export the own identity.",
)


@click.command(cls=Command, examples=("tocsin identity show", "tocsin identity show --json"))
@json_option
@click.pass_obj
def show(session: Session, *, as_json: bool) -> None:
    """Show who this node is."""
    found = session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse)
    if as_json:
        output.document(document(found))
        return
    print_organisation(found.organisation)
    _print_verifier_keys(found.document)


@click.command(cls=Command, examples=("tocsin identity export > lab-a.tocsin",))
@json_option
@click.pass_obj
def export(session: Session, *, as_json: bool) -> None:
    """Print the identity document that partners need.

    It holds nothing secret. Send it any way you like, and the fingerprint by
    another one. A newer one is kept in your profile as well.
    """
    found = session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse)
    _keep(session, found)
    if as_json:
        output.document(document(found))
        return
    output.raw(found.document.rstrip(b"\n") + b"\n")
    output.hint(f"tell your partner the fingerprint by phone: {found.organisation.fingerprint}")


@click.command(cls=Command, examples=("tocsin identity fingerprint",))
@json_option
@click.pass_obj
def fingerprint(session: Session, *, as_json: bool) -> None:
    """Print what partners compare with you.

    It stays the same when keys change.
    """
    found = session.call(v1.GetIdentityRequest(), v1.GetIdentityResponse).organisation
    if as_json:
        output.document({"org": found.org, "fingerprint": found.fingerprint})
        return
    output.data(found.fingerprint)


def _keep(session: Session, found: v1.GetIdentityResponse) -> None:
    """Keep the document in the profile. Raises IdentityOutdated where keys were replaced and the node goes on without.

    One that cannot be written must not keep the document from partners.
    """
    try:
        session.profile.renew_identity(found.document, now=now())
    except ProfileMissing:
        pass
    except IdentityOutdated:
        message = f"the node goes on with version {found.organisation.version} of the identity document, an older one"
        hint = "the newer one is not read yet, so nothing was printed" + (
            ": ask an operator to reload the node"
            if session.is_remote
            else f"; let the node read it: kill -HUP $(cat {session.home}/lock)"
        )
        raise IdentityOutdated(message, hint=hint) from None


def _print_verifier_keys(document: bytes) -> None:
    """Print the keys under which checkpoints and cosignatures count: those in use first, then former ones."""
    from tocsin.identity.root import parse_identity

    organisation = parse_identity(document, now=0, check_expiry=False)
    output.pairs(
        [
            *(("log key", vkey) for vkey in organisation.log_vkeys),
            *(("witness key", vkey) for vkey in organisation.witness_vkeys),
        ]
    )


def print_organisation(organisation: v1.Organisation) -> None:
    """Print an organisation as its identity document states it."""
    output.styled(f"{organisation.org}  {organisation.name}", "bold")
    kind = claim(v1.OrganisationKind.DESCRIPTOR, organisation.kind)
    expires = f"version {organisation.version}, expires {timestamp_text(organisation.expires_at)}"
    output.pairs(
        [
            ("kind", kind),
            ("fingerprint", organisation.fingerprint),
            ("document", expires),
            ("endpoints", ", ".join(organisation.endpoints) or "none: it only pulls"),
            ("contact", organisation.contact),
            *(("record key", f"{key.key_id}  {key.status}") for key in organisation.record_keys),
            *(("delivery key", f"{key.key_id}  {key.status}") for key in organisation.delivery_keys),
            *(("certificate pin", pin) for pin in organisation.certificate_pins),
        ]
    )
