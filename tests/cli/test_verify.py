"""The commands that need no home: verify and sdjwt verify, by exit code alone."""

import json
import re

import pytest
import yaml

from tests.cli.messages import RECORD_ID
from tests.support.organisations import NOW, YEAR, found, seeded
from tests.support.shared import shared
from tocsin.encoding import encode_base64url
from tocsin.records.envelope import Downgrade
from tocsin.records.record import Draft, issue
from tocsin.records.retraction import Action, sign_retraction


def issued(**settings):
    content = {"title": "T", "finding_kind": "hazard", "severity": "low", "subjects": [{"kind": "model", "name": "M"}]}
    draft = Draft(record_id=RECORD_ID, kind="finding", tlp="GREEN", **settings)
    signer = found("lab-a.example").record
    return issue(draft, content, issuer="lab-a.example", signer=signer, now=NOW, random=seeded("record"))


@pytest.fixture
def posted(tmp_path, monkeypatch):
    """Return a folder with an identity document and a record, on the day that they were made."""
    monkeypatch.setattr("tocsin_cli.commands.verify.clock", lambda: NOW)
    (tmp_path / "lab-a.tocsin").write_bytes(found("lab-a.example").document)
    (tmp_path / "record.sdjwt").write_text(f"{issued().token}\n")
    return tmp_path


def test_a_whole_record_and_a_redacted_one_verify(tocsin, posted):
    whole = (posted / "record.sdjwt").read_text().strip()
    (posted / "redacted.sdjwt").write_text(whole.split("~")[0] + "~")
    files = (posted / "record.sdjwt", posted / "redacted.sdjwt")
    shown = tocsin("verify", *files, "--identity", posted / "lab-a.tocsin", "--json")
    assert shown.code == 0
    first, second = json.loads(shown.out)["results"]
    assert first["verified"]
    assert second["verified"]
    assert first["digest"] == second["digest"]
    assert first["content"]["title"] == "T"
    assert second["content"] == {"finding_kind": "hazard"}


def test_the_marking_is_the_one_that_counts_today(tocsin, posted, monkeypatch):
    step = Downgrade("2027-01-01T00:00:00Z", "CLEAR")
    (posted / "record.sdjwt").write_text(issued(downgrade_at=(step,)).token)
    for now, marking, text in (
        (NOW, "GREEN", "TLP:GREEN\n"),
        (NOW + YEAR - 1, "CLEAR", "TLP:CLEAR (signed as TLP:GREEN)\n"),
    ):
        monkeypatch.setattr("tocsin_cli.commands.verify.clock", lambda now=now: now)
        command = ("verify", posted / "record.sdjwt", "--identity", posted / "lab-a.tocsin")
        assert text in tocsin(*command).out
        (found,) = json.loads(tocsin(*command, "--json").out)["results"]
        assert (found["tlp"], found["marking"]) == ("GREEN", marking)


def retraction(**changes):
    claims = {"action": Action.WITHDRAW, "tlp": "GREEN", "version": 1, "reason": "error"} | changes
    signer = found("lab-a.example").record
    return sign_retraction(issuer="lab-a.example", record_id=RECORD_ID, signer=signer, now=NOW, **claims).token


def test_a_retraction_verifies_too(tocsin, posted):
    (posted / "retraction.jws").write_text(f"{retraction()}\n")
    command = ("verify", posted / "retraction.jws", "--identity", posted / "lab-a.tocsin")
    shown = tocsin(*command)
    assert (shown.code, shown.err) == (0, "")
    assert f"retraction        withdraw of {RECORD_ID}, versions up to 1, TLP:GREEN\n" in shown.out
    assert "reason            error\n" in shown.out
    (told,) = json.loads(tocsin(*command, "--json").out)["results"]
    assert (told["verified"], told["action"], told["retraction_reason"]) == (True, "withdraw", "error")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        pytest.param(lambda token: token + "AAAA", "BAD_SIGNATURE", id="another signature"),
        pytest.param(lambda token: f"{token}~", "BAD_TYP", id="one that would pass for a record"),
        pytest.param(lambda token: token.replace(".", "..", 1), "BAD_FORM", id="what is no token"),
    ],
)
def test_a_retraction_that_does_not_hold_is_refused(tocsin, posted, document, reason):
    (posted / "retraction.jws").write_text(document(retraction()))
    shown = tocsin("verify", posted / "retraction.jws", "--identity", posted / "lab-a.tocsin")
    assert shown.code == 4
    assert f"[{reason}]" in shown.err


def test_a_retraction_of_an_organisation_without_a_document_is_refused_as_one(tocsin, posted):
    (posted / "lab-b.tocsin").write_bytes(found("lab-b.example").document)
    (posted / "retraction.jws").write_text(retraction())
    shown = tocsin("verify", posted / "retraction.jws", "--identity", posted / "lab-b.tocsin")
    assert shown.code == 4
    assert "the retraction is of lab-a.example, and none of the identity documents is [KEY_NOT_OF_ISSUER]" in shown.err


def changed(token):
    jwt, *rest = token.strip().split("~")
    header, payload, signature = jwt.split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    stranger = encode_base64url(b'["AAAAAAAAAAAAAAAAAAAAAA","title","other"]')
    none = encode_base64url(b'{"alg":"none","typ":"tocsin-record+sd-jwt","kid":"x"}')
    return {
        "BAD_SIGNATURE": "~".join((f"{header}.{payload}.{flipped}", *rest)),
        "BAD_DISCLOSURE": "~".join((jwt, stranger, *rest)),
        "BAD_FORM": jwt,
        "BAD_ALG": "~".join((f"{none}.{payload}.{signature}", *rest)),
        "BAD_ENCODING": "~".join((f"{header}=.{payload}.{signature}", *rest)),
    }


@pytest.mark.parametrize("reason", ["BAD_SIGNATURE", "BAD_DISCLOSURE", "BAD_FORM", "BAD_ALG", "BAD_ENCODING"])
def test_every_refusal_exits_4_with_its_reason_whatever_its_class(tocsin, posted, reason):
    (posted / "bad.sdjwt").write_text(changed((posted / "record.sdjwt").read_text())[reason])
    shown = tocsin("verify", posted / "bad.sdjwt", "--identity", posted / "lab-a.tocsin")
    assert shown.code == 4
    assert f"[{reason}]" in shown.err
    as_json = tocsin("verify", posted / "bad.sdjwt", "--identity", posted / "lab-a.tocsin", "--json")
    assert as_json.code == 4
    assert json.loads(as_json.out)["results"][0]["reason"] == reason


@pytest.mark.parametrize("data", [b"", b"~", b"\xff\xfe", b"\x00" * 10, b"~" * 100_000], ids=repr)
def test_garbage_is_refused_like_a_record(tocsin, posted, data):
    (posted / "garbage").write_bytes(data)
    shown = tocsin("verify", posted / "garbage", "--identity", posted / "lab-a.tocsin")
    assert shown.code == 4


def test_one_refused_record_among_several_decides_the_exit_code(tocsin, posted):
    (posted / "bad.sdjwt").write_text("x")
    files = (posted / "bad.sdjwt", posted / "record.sdjwt")
    shown = tocsin("verify", *files, "--identity", posted / "lab-a.tocsin")
    assert shown.code == 4
    assert "record.sdjwt: verified" in shown.out


def read_json(name):
    return json.loads(shared(f"vectors/{name}").read_text())


def write_key_and_token(folder, jwk, token):
    (folder / "jwk").write_text(json.dumps(jwk))
    (folder / "token").write_text(token + "\n")
    return "sdjwt", "verify", "--jwk", folder / "jwk", folder / "token"


def test_the_tokens_of_rfc_9901_verify_by_their_es256_key_and_print_their_payload(tocsin, tmp_path):
    settings = yaml.safe_load(shared("vectors/sd-jwt/rfc9901-examples/settings.yml").read_text())
    jwk = settings["key_settings"]["issuer_key"]
    for case in read_json("sd-jwt/rfc9901-literal/appendix_a.json"):
        token = case["token"][: case["token"].rindex("~") + 1]  # a key binding is for its verifier alone
        shown = tocsin(*write_key_and_token(tmp_path, jwk, token), "--now", "2023-06-01")
        assert shown.code == 0, (case["name"], shown.err)
        assert json.loads(shown.out) == case["expected"]


def test_negative_tokens_exit_4_with_a_reason(tocsin, tmp_path):
    vectors = read_json("sd-jwt-negative/negative-cases.json")
    for name, token in vectors["cases"].items():
        shown = tocsin(*write_key_and_token(tmp_path, vectors["pub"], token))
        assert shown.code == (0 if name == "ok" else 4), name
        assert bool(shown.out) == (name == "ok")
        assert name == "ok" or re.search(r"\[[A-Z_]+\]", shown.err)


@pytest.mark.parametrize(("moment", "code"), [("0", 0), ("1", 4), ("1970-01-01", 0), ("1970-01-01T00:00:01Z", 4)])
def test_the_time_is_read_as_rfc_3339_and_as_tokens_write_it(tocsin, tmp_path, moment, code):
    vectors = read_json("sd-jwt-negative/negative-cases.json")
    shown = tocsin(*write_key_and_token(tmp_path, vectors["pub"], vectors["cases"]["expired"]), "--now", moment)
    assert shown.code == code, shown.err


def test_a_token_is_verified_as_of_the_time_that_is_given(tocsin, tmp_path):
    settings = yaml.safe_load(shared("vectors/sd-jwt/rfc9901-examples/settings.yml").read_text())
    token = read_json("sd-jwt/rfc9901-literal/appendix_a.json")[0]["token"]
    command = write_key_and_token(tmp_path, settings["key_settings"]["issuer_key"], token)
    shown = tocsin(*command, "--now", "2040-01-01T00:00:00Z")
    assert shown.code == 4
    assert "[NOT_VALID_NOW]" in shown.err


@pytest.mark.parametrize(
    ("jwk", "code"),
    [
        pytest.param("{", 3, id="no JSON"),
        pytest.param("[]", 3, id="no object"),
        pytest.param('{"kty": "oct", "k": "AAAA"}', 4, id="a secret key"),
        pytest.param('{"kty": "OKP", "crv": "Ed25519", "x": "AQ"}', 4, id="a short key"),
    ],
)
def test_a_key_that_is_none_is_refused_and_named(tocsin, tmp_path, jwk, code):
    (tmp_path / "jwk").write_text(jwk)
    (tmp_path / "token").write_text("a.b.c~")
    shown = tocsin("sdjwt", "verify", "--jwk", tmp_path / "jwk", tmp_path / "token")
    assert shown.code == code
    assert shown.out == ""
    assert shown.err.startswith("tocsin: error: ")
