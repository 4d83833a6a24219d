"""A home whose keys are in a token opens, works, is backed up and renewed as one whose keys are in files."""

import stat

import pyrage
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.desk.conftest import make_home
from tests.desk.test_checks import checks_of
from tests.support.organisations import NOW, seeded
from tests.support.tokens import tokens
from tocsin.desk.backup import write_backup
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation, load_papers
from tocsin.desk.restore import restore_home
from tocsin.errors import HomeDamaged
from tocsin.identity.root import next_version
from tocsin.identity.signer import load_signer
from tocsin.identity.token import TokenSigner
from tocsin.records.record import parse_record

NUMBERS = {"record": "01", "delivery": "02", "log": "03", "witness": "04", "root-1": "05"}


@pytest.fixture(scope="module")
def move():
    """Move keys of a home of lab-a.example into a token."""
    held, known = tokens(), {}

    def moving(root, *names, passphrase=None):
        for name in names:
            pem = Layout(root).key(name)
            if name not in known:
                key = load_pem_private_key(pem.read_bytes(), passphrase)
                known[name] = held.add(name, key, number=NUMBERS[name], token="home")
            pem.unlink()
            uri = pem.with_suffix(".uri")
            uri.write_text(f"{known[name]}\n")
            uri.chmod(0o600)

    return moving


def test_a_node_with_its_keys_in_a_token_issues_records_that_verify(root, move, open_office):
    move(root, "record", "delivery")
    office = open_office(root)
    assert isinstance(office.home.record_signer, TokenSigner)
    assert isinstance(office.home.delivery_signer, TokenSigner)
    posted = office.post()
    token = office.home.store.records.get(posted.record.digest).token
    assert parse_record(token).verify(office.home.organisation, now=NOW)
    keys = [answer for answer in checks_of(office) if answer.check == "keys"]
    assert [answer.message for answer in keys] == ["keys/root-1.pem is on this machine"]


def test_every_key_but_that_of_the_certificate_may_be_in_a_token(root, move):
    before = {name: load_signer(Layout(root).key(name)).key_id for name in NUMBERS}
    move(root, *NUMBERS)
    assert list(Layout(root).missing()) == []
    assert {name: load_signer(Layout(root).key(name)).key_id for name in NUMBERS} == before


def test_the_other_keys_may_have_a_passphrase(tmp_path, move):
    secret = tmp_path / "passphrase"
    secret.write_text("of the files")
    secret.chmod(0o600)
    root = make_home(tmp_path / "home", passphrase_file=secret)
    move(root, "record", passphrase=b"of the files")
    papers = load_papers(Layout(root), now=NOW)
    assert papers.record_signer.key_id in papers.organisation.record_keys


def test_a_root_key_in_a_token_is_found_in_the_home_and_where_its_uri_was_taken(root, move):
    layout = Layout(root)
    before = load_signer(layout.root_key(1)).key_id
    move(root, "root-1")
    (path,) = layout.root_keys_here()
    assert (path.name, load_signer(path).key_id) == ("root-1.uri", before)
    elsewhere = path.rename(root.parent / "offline.uri")
    assert layout.root_keys_here() == ()
    signer = load_signer(elsewhere)
    assert signer.key_id == before
    assert next_version(load_organisation(layout), load_organisation(layout), signers=[signer], now=NOW)


def test_a_key_that_is_in_a_file_and_in_a_token_is_refused(root):
    uri = Layout(root).key("record").with_suffix(".uri")
    uri.write_text("pkcs11:token=t;object=record?module-path=/m.so&pin-source=file:/pin\n")
    uri.chmod(0o600)
    with pytest.raises(HomeDamaged, match="only one can be the key") as refusal:
        load_papers(Layout(root), now=NOW)
    assert refusal.value.reason == "HOME_DAMAGED"


def test_a_token_with_a_key_that_the_document_does_not_name_is_refused(root, move):
    move(root, "record")
    Layout(root).key_file("record").rename(Layout(root).key("delivery").with_suffix(".uri"))
    Layout(root).key("delivery").rename(Layout(root).key("record"))
    with pytest.raises(HomeDamaged, match="does not name this key"):
        load_papers(Layout(root), now=NOW)


def test_a_backup_holds_where_the_key_is_and_the_key_stays_in_the_token(root, move, tmp_path, open_office):
    move(root, "record", "root-1")
    open_office(root).home.close()
    identity = pyrage.x25519.Identity.generate()
    file, again = tmp_path / "backup", tmp_path / "again"
    held = write_backup(root, file, recipients=[str(identity.to_public())], now=NOW)
    assert [name for name in held.files if name.endswith(".uri")] == ["keys/record.uri"]
    assert "keys/record.pem" not in held.files
    restore_home(file, again, identities=[str(identity)], now=NOW, random=seeded("again"))
    uri = Layout(again).key_file("record")
    assert stat.S_IMODE(uri.stat().st_mode) == 0o600
    assert isinstance(open_office(again).home.record_signer, TokenSigner)
