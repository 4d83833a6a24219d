"""This package proves what was issued: the tree, the checkpoints and the proofs of a transparency log.

    entry        64 bytes for each version and retraction of an origin, which say nothing to strangers
    merkle       the tree over them: roots, inclusion and consistency, as functions over numbers and hashes  RFC 6962
    note         text with signatures under it                                              C2SP signed-note
    checkpoint   size and root of a log, signed by it and cosigned by witnesses  C2SP tlog-checkpoint, tlog-cosignature
    proof        that an entry is in the tree of a checkpoint, as one text                    C2SP tlog-proof
    witness      what a witness is asked, and by which rules it answers                       C2SP tlog-witness
    quorum       whose cosignatures make a checkpoint good                                    C2SP tlog-policy
    judgement    since when witnesses have known an entry: what a key signed before it was stolen
    evidence     that an origin has shown two histories, for anybody to see offline
    tiles        the tree cut into files that never change                                    C2SP tlog-tiles

It is pure: hashes that are stored come in through a reader, new ones go out to
whoever stores them, and the time is an argument.
"""
