"""This module keeps one transparency log: it appends, signs what it has become, and proves what is in it.

    entries ──► merkle.append ──► shelf: entries and nodes ──► checkpoint, signed ──► shelf
                                     │
                     proofs  ◄───────┘  reads O(log size) nodes, and never the whole log

The log of our own grows here and is signed by us; a log that we follow grows
by what its origin gives us, and is held against the checkpoint that the origin
signed. Whoever calls decides what is one transaction: an entry and what it is
about are kept together or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from tocsin.errors import CheckpointRefused, Conflict, LogInconsistent, MalformedLog, OriginStopped
from tocsin.identity.names import OrgId
from tocsin.identity.signer import Signer
from tocsin.identity.vkey import NoteAlgorithm, format_vkey, log_name, witness_name
from tocsin.tlog.checkpoint import (
    Checkpoint,
    VerifiedCheckpoint,
    cosign,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from tocsin.tlog.entry import id_half, verify_length
from tocsin.tlog.merkle import (
    Node,
    append,
    consistency_proof,
    inclusion_proofs,
    leaf_hash,
    root,
)
from tocsin.tlog.proof import LogProof
from tocsin.tlog.reading import examine


class Standing(Protocol):
    """What a shelf says of a log: `size` entries, and a checkpoint of the first `signed` of them."""

    @property
    def size(self) -> int:
        """How many entries are held."""

    @property
    def checkpoint(self) -> str:
        """The newest checkpoint that was signed; empty: none."""

    @property
    def signed(self) -> int:
        """Of how many entries that is."""

    @property
    def cosigned(self) -> int:
        """Of how many entries the largest tree is that we have cosigned."""

    @property
    def cosigned_root(self) -> bytes:
        """Return the root of that tree."""

    @property
    def cosigned_at(self) -> int:
        """The time in our last cosignature."""

    @property
    def stopped(self) -> str:
        """Why nothing is taken from the origin, or issued by us; empty: it is."""


class Logged(Protocol):
    """What a shelf says of an entry."""

    @property
    def number(self) -> int:
        """Which one it is, from 0."""

    @property
    def entry(self) -> bytes:
        """Its 64 bytes."""


class Shelf(Protocol):
    """What a log needs of whoever stores it; `tocsin.store` has one."""

    def get(self, origin: str) -> Standing:
        """Return where the log stands."""

    def append(
        self,
        origin: str,
        entries: Sequence[bytes],
        nodes: Sequence[tuple[tuple[int, int], bytes]],
        *,
        size: int,
        now: int,
    ) -> int:
        """Keep entries and nodes, and return the new size."""

    def nodes(self, origin: str, wanted: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the hashes of nodes."""

    def entries(self, origin: str, *, start: int, limit: int) -> Sequence[bytes]:
        """Return entries in their order, from a number on."""

    def named(self, origin: str, *names: bytes) -> Sequence[Logged]:
        """Return the entries with one of some id halves, in their order."""

    def set_checkpoint(self, origin: str, text: str, *, signed: int, now: int) -> None:
        """Keep a checkpoint."""

    def note_cosigned(self, origin: str, size: int, root: bytes, *, now: int) -> None:
        """Keep that we cosign a tree."""


@dataclass(frozen=True, slots=True)
class TransparencyLog:
    """The log of one organisation, on a shelf."""

    shelf: Shelf
    org: OrgId

    @property
    def size(self) -> int:
        """Return how many entries are held."""
        return self.shelf.get(self.org).size

    def append(self, entries: Sequence[bytes], *, now: int) -> int:
        """Append entries, and return how many there are then. The caller holds the transaction.

        Raises MalformedLog (BAD_ENTRY) for one that is none, and StoreCorrupt where a node is missing.
        """
        size = self.size
        return self.shelf.append(self.org, entries, self._nodes(entries, size=size), size=size, now=now)

    def _nodes(self, entries: Sequence[bytes], *, size: int) -> list[tuple[Node, bytes]]:
        """Return the nodes that become complete when entries follow so many."""
        return append(size, [leaf_hash(verify_length(entry)) for entry in entries], self.read)

    def root(self, size: int) -> bytes:
        """Return the root of the tree over the first entries."""
        return root(size, self.read)

    def sign(self, signer: Signer, *, now: int) -> str:
        """Sign what the log is now, and keep that as its newest checkpoint. The caller holds the transaction."""
        size = self.size
        return self._sign(size, self.root(size), signer=signer, now=now)

    def _sign(self, size: int, root: bytes, *, signer: Signer, now: int) -> str:
        text = sign_checkpoint(Checkpoint(log_name(self.org), size, root), signer=signer)
        self.shelf.set_checkpoint(self.org, text, signed=size, now=now)
        return text

    def begins_with(self, checkpoint: VerifiedCheckpoint) -> bool:
        """Say whether what is held begins with the tree of a checkpoint that is no larger."""
        return self.root(checkpoint.checkpoint.size) == checkpoint.checkpoint.root

    def prove(self, entry: bytes) -> LogProof | None:
        """Return the proof that an entry is in the tree that was signed last; None: it is not."""
        return self.prove_all((entry,)).get(entry)

    def prove_all(self, entries: Sequence[bytes]) -> dict[bytes, LogProof]:
        """Return the proofs of those entries that are in the tree that was signed last; what is shared is read once."""
        standing = self.shelf.get(self.org)
        wanted, numbers = set(entries), dict[bytes, int]()
        for one in self.shelf.named(self.org, *map(id_half, entries)):
            if one.entry in wanted and one.number < standing.signed:
                numbers.setdefault(one.entry, one.number)
        proofs = inclusion_proofs(tuple(numbers.values()), standing.signed, self.read)
        return {
            entry: LogProof(number, hashes, standing.checkpoint)
            for (entry, number), hashes in zip(numbers.items(), proofs, strict=True)
        }

    def has(self, entry: bytes) -> bool:
        """Say whether an entry is in the tree that was signed last."""
        named, signed = self.shelf.named(self.org, id_half(entry)), self.shelf.get(self.org).signed
        return any(one.entry == entry and one.number < signed for one in named)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the proof that the tree of `new` entries begins with the tree of `old` ones."""
        return consistency_proof(old, new, self.read)

    def read(self, nodes: Sequence[Node]) -> Sequence[bytes]:
        """Read nodes from the shelf."""
        return self.shelf.nodes(self.org, nodes)


@dataclass(frozen=True, slots=True)
class OwnLog(TransparencyLog):
    """The log of our own organisation, which we sign; `witness` is the key by which we say what it is at a time."""

    signer: Signer
    witness: Signer

    def verify(self, vkeys: Sequence[str]) -> None:
        """Verify that what is held is what was signed; it reads O(log size) of it where it is.

        1. the checkpoint is one of ours, under one of our keys
        2. it is of as many entries as are held
        3. the tree over them has its root

        Where the key that signs today has not signed it (`is_current`), the
        caller gives the keys that a version of our document has ever named,
        and has it signed again: one that was stolen may have signed it last.

        Raises LogInconsistent, which names the first entry that is not what was signed, where one is found.
        """
        standing = self.shelf.get(self.org)
        if not standing.size and not standing.checkpoint:
            return
        try:
            signed = verify_checkpoint(standing.checkpoint, origin=log_name(self.org), vkeys=vkeys)  # 1
        except (MalformedLog, CheckpointRefused) as error:
            raise _inconsistent(f"its checkpoint is not ours: {error.message}") from error
        if signed.checkpoint.size != standing.size:  # 2
            raise _inconsistent(f"it has {standing.size} entries, and {signed.checkpoint.size} were signed")
        if not self.begins_with(signed):  # 3
            tree = signed.checkpoint
            raise _inconsistent(next(examine(self, signed=tree.size, root=tree.root)))

    def is_current(self) -> bool:
        """Say whether its checkpoint is signed by the key that signs today; where nothing was signed, it is."""
        standing = self.shelf.get(self.org)
        return not (standing.size or standing.checkpoint) or self._signed(standing.checkpoint) is not None

    def issue(self, *entries: bytes, now: int) -> None:
        """Append what is issued, and sign the log over it. The caller holds the transaction.

        Raises MalformedLog (BAD_ENTRY), StoreCorrupt, Conflict (EQUIVOCATION)
        for a second digest under one id and version, and OriginStopped where
        the home was put back to an earlier state, and nobody knows yet how long the log was.
        """
        self.verify_free(entries)
        self.enter(entries, now=now)

    def verify_free(self, entries: Sequence[bytes]) -> None:
        """Refuse a second digest under one id and version. Raises Conflict (EQUIVOCATION) and MalformedLog."""
        wanted = {id_half(entry): entry for entry in entries}
        if any(wanted[id_half(one.entry)] != one.entry for one in self.shelf.named(self.org, *wanted)):
            raise Conflict(
                "the log has something else under this id and version, which was lost here",
                reason="EQUIVOCATION",
                hint="issue the next version instead",
            )

    def enter(self, entries: Sequence[bytes], *, now: int) -> None:
        """Append entries that `verify_free` has let through in this transaction, and sign the log over them."""
        standing = self.shelf.get(self.org)
        if standing.stopped:
            raise OriginStopped(
                f"nothing can be issued now: {standing.stopped}",
                hint="see whom it waits for, and how to go on without: tocsin log show",
            )
        nodes = self._nodes(entries, size=standing.size)
        size = self.shelf.append(self.org, entries, nodes, size=standing.size, now=now)
        self._sign(size, self.root(size), signer=self.signer, now=now)

    def gather(self) -> "GatheringLog":
        """Return the log as one that takes what is issued in one transaction, to be entered together at its end."""
        return GatheringLog(self.shelf, self.org, self.signer, self.witness)

    def show(self, *, now: int) -> str:
        """Return the newest checkpoint, under which we say that it is the newest: cosigned with our own witness key.

        So two that were shown in the wrong order prove that the log was put
        back. While our clock is behind what we said last, nothing is said of
        the time: an honest log must never look like one that was put back.
        A checkpoint that another key of ours has signed is signed again: a
        call that began before a key took over goes on with the old one.
        Empty while the log waits: nobody knows how long it was. The caller
        holds the transaction.

        Raises LogInconsistent where another tree is held than was signed.
        """
        standing = self.shelf.get(self.org)
        if standing.stopped:
            return ""
        checkpoint = self._signed(standing.checkpoint) or self._sign_again(standing.checkpoint, now=now)
        if now < standing.cosigned_at:
            return checkpoint.text
        tree = checkpoint.checkpoint
        if (standing.cosigned, standing.cosigned_root, standing.cosigned_at) != (tree.size, tree.root, now):
            self.shelf.note_cosigned(self.org, tree.size, tree.root, now=now)  # else it was kept, in this very second
        return checkpoint.text + _cosign(checkpoint, witness_name(self.org), self.witness, now)  # type: ignore[arg-type]

    def _signed(self, text: str) -> VerifiedCheckpoint | None:
        """Return a checkpoint that the key signed that signs today; None for any other text."""
        try:
            return verify_checkpoint(text, origin=log_name(self.org), vkeys=(self.vkey,))
        except (MalformedLog, CheckpointRefused):
            return None

    def _sign_again(self, text: str, *, now: int) -> VerifiedCheckpoint:
        """Sign the tree of a checkpoint with the key of today, if it is the one that is held."""
        size = self.size
        try:
            is_same = not text or parse_checkpoint(text).checkpoint == Checkpoint(
                log_name(self.org), size, self.root(size)
            )
        except MalformedLog as error:
            raise _inconsistent(f"its checkpoint is none: {error.message}") from error
        if not is_same:
            raise _inconsistent("its checkpoint is of another tree than is held")
        return verify_checkpoint(self.sign(self.signer, now=now), origin=log_name(self.org), vkeys=(self.vkey,))

    @property
    def vkey(self) -> str:
        """Return the verifier key of the key that signs today."""
        return format_vkey(log_name(self.org), algorithm=NoteAlgorithm.ED25519, public_key=self.signer.public_key)

    @property
    def witness_vkey(self) -> str:
        """Return the verifier key by which we say today what we have seen of a log."""
        key = self.witness.public_key
        return format_vkey(witness_name(self.org), algorithm=NoteAlgorithm.COSIGNATURE_V1, public_key=key)


@dataclass(frozen=True, slots=True)
class GatheringLog(OwnLog):
    """Our log, which takes what is issued in one transaction: what is `pending` is entered at its end, and signed once.

    Until then none of it is in the log, nor can be proved.
    """

    pending: list[bytes] = field(default_factory=list)

    def enter(self, entries: Sequence[bytes], *, now: int) -> None:
        """Take what is issued."""
        self.pending.extend(entries)


@lru_cache(2)  # what many partners are shown within a second
def _cosign(checkpoint: VerifiedCheckpoint, name: str, signer: Signer, now: int) -> str:
    """Return the line that says that a checkpoint was the newest at a time: a signer makes the same one again."""
    return cosign(checkpoint, name=name, signer=signer, now=now)


def _inconsistent(problem: str) -> LogInconsistent:
    hint = "restore the latest backup, and let the peers give back what it lacks: tocsin restore"
    return LogInconsistent(f"our transparency log does not hold together: {problem}", hint=hint)
