"""A key in a token signs as one in a file does, and whatever is wrong with it has its own words."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.support.organisations import NOW, found, seeded
from tests.support.shared import ROOT
from tests.support.tokens import PIN, tokens
from tocsin.errors import HomeDamaged, KeyExposed
from tocsin.identity.keys import generate_ed25519, save_private_key
from tocsin.identity.names import RecordId
from tocsin.identity.signer import FileSigner, load_signer, open_signer
from tocsin.records.record import Draft, issue, parse_record

ORG = "lab-a.example"
DRAFT = Draft(record_id=RecordId("1f0d6a3c-52c8-4f0e-9b8f-0c7f8f6f9d11"), kind="finding", tlp="AMBER")
CONTENT = {
    "title": "Tool output can redirect an agent",
    "finding_kind": "vulnerability",
    "severity": "high",
    "subjects": [{"kind": "model", "name": "Example-LM 3"}],
}


@pytest.fixture(scope="module")
def held():
    return tokens()


@pytest.fixture(scope="module")
def record(held):
    """Return the URI of the record key of lab-a.example, which is in a token."""
    return held.add("record", generate_ed25519(seeded(f"{ORG} record")), number="01")


def refused(uri, expected=HomeDamaged):
    with pytest.raises(expected) as refusal:
        open_signer(uri)
    error = refusal.value
    assert error.reason == {HomeDamaged: "HOME_DAMAGED", KeyExposed: "KEY_EXPOSED"}[expected]
    assert error.where
    assert error.hint
    assert PIN not in f"{error} {error.hint} {error.details}"
    return error


def test_a_record_signed_in_a_token_verifies_like_any_other(record):
    organisation, in_file = found(ORG).organisation, found(ORG).record
    signer = open_signer(record)
    assert (signer.key_id, signer.public_key) == (in_file.key_id, in_file.public_key)
    settings = {"issuer": organisation.org, "now": NOW}
    issued = issue(DRAFT, CONTENT, signer=signer, random=seeded("record"), **settings)
    assert issued.token == issue(DRAFT, CONTENT, signer=in_file, random=seeded("record"), **settings).token
    assert parse_record(issued.token).verify(organisation, now=NOW).content["title"] == CONTENT["title"]


def test_a_key_that_was_made_in_the_token_signs(held):
    make = (
        "from pkcs11 import KeyType, Mechanism\n"
        "curve = session.create_domain_parameters(KeyType.EC_EDWARDS, "
        "{Attribute.EC_PARAMS: bytes.fromhex('130c656477617264733235353139')}, local=True)\n"
        "curve.generate_keypair(id=bytes([2]), label='made there', store=True, "
        "mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN)"
    )
    held.change("keys", make)
    signer = open_signer(held.uri("made%20there"))
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signer.sign(b"data"), b"data")


def test_threads_sign_at_once_with_two_keys_of_one_token(held, record):
    second = held.add("second", generate_ed25519(seeded("second")), number="03")
    signers = [open_signer(record), open_signer(second)] * 2

    def sign_many(number):
        signer = signers[number]
        public = Ed25519PublicKey.from_public_bytes(signer.public_key)
        for count in range(100):
            data = f"{number} {count}".encode()
            public.verify(signer.sign(data), data)
        return True

    with ThreadPoolExecutor(len(signers)) as pool:
        assert all(pool.map(sign_many, range(len(signers))))


def test_a_lost_session_is_opened_again_for_every_key_of_the_token(held, record, caplog):
    other = held.add("other", generate_ed25519(seeded("other")), number="04")
    signers = [open_signer(record), open_signer(other)]
    signatures = [signer.sign(b"data") for signer in signers]
    held.interrupt()
    with caplog.at_level(logging.WARNING):
        assert [signer.sign(b"data") for signer in signers] == signatures
    assert caplog.messages == ["pkcs11:token=keys;object=record: SessionHandleInvalid, opening the token again"]
    held.interrupt()
    assert open_signer(other).sign(b"data") == signatures[1]  # as at a reload, which comes before the next signature


def test_a_token_that_was_away_signs_again_when_it_is_back(held, record):
    signer = open_signer(record)
    there = held.folder / "tokens"
    away = there.rename(held.folder / "away")
    for _ in range(3):
        with pytest.raises(HomeDamaged) as refusal:
            signer.sign(b"data")
        assert (refusal.value.reason, refusal.value.where) == ("HOME_DAMAGED", "pkcs11:token=keys;object=record")
    away.rename(there)
    assert signer.sign(b"data")


def test_a_removed_key_is_refused_and_the_others_of_the_token_go_on(held, record):
    uri = held.add("passing", generate_ed25519(seeded("passing")), number="05")
    signer, other = open_signer(uri), open_signer(record)
    held.remove("passing", token="keys")
    for _ in range(2):
        with pytest.raises(HomeDamaged, match="no such key") as refusal:
            signer.sign(b"data")
        assert refusal.value.reason == "HOME_DAMAGED"
        assert refusal.value.where == "pkcs11:token=keys;object=passing"
    assert other.sign(b"data")
    assert "no such key" in refused(uri).message
    held.add("passing", generate_ed25519(seeded("passing")), number="05")
    assert signer.sign(b"data")


def test_another_key_in_the_place_of_the_old_one_does_not_sign_for_it(held):
    uri = held.add("swapped", generate_ed25519(seeded("one")), number="06")
    signer = open_signer(uri)
    held.remove("swapped", token="keys")
    held.add("swapped", generate_ed25519(seeded("two")), number="06")
    with pytest.raises(HomeDamaged, match="another key than before"):
        signer.sign(b"data")


def test_a_wrong_pin_is_refused_and_not_offered_twice(held, tmp_path):
    uri = held.add("guarded", generate_ed25519(seeded("guarded")), number="01", token="guarded")
    wrong = tmp_path / "pin"
    wrong.write_text("mockingbird-9999\n")
    wrong.chmod(0o600)
    with_wrong = held.uri("guarded", token="guarded", pin_file=wrong)
    error = refused(with_wrong)
    assert (error.where, "refuses the PIN" in error.message) == (str(wrong), True)
    assert "9999" not in f"{error} {error.hint}"
    held.change("guarded", f"session.set_pin({PIN!r}, 'mockingbird-9999')")  # it would be right by now
    assert "refuses the PIN" in refused(with_wrong).message
    held.change("guarded", f"session.set_pin('mockingbird-9999', {PIN!r})", pin="mockingbird-9999")
    assert open_signer(uri).sign(b"data")
    error = refused(with_wrong)
    assert "another one than the token was opened with" in error.message


def test_a_pin_that_others_can_read_is_refused(held, record, tmp_path):
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o640)
    error = refused(held.uri("record", pin_file=pin), KeyExposed)
    assert (error.message, error.hint) == ("the PIN can be read by others (mode 0640)", f"chmod 600 {pin}")


@pytest.mark.parametrize("text", [b"", b"\n", b"\xff\xfe", b"1" * 5000])
def test_a_file_that_holds_no_pin_is_refused(held, record, tmp_path, text):
    pin = tmp_path / "pin"
    pin.write_bytes(text)
    pin.chmod(0o600)
    assert refused(held.uri("record", pin_file=pin)).message == "the file does not hold the PIN"


def test_a_missing_pin_file_is_refused(held, record, tmp_path):
    error = refused(held.uri("record", pin_file=tmp_path / "pin"))
    assert error.message == "the PIN cannot be read: no such file or directory"


def test_a_missing_module_is_refused(held):
    assert "no PKCS#11 module at /nowhere.so" in refused(held.uri("record", module="/nowhere.so")).message


def test_a_file_that_is_no_module_is_refused(held):
    assert "does not start" in refused(held.uri("record", module=str(held.pin_file))).message


def test_a_missing_token_is_refused(held):
    assert refused(held.uri("record", token="nobody")).message == "the token is not there"


def test_two_tokens_of_one_name_are_told_apart_by_serial_number(held):
    error = refused(held.uri("record", token="twins"))
    assert (error.message, error.hint) == ("2 tokens are called like this", "add serial=… to the URI")


def test_two_keys_of_one_name_are_told_apart_by_id(held):
    for number in ("07", "08"):
        uri = held.add("double", generate_ed25519(seeded(number)), number=number)
    error = refused(uri)
    assert (error.message, error.hint) == ("the token has 2 keys that are called like this", "add id=… to the URI")
    chosen = open_signer(uri.replace("object=double", "object=double;id=%07"))
    assert chosen.public_key == FileSigner(generate_ed25519(seeded("07"))).public_key


OTHER_KEYS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.mark.parametrize("name", OTHER_KEYS)
def test_a_key_of_another_type_is_refused(held, name):
    uri = held.add(name, OTHER_KEYS[name](), number=f"1{list(OTHER_KEYS).index(name)}")
    assert refused(uri).message == "the key is not an Ed25519 key"


def test_a_key_without_its_public_half_is_refused(held):
    uri = held.add("half", generate_ed25519(seeded("half")), number="20")
    held.change(
        "keys",
        "from pkcs11 import ObjectClass\nwanted = {Attribute.LABEL: 'half', Attribute.CLASS: ObjectClass.PUBLIC_KEY}\n"
        "for each in list(session.get_objects(wanted)): each.destroy()",
    )
    assert refused(uri).message == "the token has 0 public keys for this key instead of one"


def test_halves_of_two_pairs_are_refused(held):
    uri = held.add("mixed", generate_ed25519(seeded("mixed")), number="21")
    held.add("stranger", generate_ed25519(seeded("stranger")), number="22")
    held.change(
        "keys",
        "from pkcs11 import ObjectClass\n"
        "def public(label): return next(session.get_objects("
        "{Attribute.LABEL: label, Attribute.CLASS: ObjectClass.PUBLIC_KEY}))\n"
        "own, stranger = public('mixed'), public('stranger')\n"
        "own.destroy()\nstranger[Attribute.ID] = bytes([0x21])",
    )
    assert refused(uri).message == "the private and the public key do not belong together"


def test_without_the_extra_the_hint_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    error = refused("pkcs11:token=t;object=record?module-path=/m.so&pin-source=file:/pin")
    assert error.hint == "pip install 'tocsin[pkcs11]'"


def test_only_one_module_knows_the_library():
    users = [path for path in (ROOT / "node").rglob("*.py") if "import pkcs11" in path.read_text()]
    assert [path.relative_to(ROOT / "node/tocsin").as_posix() for path in users] == ["identity/token.py"]


@pytest.fixture
def pem(tmp_path):
    path = tmp_path / "record.pem"
    save_private_key(path, generate_ed25519(seeded(f"{ORG} record")), passphrase=b"set")
    return path


def test_a_key_in_a_file_is_opened_by_path_and_by_uri(pem):
    for where in (pem, str(pem), f"file:{pem}", f"file://{pem}", f"FILE://localhost{pem}"):
        assert open_signer(where, passphrase=b"set").key_id == found(ORG).record.key_id


@pytest.mark.parametrize("where", ["https://example.org/key", "awskms:key", "tpm2:1"])
def test_a_uri_of_another_scheme_is_refused(where):
    assert refused(where).message == "keys are not kept in such a place"


def write_uri(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_uri_beside_the_place_of_the_file_is_followed(held, record, tmp_path):
    uri = write_uri(tmp_path / "record.uri", f"{record}\n")
    for path in (tmp_path / "record.pem", uri):
        assert load_signer(path).key_id == load_signer(path, passphrase=b"of the files").key_id
        assert load_signer(path).key_id == found(ORG).record.key_id


def test_a_key_with_both_files_is_refused(pem):
    uri = write_uri(pem.with_suffix(".uri"), f"file:{pem}")
    for path in (pem, uri):
        with pytest.raises(HomeDamaged, match="only one can be the key") as refusal:
            load_signer(path, passphrase=b"set")
        assert (refusal.value.reason, refusal.value.where) == ("HOME_DAMAGED", str(uri))


@pytest.mark.parametrize("text", ["", "record.pem", "/srv/record.pem", "pkcs11:", "file:a.pem", "a\nfile:/b"])
def test_a_uri_file_that_holds_no_uri_is_refused(tmp_path, text):
    error = refused(write_uri(tmp_path / "record.uri", text))
    assert error.where == str(tmp_path / "record.uri")


def test_a_uri_file_that_others_can_read_is_refused(tmp_path):
    uri = write_uri(tmp_path / "record.uri", "file:/srv/record.pem")
    uri.chmod(0o644)
    assert refused(uri, KeyExposed).message == "the URI of the key can be read by others (mode 0644)"


def test_a_uri_file_of_somebody_else_is_refused(tmp_path, monkeypatch):
    uri = write_uri(tmp_path / "record.uri", "file:/srv/record.pem")
    monkeypatch.setattr("os.geteuid", lambda: uri.stat().st_uid + 1)
    assert "belongs to another user" in refused(uri, KeyExposed).message
