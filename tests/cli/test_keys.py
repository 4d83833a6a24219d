"""Keys are replaced by commands, and whoever works on this machine still knows the node by its new certificate."""

import json
import signal

import pytest

from tests.support.command import environment, serving
from tocsin.desk.layout import Layout
from tocsin.desk.papers import load_organisation
from tocsin_cli.profile import load_profiles

INIT = ("init", "lab-a.example", "--kind", "lab", "--name", "Lab A", "--listen", "")


@pytest.fixture
def home(tocsin, tmp_path):
    assert tocsin(*INIT).code == 0
    return tmp_path / "home"


def test_a_key_is_rotated_and_told_when_it_takes_over(tocsin, home):
    shown = tocsin("keys", "rotate", "record")
    assert shown.code == 0
    assert shown.out.startswith("version 2 of the identity document names the new record key, which takes over on 20")
    assert "tocsin identity export" in shown.err
    assert (home / "keys" / "record.next.pem").exists()
    again = tocsin("keys", "rotate", "record")
    assert (again.code, "a new record key waits to take over already" in again.err) == (6, True)


def test_without_an_overlap_the_new_key_is_in_use_at_once(tocsin, home):
    before = (home / "keys" / "delivery.pem").read_bytes()
    shown = tocsin("keys", "rotate", "delivery", "--overlap", "0", "--json")
    assert json.loads(shown.out)["identity_version"] == 2
    assert (home / "keys" / "delivery.pem").read_bytes() != before


def test_the_root_key_may_lie_elsewhere(tocsin, home, tmp_path):
    root = (home / "keys" / "root-1.pem").rename(tmp_path / "root-1.pem")
    refused = tocsin("keys", "renew")
    assert (refused.code, "--root-key" in refused.err) == (3, True)
    shown = tocsin("keys", "renew", "--root-key", root)
    assert shown.out.startswith("version 2 of the identity document is valid until 20")


def test_without_a_home_there_are_no_keys_to_replace(tocsin, tmp_path):
    shown = tocsin("--home", tmp_path / "nowhere", "keys", "renew")
    assert (shown.code, "there is no home here [HOME_MISSING]" in shown.err) == (9, True)


def test_profiles_on_this_machine_know_the_node_by_its_new_certificate(tocsin, home):
    tocsin("keys", "rotate", "tls")
    (profile,) = load_profiles()
    assert profile.load_organisation() == load_organisation(Layout(home))


def key_in_document(home, name="record_keys"):
    chain = json.loads((home / "identity" / "document.tocsin").read_bytes())["chain"]
    return chain[-1]["signed"]["x-tocsin"][name][0]["kid"]


def test_a_key_that_was_stolen_is_revoked_and_what_follows_is_told(tocsin, home):
    stolen = key_in_document(home)
    shown = tocsin("keys", "revoke", stolen[:10], "--at", "2026-01-01")
    assert shown.code == 0
    assert f"version 2 of the identity document revokes the record key {stolen}" in shown.out
    assert "a new record key is in use" in shown.out
    assert "a record of the key counts where a checkpoint contains it that was cosigned before the revoc" in shown.err
    assert "tocsin identity export" in shown.err
    earlier = tocsin("keys", "revoke", stolen, "--at", "2025-12-24", "--json")
    assert json.loads(earlier.out) == {"key": "record", "revoked": [stolen], "replaced": False, "identity_version": 3}
    again = tocsin("keys", "revoke", stolen)
    assert (again.code, "is revoked already [CONFLICT]" in again.err) == (6, True)
    ahead = tocsin("keys", "revoke", key_in_document(home, "delivery_keys"), "--at", "2100-01-01")
    assert (ahead.code, "[BAD_REQUEST]" in ahead.err) == (3, True)


@pytest.mark.parametrize("name", ["log", "witness"])
def test_a_former_key_of_log_or_witness_is_named_no_more(tocsin, home, name):
    assert tocsin("keys", "rotate", name, "--overlap", "0").code == 0
    before = json.loads((home / "identity" / "document.tocsin").read_bytes())["chain"][-1]["signed"]["x-tocsin"]
    (former,) = before[f"former_{name}_vkeys"]
    timed = tocsin("keys", "revoke", former, "--at", "2026-01-01")
    assert (timed.code, "leave --at out" in timed.err) == (3, True)
    shown = tocsin("keys", "revoke", former)
    assert shown.out == f"version 3 of the identity document revokes the {name} key {former}\n"
    assert "of the key prove nothing" in shown.err or "that the key signed prove nothing" in shown.err
    organisation = load_organisation(Layout(home))
    assert former not in (*organisation.log_vkeys, *organisation.witness_vkeys)
    again = tocsin("keys", "revoke", former)
    assert (again.code, "[NOT_FOUND]" in again.err) == (6, True)


def test_a_key_that_is_gone_is_replaced_where_no_overlap_is_wanted(tocsin, home):
    (home / "keys" / "witness.pem").unlink()
    late = tocsin("keys", "rotate", "witness")
    assert (late.code, "replace it at once: --overlap 0" in late.err) == (9, True)
    shown = tocsin("keys", "rotate", "witness", "--overlap", "0")
    assert (shown.code, "the new witness key, which is in use" in shown.out) == (0, True)
    assert (home / "keys" / "witness.pem").exists()


def test_a_draft_goes_to_who_holds_the_root_key_and_back(tocsin, home, tmp_path):
    root, draft = (home / "keys" / "root-1.pem").rename(tmp_path / "root-1.pem"), tmp_path / "next.draft"
    drafted = json.loads(tocsin("keys", "rotate", "tls", "--overlap", "0", "--draft", draft, "--json").out)
    assert (drafted["org"], drafted["identity_version"], drafted["signed_by"]) == ("lab-a.example", 2, [])
    assert len(drafted["missing"]) == 1
    elsewhere = ("--home", tmp_path / "nowhere", "keys", "root")
    asked = tocsin(*elsewhere, "sign", draft, "--root-key", root, stdin=b"n\n")
    assert (asked.code, "nothing was signed" in asked.err) == (0, True)
    silent = tocsin(*elsewhere, "sign", draft, "--root-key", root, "--json")
    assert (silent.code, "give --yes too" in silent.err) == (2, True)
    assert "still to be signed by" in tocsin(*elsewhere, "sign", draft).err
    signed = tocsin(*elsewhere, "sign", draft, "--root-key", root, "--yes", "--json")
    assert json.loads(signed.out)["missing"] == []
    adopted = tocsin("keys", "adopt", draft, "--json")
    assert json.loads(adopted.out)["identity_version"] == 2
    (profile,) = load_profiles()
    assert profile.load_organisation() == load_organisation(Layout(home))


def test_a_root_key_signs_no_older_version_unless_somebody_says_so(tocsin, home, tmp_path):
    root, first, second = (tmp_path / name for name in ("root-1.pem", "first.draft", "second.draft"))
    (home / "keys" / "root-1.pem").rename(root)
    for path in (first, second):
        assert tocsin("keys", "rotate", "record", "--draft", path).code == 0
    assert tocsin("keys", "root", "sign", first, "--root-key", root, "--yes").code == 0
    assert (tmp_path / "root-1.pem.signed").exists()
    refused = tocsin("keys", "root", "sign", second, "--root-key", root, "--yes")
    assert (refused.code, "has signed another draft of that version already [IDENTITY_OUTDATED]" in refused.err) == (
        4,
        True,
    )
    assert "--allow-older" in refused.err
    assert tocsin("keys", "renew", "--root-key", root).code == 4
    signed = tocsin("keys", "root", "sign", second, "--root-key", root, "--yes", "--allow-older")
    assert (signed.code, "enough have signed" in signed.err) == (0, True)
    useless = tocsin("keys", "renew", "--draft", tmp_path / "third.draft", "--allow-older")
    assert (useless.code, "leave --allow-older out" in useless.err) == (2, True)
    assert tocsin("keys", "adopt", second).code == 0


def test_a_root_key_with_a_passphrase_is_made_added_and_used(tocsin, home, tmp_path):
    passphrase, path = tmp_path / "passphrase", tmp_path / "root-2.pem"
    passphrase.write_text("a random secret")
    passphrase.chmod(0o600)
    made = json.loads(tocsin("keys", "root", "new", path, "--passphrase-file", passphrase, "--json").out)
    assert b"ENCRYPTED" in path.read_bytes()
    changed = tocsin("keys", "root", "change", "--add", made["public"], "--json")
    assert json.loads(changed.out) == {"identity_version": 2}
    shown = json.loads(tocsin("keys", "root", "show", "--json").out)
    assert (shown["threshold"], made["id"] in shown["root_keys"]) == (1, True)
    refused = tocsin("keys", "renew", "--root-key", path)
    assert (refused.code, "--root-passphrase-file" in refused.err) == (9, True)
    renewed = tocsin("keys", "renew", "--root-key", path, "--root-passphrase-file", passphrase)
    assert renewed.out.startswith("version 3 of the identity document is valid until 20")
    draft = tmp_path / "next.draft"
    tocsin("keys", "root", "change", "--remove", made["id"], "--draft", draft)
    signed = tocsin("keys", "root", "sign", draft, "--root-key", path, "--root-passphrase-file", passphrase, "--yes")
    assert "still to be signed by 1 of the root keys of version 4" in signed.err


def test_a_file_that_is_no_draft_is_refused(tocsin, home, tmp_path):
    (tmp_path / "no.draft").write_text("{}")
    for words in (("adopt",), ("root", "sign")):
        shown = tocsin("keys", *words, tmp_path / "no.draft")
        assert (shown.code, "not of the format tocsin-draft/v1 [BAD_IDENTITY]" in shown.err) == (3, True)


def test_a_running_node_takes_a_new_certificate_over_and_its_people_reach_it(tocsin, home, tmp_path):
    env = environment(TOCSIN_HOME=home, XDG_CONFIG_HOME=tmp_path / "config")
    with serving(home, env=env) as process:
        rotated = tocsin("keys", "rotate", "tls", "--overlap", "0")
        assert rotated.code == 0
        reload = f"kill -HUP $(cat {home}/lock)"
        assert rotated.err.index(reload) < rotated.err.index("tocsin identity export")
        assert reload in tocsin("status").err
        early = tocsin("identity", "export")
        assert (early.out, early.code) == ("", 4)
        assert "the node goes on with version 1 of the identity document" in early.err
        assert reload in early.err
        process.send_signal(signal.SIGHUP)
        for line in process.stderr:
            if "reloaded" in line:
                break
        status = tocsin("status", "--json")
        assert status.code == 0
        assert json.loads(status.out)["organisation"]["version"] == 2


def test_an_id_that_begins_with_a_dash_is_no_option(tocsin, home):
    """One key id in 64 does."""
    for name in ("-" + "h" * 42, "-u3456789_"):
        shown = tocsin("--home", home, "keys", "revoke", name)
        assert (shown.code, "[NOT_FOUND]" in shown.err) == (6, True)
