"""This module keeps logs as a hostile origin does: as many histories as it likes, each shown at any time.

The keys are those that everybody knows of the organisation; a branch is told
apart by its entries, each of them named by a word.
"""

import hashlib
from functools import cache

from tests.exchange.notary import Memory
from tests.support.organisations import NOW, found, seeded
from tocsin.identity.vkey import log_name, witness_name
from tocsin.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, cosign, parse_checkpoint, sign_checkpoint
from tocsin.tlog.log import TransparencyLog
from tocsin.tlog.merkle import inclusion_proof
from tocsin.tlog.note import Signature
from tocsin.tlog.proof import LogProof, format_proof
from tocsin.watch.growth import MOST_ENTRIES, Growth

founded = cache(found)


def entry(word, said=""):
    """Return an entry; of one word, another thing that is said makes another digest."""
    return hashlib.sha256(word.encode()).digest() + hashlib.sha256(f"{word} {said}".encode()).digest()


def words(text):
    return [entry(word) for word in text.split()]


class Branch:
    """One history of an origin's log."""

    def __init__(self, org, text=""):
        self.org = org
        self.founded = founded(org)
        self.shelf = Memory()
        self.log = TransparencyLog(self.shelf, org)
        self.add(*words(text))

    def add(self, *entries):
        if entries:
            self.log.append(entries, now=NOW)
        return self

    @property
    def size(self):
        return self.log.size

    def bare(self, size=None, *, signer=None):
        """Return the checkpoint of its first entries, with the log's signature alone."""
        size = self.size if size is None else size
        checkpoint = Checkpoint(log_name(self.org), size, self.log.root(size))
        return sign_checkpoint(checkpoint, signer=signer or self.founded.log)

    def note(self, size=None, *, at=NOW, signer=None, witness=None):
        """Return the checkpoint of its first entries, as the origin says at a time that it is its newest."""
        text = self.bare(size, signer=signer)
        return text + line(text, witness_name(self.org), witness or self.founded.witness, at=at)

    def growth(self, start, size=None, *, limit=MOST_ENTRIES, note=""):
        """Return how it goes on behind an entry, up to the tree of a size."""
        size = self.size if size is None else size
        entries = tuple(self.shelf.entries(self.org, start=start, limit=min(limit, size - start)))
        end = start + len(entries)
        return Growth(
            checkpoint=note or self.note(size),
            start=start,
            entries=entries,
            start_root=self.log.root(start),
            start_proof=self.log.consistency(start, size),
            end_proof=self.log.consistency(end, size) if end < size else (),
        )

    def proof(self, index, size=None, *, note=""):
        """Return the proof that an entry is in the tree of a size."""
        size = self.size if size is None else size
        return format_proof(LogProof(index, inclusion_proof(index, size, self.log.read), note or self.note(size)))


def line(text, name, signer, *, at=NOW):
    """Return the line by which somebody cosigns a checkpoint."""
    read = parse_checkpoint(text)
    return cosign(VerifiedCheckpoint(read.checkpoint, read.note), name=name, signer=signer, now=at)


def cosigned(text, *orgs, at=NOW):
    """Return a checkpoint with the cosignatures of organisations under it."""
    return text + "".join(line(text, witness_name(org), founded(org).witness, at=at) for org in orgs)


def junk(count, *, seed="junk", name="junk.example/witness"):
    """Return signature lines of keys that nobody knows."""
    random = seeded(seed)
    return "".join(Signature(name, random(4), random(72)).line() for _ in range(count))
