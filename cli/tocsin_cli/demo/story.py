"""This module is the frame of the demo's story: each step has a heading and one plain sentence.

Nothing is acted: every line printed is the answer of a running node, and a
step whose promise is not kept ends the demo with an error.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tocsin.errors import PeerMisbehaved
from tocsin.v1 import desk_service_pb2 as v1
from tocsin_cli import output
from tocsin_cli.demo.network import AISI, LAB_B, Member, Network
from tocsin_cli.grid import Cell

ARRIVAL_SECONDS = 45.0
"""Longest wait for records to arrive; 1,250 of them take a few seconds on a laptop."""
POLL_SECONDS = 0.1

Row = tuple[Cell | str, ...]


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    network: Network
    step: int = 0
    posted: list[v1.PostedRecord] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=lambda: dict.fromkeys((LAB_B.org, AISI.org), 0))

    def tell(self, title: str, sentence: str) -> None:
        """Print the heading of the next step, and what it is about."""
        self.step += 1
        output.data()
        output.styled(f"{self.step}. {title}", "bold cyan")
        output.styled(sentence)
        output.data()

    def expect(self, results: Sequence[v1.PostedRecord]) -> None:
        """Count who has to get how many of these."""
        for org in (org for result in results for org in result.queued_for):
            self.expected[org] += 1


def view(story: Story, member: Member, *, record_id: str) -> v1.Record:
    """Return a record as one organisation holds it."""
    request = v1.GetRecordRequest(id=record_id, with_token=True)
    return story.network[member].session.call(request, v1.GetRecordResponse).record


def wait_until(arrived: Callable[[], bool], *, otherwise: str) -> None:
    """Ask again and again until something has arrived.

    Raises PeerMisbehaved where it does not in time.
    """
    give_up = time.monotonic() + ARRIVAL_SECONDS
    while not arrived():
        if time.monotonic() > give_up:
            raise PeerMisbehaved(
                f"{otherwise} after {ARRIVAL_SECONDS:.0f} seconds",
                hint="is the machine very busy? --keep DIR keeps the logs of the nodes",
            )
        time.sleep(POLL_SECONDS)
    output.progress("")
