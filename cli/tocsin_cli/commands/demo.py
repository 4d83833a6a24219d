"""This module has the command that shows the whole exchange on one machine."""

import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from tocsin.interchange import READERS
from tocsin_cli import output
from tocsin_cli.command import Command, input_path
from tocsin_cli.demo import exchange, faces, life, promises, release
from tocsin_cli.demo.network import LAB_A, Network
from tocsin_cli.demo.story import Story


@click.command(
    cls=Command,
    examples=(
        "tocsin demo                                    some seconds, and nothing is left behind",
        "tocsin demo --import avid reports.jsonl --import atlas ATLAS.yaml",
        "tocsin demo --keep /tmp/three                  keeps the homes, to look around in",
    ),
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the three homes and their people's keys in this folder, which must not exist.",
)
@click.option(
    "--import",
    "imports",
    type=(click.Choice(list(READERS)), input_path()),
    multiple=True,
    metavar="FORMAT FILE",
    help="Let lab-a import these records too; may be given more than once.",
)
def demo(*, keep: Path | None, imports: tuple[tuple[str, Path], ...]) -> None:
    """Watch three organisations exchange records on this machine.

    Starts a node for each of two labs and a government institute, with
    temporary homes and loopback ports, posts a dozen records at one of them,
    shows what each organisation sees, how a record is amended, signed for and
    taken back, and how one that shows its partners two histories is caught.
    Ends them and cleans up.
    """
    signal.signal(signal.SIGTERM, _interrupt)  # so that our nodes end with us
    output.styled("Tocsin: organisations tell each other about AI risks, each field under its own policy.", "bold")
    with Network(keep) as network:
        _tell(Story(network), imports)
        output.data()
        if keep:
            profile = network[LAB_A].session.profile.folder
            output.hint(f"the nodes have stopped; start one again: tocsin --profile {profile} serve")
            output.hint(f"and look around in it: tocsin --profile {profile} list")
        else:
            output.hint('everything is cleaned up; make your own home: tocsin init ORG --kind lab --name "…"')


def _tell(story: Story, imports: Sequence[tuple[str, Path]]) -> None:
    exchange.meet(story)
    exchange.post(story, imports)
    exchange.travel(story)
    record_id = promises.compare(story)
    promises.verify(story, record_id)
    promises.refuse_reader(story)
    promises.sync_again(story)
    release.approve(story)
    release.loosen(story)
    release.reveal(story, record_id)
    amended, purged = life.choose(story, but=record_id)
    life.amend(story, amended)
    life.sign_for(story, amended)
    life.purge(story, purged)
    faces.show_two(story)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
