"""The key of our log is replaced, or was stolen: the log that it signed is signed again, and no other."""

import secrets
from dataclasses import replace

import pytest

from tests.desk.conftest import FINDING
from tests.support.organisations import NOW, found, signer
from tocsin.desk.home import open_home
from tocsin.desk.papers import load_papers
from tocsin.desk.rotation import revoke_key, rotate_key
from tocsin.desk.witnessing import newest_with_cosignatures
from tocsin.errors import CheckpointRefused, LogInconsistent
from tocsin.identity.names import OrgId
from tocsin.identity.root import named_log_vkeys
from tocsin.identity.vkey import log_name, witness_name
from tocsin.store.model import AuditFilter
from tocsin.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint, verify_checkpoint
from tocsin.tlog.log import OwnLog
from tocsin.tlog.proof import MAX_FILE, parse_proof
from tocsin.v1 import desk_service_pb2 as v1

DAY = 86_400


@pytest.fixture
def issued(office):
    """An office that has issued three versions, and the log of it."""
    for number in range(3):
        office.post(FINDING | {"title": f"number {number}"})
    return office


def signed_by(home, vkey):
    """Say whether the checkpoint that is kept is signed by a key, and of everything that was issued."""
    standing = home.store.logs.get(home.organisation.org)
    try:
        found = verify_checkpoint(standing.checkpoint, origin=log_name(home.organisation.org), vkeys=[vkey])
    except CheckpointRefused:
        return False
    tree = found.checkpoint
    return (tree.size, tree.root) == (standing.size, home.tlog.root(3)) and standing.size == standing.signed == 3


def steal(office, *, times=1):
    for _ in range(times):
        rotate_key(office.home.layout, "log", now=NOW, random=secrets.token_bytes, stolen=True)


def go_on(office):
    """Let a running node read its document and keys anew."""
    now = office.clock()
    office.home.renew(load_papers(office.home.layout, now=now), now=now)


@pytest.mark.parametrize("times", [1, 3])
def test_a_home_whose_log_key_was_stolen_opens_and_its_log_is_signed_with_the_new_key(issued, times):
    old, root = issued.home.tlog.vkey, issued.home.layout.root
    steal(issued, times=times)
    issued.home.close()
    with open_home(root, now=NOW) as home:
        assert home.organisation.log_vkeys == (home.tlog.vkey,)
        assert old not in home.organisation.log_vkeys
        assert (signed_by(home, home.tlog.vkey), signed_by(home, old)) == (True, False)
        assert old in named_log_vkeys(home.organisation)
        assert len(named_log_vkeys(home.organisation)) == times + 1


def test_a_running_node_signs_its_log_again_when_it_is_told_of_the_new_key(issued):
    old = issued.home.tlog.vkey
    steal(issued)
    go_on(issued)
    assert (signed_by(issued.home, issued.home.tlog.vkey), signed_by(issued.home, old)) == (True, False)
    assert issued.home.tlog.show(now=NOW).count("\n\u2014 ") == 2


def test_a_log_key_that_takes_over_later_signs_the_log_on_its_day(issued):
    old, root = issued.home.tlog.vkey, issued.home.layout.root
    rotate_key(issued.home.layout, "log", now=NOW, random=secrets.token_bytes, overlap=7 * DAY)
    issued.home.close()
    with open_home(root, now=NOW + 6 * DAY) as home:
        assert (home.tlog.vkey, signed_by(home, old)) == (old, True)
    with open_home(root, now=NOW + 7 * DAY) as home:
        new = home.tlog.vkey
        assert (new != old, signed_by(home, new), signed_by(home, old)) == (True, True, False)
        assert home.organisation.log_vkeys == (new, old)


def test_a_log_that_nothing_was_ever_entered_in_opens_under_any_key(root):
    with open_home(root, now=NOW) as home:
        layout = home.layout
    rotate_key(layout, "log", now=NOW, random=secrets.token_bytes, stolen=True)
    with open_home(root, now=NOW) as home:
        assert home.store.logs.get(home.organisation.org).checkpoint == ""


def forged(office, *, by):
    """Return a checkpoint of another tree than is held."""
    org = office.home.organisation.org
    return sign_checkpoint(Checkpoint(log_name(org), 3, b"another tree" + bytes(20)), signer=by)


def set_checkpoint(text):
    return lambda office: office.home.store.logs.set_checkpoint(
        office.home.organisation.org, text(office), signed=3, now=NOW
    )


def tree_of_stranger(office):
    org = office.home.organisation.org
    return sign_checkpoint(Checkpoint(log_name(org), 3, office.home.tlog.root(3)), signer=signer("a stranger"))


def run(statement):
    def damage(office):
        with office.home.store.transaction():
            office.home.store._db.execute(statement)

    return damage


DAMAGE = {
    "a stranger has signed it": set_checkpoint(tree_of_stranger),
    "the stolen key has signed another tree": set_checkpoint(
        lambda office: forged(office, by=office.home.papers.log_signer)
    ),
    "another number of entries is held": run("UPDATE logs SET size = 2"),
    "its checkpoint is none": run("UPDATE logs SET checkpoint = 'none'"),
    "its checkpoint is gone": run("UPDATE logs SET checkpoint = ''"),
}


@pytest.mark.parametrize("times", [0, 1], ids=["under the key of before", "when the key was stolen"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_nothing_is_signed_again_that_we_did_not_sign(issued, damage, times):
    damage(issued)
    steal(issued, times=times)
    papers, before = issued.home.papers, issued.home.store.logs.get(issued.home.organisation.org)
    noted = len(issued.home.store.audit.list(AuditFilter(), limit=100))
    with pytest.raises(LogInconsistent) as refused:
        go_on(issued)
    assert refused.value.reason == "LOG_INCONSISTENT"
    assert issued.home.papers is papers
    assert issued.home.store.logs.get(issued.home.organisation.org) == before
    assert len(issued.home.store.audit.list(AuditFilter(), limit=100)) == noted
    issued.home.close()
    with pytest.raises(LogInconsistent) as refused:
        open_home(issued.home.layout.root, now=NOW)
    assert refused.value.reason == "LOG_INCONSISTENT"


def test_a_call_that_goes_on_with_the_old_key_leaves_nothing_that_the_new_one_cannot_go_on_from(issued):
    before = issued.home.tlog
    steal(issued)
    go_on(issued)
    with issued.home.store.transaction():
        before.show(now=NOW)  # it began before the key was replaced
    assert not issued.home.tlog.is_current()
    with issued.home.store.transaction():
        text = issued.home.tlog.show(now=NOW)
    assert verify_checkpoint(text, origin=log_name(before.org), vkeys=issued.home.organisation.log_vkeys)
    assert signed_by(issued.home, issued.home.tlog.vkey)


def test_what_is_shown_is_never_signed_over_another_tree_than_was_signed(issued):
    other = replace(issued.home.papers, log_signer=signer("another log"))
    log = OwnLog(issued.home.store.logs, issued.home.organisation.org, other.log_signer, other.witness_signer)
    for text in (forged(issued, by=issued.home.papers.log_signer), "none"):
        issued.home.store.logs.set_checkpoint(log.org, text, signed=3, now=NOW)
        with pytest.raises(LogInconsistent) as refused, issued.home.store.transaction():
            log.show(now=NOW)
        assert refused.value.reason == "LOG_INCONSISTENT"
        assert issued.home.store.logs.get(log.org).checkpoint == text


def test_what_others_cosigned_stands_under_the_key_of_today_once_the_old_one_was_stolen(issued):
    home, witness = issued.home, found("aisi.example")
    with home.store.transaction():
        shown = home.tlog.show(now=NOW)
    old = verify_checkpoint(shown, origin=log_name(home.organisation.org), vkeys=[home.tlog.vkey])
    line = cosign(old, name=witness_name(OrgId("aisi.example")), signer=witness.witness, now=NOW)
    home.store.logs.keep_checkpoint(home.organisation.org, shown + line, size=3, signatures=3, now=NOW)
    steal(issued)
    go_on(issued)
    newest = newest_with_cosignatures(home.store, home.organisation.org)
    verify_checkpoint(newest, origin=log_name(home.organisation.org), vkeys=home.organisation.log_vkeys)
    assert line in newest


def test_the_proof_of_a_record_is_given_also_when_its_key_was_revoked(issued):
    home = issued.home
    (record, *_) = issued.desk.list_records(v1.ListRecordsRequest(), issued.me).records
    revoke_key(home.layout, home.record_signer.key_id, now=NOW, at=NOW, random=secrets.token_bytes)
    go_on(issued)
    proof = issued.desk.prove_record(v1.ProveRecordRequest(id=record.digest), issued.me).proof
    assert parse_proof(proof, most=MAX_FILE).extra.startswith(b"ey")
