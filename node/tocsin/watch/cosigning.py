"""This module cosigns the logs of others: what is cosigned is kept first, in the same transaction (C2SP tlog-witness).

A witness says that a tree was the largest that it had seen of a log, and that
it began with all it had seen before. So it never says it of a smaller one, nor
of an earlier time than the last.
"""

from tocsin.errors import CheckpointRefused
from tocsin.identity.names import OrgId
from tocsin.release.office import Office
from tocsin.tlog.checkpoint import parse_checkpoint
from tocsin.tlog.witness import Held, judge, parse_request
from tocsin.watch.origins import Origins, Watch, cosign_tree
from tocsin.watch.signatures import keep_cosigned


def add_checkpoint(office: Office, origins: Origins, request: str, *, now: int) -> str:
    """Return our cosignature line for a checkpoint, by the rules of `tlog.witness.judge`.

    Raises what `judge` and `Watch.look` raise: also OriginStopped, for a log that was caught or is by this.
    """
    read = parse_request(request)
    watch = Watch(office, origins, now=now)
    watch.look(read.checkpoint)
    with office.store.transaction():
        org = OrgId(parse_checkpoint(read.checkpoint).checkpoint.origin.removesuffix("/tocsin"))
        row = office.store.logs.get(org)
        held = Held(row.cosigned, row.cosigned_root) if row.cosigned else None

        def vkeys_of(_: str) -> tuple[str, ...] | None:
            known = watch.verify(read.checkpoint)
            return known[0].log_vkeys if known else None

        checkpoint = judge(read, held=held, vkeys_of=vkeys_of)
        watch.verify_taking(org)
        line = cosign_tree(office, org, checkpoint, now=now)
        if not line:
            raise CheckpointRefused("our clock is behind our last cosignature", reason="FUTURE_COSIGNATURE")
        if known := watch.verify(
            read.checkpoint
        ):  # kept as it is cosigned: it may prove something when the log is read
            keep_cosigned(office.store.logs, org, watch.put_together(known[0], checkpoint, line), now=now)
        return line
