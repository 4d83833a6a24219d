"""Two hundred texts that policy withholds are heard nowhere: not by a partner, not in a log, an error or an output."""

import asyncio
import io
import json
import logging
import secrets
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.conftest import set_environment
from tests.cli.serving import served
from tests.test_docs import load_script
from tocsin.desk.permits import PERMITS
from tocsin.errors import TocsinError
from tocsin.exchange.peer import PeerClient
from tocsin.identity.certificate import TlsKeys, certificate_pem
from tocsin.identity.root import parse_identity
from tocsin.records.record import parse_record
from tocsin.schema.contract import KINDS, Disclosure, Shape
from tocsin.v1 import desk_service_pb2 as desk_v1
from tocsin.v1 import exchange_service_pb2 as exchange_v1
from tocsin_cli.demo.network import free_ports
from tocsin_cli.main import run
from tocsin_cli.session import Session, now

LAB_A, LAB_B = "lab-a.example", "lab-b.example"
SHARES_LITTLE = """
partner = "{partner}"

[[share]]
name = "what the community may know"
kinds = ["*"]
max_tlp = "RED"
classes = "COMMUNITY"
reveal = ["prompts"]
reason = "infohazard"
name_withheld = true

[accept]
kinds = ["*"]
"""
OPENS_PARTNER = SHARES_LITTLE.replace('"COMMUNITY"', '"PARTNER"')
REQUIRED = {Shape.INTEGER: 1, Shape.NUMBER: 1, Shape.FLAG: True, Shape.TIME: "2026-03-01T12:00:00Z"} | dict.fromkeys(
    (Shape.TEXT, Shape.CHOICE), ""
)
STREAMS = {"SyncPeers", "PlanPolicies", "TestPeer", "RunChecks", "ReadLog", "ExportLog"}
OWN_PEOPLE_READ = {"GetRecord", "ListRecords", "PostRecords", "AmendRecord", "ProveRecord"}
"""Calls whose answers hold what the organisation's own people may read: nobody listens to those of the origin."""


@dataclass
class Ears:
    """Everything that was said where somebody could hear it, with where it was said."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    commands: set[tuple[str, ...]] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)

    def hear(self, where: str, what: object) -> None:
        self.heard.append((where, str(what)))

    def find(self, wanted: dict[str, str]) -> list[tuple[str, str]]:
        return [
            (where, text)
            for where, said in self.heard
            for text, encoded in wanted.items()
            if text in said or (encoded and encoded in said)
        ]


class Recorder(logging.Handler):
    def __init__(self, ears: Ears) -> None:
        super().__init__(logging.DEBUG)
        self.ears = ears
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.ears.hear(f"log of {record.name}", self.format(record))


class Exchange:
    """Two labs at work, and everything that can be asked of them."""

    def __init__(self, folder: Path, ears: Ears) -> None:
        self.folder, self.ears = folder, ears
        self.ports = dict(zip((LAB_A, LAB_B), free_ports(2), strict=True))
        self.canaries: list[str] = []
        self.encoded: dict[str, str] = {}
        self.purged: list[str] = []

    def home(self, org: str) -> Path:
        return self.folder / org

    def tocsin(self, org: str, *arguments: object, own: bool = False, stdin: bytes = b"", profile: str = "first"):
        """Run a command; with `own` it prints what our own people may read."""
        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
        words = [str(argument) for argument in arguments]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = run(["--home", str(self.home(org)), "--profile", f"{profile}@{org}", *words])
            for stream in streams.values():
                stream.flush()
        out, err = (stream.buffer.getvalue().decode() for stream in streams.values())
        self.ears.commands.add(tuple(words))
        self.ears.hear(f"{org}$ tocsin {' '.join(words)} (error)", err)
        if not own:
            self.ears.hear(f"{org}$ tocsin {' '.join(words)}", out)
        return code, out, err

    def call(self, org: str, name: str, /, *, profile: str = "first", **values: object) -> None:
        """Ask the desk something, whatever it answers."""
        request = getattr(desk_v1, f"{name}Request")(**values)
        answer = getattr(desk_v1, f"{name}Response")
        session = Session(self.home(org), profile=f"{profile}@{org}")
        self.ears.calls.add(name)
        try:
            said = list(session.stream(request, answer)) if name in STREAMS else session.call(request, answer)
            if org != LAB_A or name not in OWN_PEOPLE_READ:
                self.ears.hear(f"{org} {name}", said)
        except TocsinError as error:
            told = (error, error.hint, error.where, error.details, error.metadata)
            self.ears.hear(f"{org} {name} refused", told)
        finally:
            session.close()


def fill(fields, canaries, *, label):
    """Return content whose every text above COMMUNITY is a canary, and that has what a kind requires."""
    content = {}
    for one in fields:
        value = None
        if one.shape is Shape.GROUP:
            value = fill(one.fields, canaries, label=label) or None
        elif one.shape is Shape.TEXT and not one.pattern and one.disclosure > Disclosure.COMMUNITY:
            value = f"canary-{label}-{secrets.token_hex(8)}"
            canaries.append(value)
        elif one.required:
            value = REQUIRED[one.shape] or one.example or next(iter(one.choices), "example")
        if value is not None:
            content[one.name] = [value] if one.repeated else value
    return content


def make_homes(exchange: Exchange) -> None:
    for org, port in exchange.ports.items():
        environment = ["init", org, "--kind", "lab", "--name", org, "--listen", f"127.0.0.1:{port}"]
        code, _, err = exchange.tocsin(org, *environment)
        assert code == 0, err


def introduce(exchange: Exchange) -> None:
    for org, other in ((LAB_A, LAB_B), (LAB_B, LAB_A)):
        file = exchange.folder / f"{other}.tocsin"
        file.write_text(exchange.tocsin(other, "identity", "export")[1])
        fingerprint = exchange.tocsin(other, "identity", "fingerprint")[1].strip()
        assert exchange.tocsin(org, "peer", "add", file)[0] == 0
        assert exchange.tocsin(org, "peer", "add", file, "--fingerprint", fingerprint)[0] == 0
        policy = exchange.home(org) / "policies" / f"{other}.toml"
        policy.write_text(SHARES_LITTLE.format(partner=other))
        assert exchange.tocsin(org, "policy", "apply", "--yes")[0] == 0


def post_everything(exchange: Exchange) -> list[str]:
    """Post records of every kind, twice, one of them RED, and return their ids."""
    ids = []
    for kind, contract in KINDS.items():
        for tlp in ("AMBER", "RED"):
            content = fill(contract.fields, exchange.canaries, label=kind)
            settings = {"kind": kind, "tlp": tlp}
            text = json.dumps({"record": settings, **content}).encode()
            file = exchange.folder / f"{kind}-{tlp}.json"
            file.write_bytes(text)
            code, out, err = exchange.tocsin(LAB_A, "post", file)
            assert code == 0, err
            ids.append(out.split()[1])
            refused = exchange.folder / "refused.json"
            for name in ("title", "record"):  # a wrong draft is told by its places, not by its values
                refused.write_text(json.dumps({"record": settings, **content, name: {"wrong": 1}}))
                assert exchange.tocsin(LAB_A, "post", refused)[0] != 0
    return ids


def end_records(exchange: Exchange) -> str:
    """Post records that lab-b gets, amend and remark one, withdraw one and purge one, and return the last one's id."""
    folder, fields = exchange.folder, KINDS["finding"].fields
    ids = []
    for label in ("amended", "withdrawn", "purged"):
        before = len(exchange.canaries)
        text = json.dumps(
            {"record": {"kind": "finding", "tlp": "AMBER"}, **fill(fields, exchange.canaries, label=label)}
        )
        (folder / f"{label}.json").write_text(text)
        code, out, err = exchange.tocsin(LAB_A, "post", folder / f"{label}.json")
        assert code == 0, err
        ids.append(out.split()[1])
        exchange.purged = exchange.canaries[before:]
    exchange.encoded |= encodings(exchange, ids)
    exchange.tocsin(LAB_B, "sync")
    amended, withdrawn, purged = ids
    (folder / "next.json").write_text(json.dumps(fill(fields, exchange.canaries, label="next")))
    for words in (
        ["amend", amended, folder / "next.json", "--dry-run"],
        ["amend", amended, folder / "next.json", "--status", "corrected"],
        ["amend", amended, folder / "refused.json"],
        ["retract", amended, "--correct", folder / "next.json"],
        ["remark", amended, "--tlp", "red"],
        ["retract", withdrawn, "--withdraw", "--reason", "error", "--yes"],
        ["retract", purged, "--purge", "--reason", "infohazard", "--dry-run"],
        ["retract", purged, "--purge", "--reason", "infohazard", "--yes"],
        ["amend", purged, folder / "next.json"],
        ["retractions"],
        ["retractions", purged],
    ):
        exchange.tocsin(LAB_A, *words)
    exchange.tocsin(LAB_A, "show", amended, "--draft", own=True)
    exchange.tocsin(LAB_B, "sync")
    exchange.encoded |= encodings(exchange, [amended])
    for name in ids:
        exchange.tocsin(LAB_B, "show", name)
        exchange.tocsin(LAB_B, "retract", name, "--purge", "--yes")
    return purged


def wrong_drafts(exchange: Exchange) -> None:
    """Post drafts in which one withheld field after another is too long, or of another shape."""
    for kind, contract in KINDS.items():
        for one in contract.fields:
            if one.shape is Shape.TEXT and not one.pattern and one.disclosure > Disclosure.COMMUNITY:
                content = fill(contract.fields, exchange.canaries, label=f"{kind}-wrong")
                for value in (exchange.canaries[-1] * 60_000, {exchange.canaries[-1]: 1}, [[exchange.canaries[-1]]]):
                    draft = desk_v1.Draft(kind=1, tlp=3, content_json=json.dumps(content | {one.name: value}))
                    exchange.call(LAB_A, "PostRecords", drafts=[draft])
                break


def ask_every_command(exchange: Exchange, ids: list[str]) -> None:
    """Run every command that there is, on both sides, rightly and wrongly."""
    amber, red = ids[0], ids[1]
    folder = exchange.folder
    exchange.tocsin(LAB_A, "export", amber, own=True)
    (folder / "whole.sdjwt").write_text(exchange.tocsin(LAB_A, "export", amber, own=True)[1])
    exchange.tocsin(LAB_A, "show", amber, own=True)
    proof = exchange.tocsin(LAB_A, "show", amber, "--proof", own=True)[1]
    (folder / "bad.tlog-proof").write_text(proof.replace("index ", "index 1", 1))
    exchange.tocsin(LAB_B, "verify", folder / "bad.tlog-proof", "--identity", folder / f"{LAB_A}.tocsin")
    exchange.tocsin(LAB_A, "person", "add", "counsel", "--role", "releaser")
    review = json.loads(exchange.tocsin(LAB_A, "review", "list", "--json")[1])["reviews"]
    for wait in review[:2]:
        exchange.tocsin(LAB_A, "review", "show", wait["id"], profile="counsel")
        exchange.tocsin(LAB_A, "review", "approve", wait["id"], "--yes")
        exchange.tocsin(LAB_A, "review", "approve", wait["id"], "--yes", profile="counsel")
    exchange.tocsin(LAB_A, "review", "reject", review[-1]["id"], profile="counsel")
    for org, other in ((LAB_A, LAB_B), (LAB_B, LAB_A)):
        for words in (
            ["sync"],
            ["status"],
            ["list"],
            ["search", "example"],
            ["search", exchange.canaries[0]],
            ["explain", amber, "--to", other],
            ["explain", amber, "--to", other, "--at", "2030-01-01T00:00:00Z", "--json"],
            ["preview", amber, "--to", other],
            ["preview", red, "--to", other, "--raw"],
            ["reveal", amber, "details", "--to", other],
            ["request", amber, "prompts", "--why", "for the study"],
            ["policy", "check"],
            ["policy", "plan"],
            ["policy", "matrix"],
            ["review", "list", "--all"],
            ["audit", "show", "--json"],
            ["audit", "verify"],
            ["audit", "export"],
            ["person", "list"],
            ["person", "change", "nobody", "--role", "analyst"],
            ["person", "remove", "nobody"],
            ["person", "recover", "nobody"],
            ["person", "card", "first", "--identity", folder / f"{org}.tocsin"],
            ["identity", "show"],
            ["peer", "list"],
            ["peer", "show", other],
            ["peer", "suspend", other],
            ["peer", "resume", other],
            ["peer", "remove", "nobody.example"],
            ["template", "finding"],
            ["completion", "bash"],
            ["verify", folder / "nothing.sdjwt"],
            ["sdjwt", "verify", folder / "nothing.sdjwt", "--jwk", folder / "nothing.json"],
            ["import", "avid", folder / "nothing.json"],
            ["init", org, "--kind", "lab"],
            ["outbox"],
            ["outbox", "--partner", other, "--json"],
            ["retractions", "--json"],
            ["receipts", "list", "--json"],
            ["receipts", "list", "--given"],
            ["receipts", "export"],
            ["receipts", "verify", folder / "nothing.json", "--identity", folder / f"{other}.tocsin"],
            ["doctor", "--json"],
            ["peer", "test", other],
            ["peer", "add", folder / f"{other}.tocsin", "--known"],
            ["backup", folder / f"{org}.backup", "--to", "age1nobody"],
            ["restore", folder / "nothing.backup", "--identity", folder / "nothing.key"],
            ["fsck"],
            ["keys", "renew", "--root-key", folder / "nothing.pem"],
            ["keys", "rotate", "tls", "--root-key", folder / "nothing.pem"],
            ["keys", "revoke", "A" * 43, "--root-key", folder / "nothing.pem"],
            ["keys", "adopt", folder / "nothing.draft"],
            ["keys", "root", "show"],
            ["keys", "root", "new", folder / "root-9.pem"],
            ["keys", "root", "change", "--threshold", "1", "--root-key", folder / "nothing.pem"],
            ["keys", "root", "sign", folder / "nothing.draft", "--root-key", folder / "nothing.pem"],
            ["log", "show"],
            ["log", "show", org, "--json"],
            ["log", "verify"],
            ["log", "witness"],
            ["log", "policy"],
            ["log", "export", folder / f"{org}-log"],
            ["log", "evidence"],
            ["log", "resume", org],
            ["show", amber, "--proof", "--without-record"],
            ["serve", "--once"],
            ["demo", "--keep", folder],
        ):
            exchange.tocsin(org, *words)
    for words in (["show", amber], ["show", amber, "--json"], ["export", amber], ["list", "--json"]):
        exchange.tocsin(LAB_B, *words)
    bad = (folder / "whole.sdjwt").read_text().replace("~", "~!", 1)
    (folder / "bad.sdjwt").write_text(bad)
    exchange.tocsin(LAB_B, "verify", folder / "bad.sdjwt", "--identity", folder / f"{LAB_A}.tocsin")


def ask_every_call(exchange: Exchange, ids: list[str], *, purged: str) -> None:
    """Call every method of the desk, rightly and wrongly, as somebody who may and as somebody who may not."""
    files = [desk_v1.PolicyFile(name=f"{LAB_B}.toml", text=OPENS_PARTNER.format(partner=LAB_B))]
    right = {
        "GetRecord": {"id": ids[0], "with_token": True},
        "ListRecords": {"full": True},
        "SearchRecords": {"text": exchange.canaries[0]},
        "ExplainRecord": {"id": ids[0], "partner": LAB_B},
        "PreviewRecord": {"id": ids[0], "partner": LAB_B},
        "RevealFields": {"id": ids[0], "partner": LAB_B, "paths": ["infohazard_detail"]},
        "PlanPolicies": {"files": files},
        "ApplyPolicies": {"files": files, "statement": "wrong"},
        "CheckPolicies": {"files": files},
        "DecideReview": {"id": "x", "approve": True, "statement": "wrong"},
        "AddPerson": {"card": "wrong"},
        "AmendRecord": {"id": ids[0], "draft": desk_v1.Draft(pap=1), "dry_run": True},
        "RetractRecord": {"id": ids[0], "action": "RETRACTION_ACTION_PURGE", "dry_run": True},
        "GetRetraction": {"id": purged},
        "ListReceipts": {"given": True},
        "TestPeer": {"org": LAB_B},
        "ProveRecord": {"id": ids[0]},
        "ResumeLog": {"org": LAB_A},
    }
    for name in PERMITS:
        for org in (LAB_A, LAB_B):
            exchange.call(org, name)
            exchange.call(org, name, **right.get(name, {}))
        exchange.call(LAB_A, name, profile="counsel")


def ask_as_a_peer(exchange: Exchange, digests: list[str]) -> None:
    """Call every method of the peer port as lab-b, rightly and wrongly."""
    known = {org: parse_identity((exchange.folder / f"{org}.tocsin").read_bytes(), now=now()) for org in exchange.ports}
    key = (exchange.home(LAB_B) / "keys" / "tls.pem").read_bytes()
    keys = TlsKeys(key, certificate_pem(known[LAB_B].node_certs[0]))

    async def ask() -> None:
        async with PeerClient(known[LAB_A], f"127.0.0.1:{exchange.ports[LAB_A]}", keys=keys) as peer:
            page = (await peer.pull("")).page
            exchange.ears.hear("Pull", page)
            for cursor in ("x", "A" * 22 + ".1", page.cursor[:-1] + "A"):
                await heard("Pull", peer.pull(cursor))
            for receipt in ("x", "a.b.c", page.statement):
                await heard("Acknowledge", peer.acknowledge([receipt]))
            await heard("Deliver", peer.deliver(exchange_v1.Page(statement="a.b.c"), last_receipt=""))
            await heard("Deliver", peer.deliver(page, last_receipt=""))
            for after in ("", "x"):
                await heard("Recover", peer.recover(after))
            await heard("GiveBack", peer.give_back(exchange_v1.RecoverResponse(records=["a.b.c~"])))
            for digest in (*digests, "A" * 43, ""):
                for paths in (["prompts"], ["infohazard_detail"], ["nothing"], []):
                    await heard("RequestDisclosure", peer.request_disclosure(digest, paths=paths, why="to know"))

            async def first_page() -> object:
                stream = peer.subscribe("")
                try:
                    return await anext(stream)
                finally:
                    await stream.aclose()

            await heard("Subscribe", first_page())

    async def heard(name, asked) -> None:
        exchange.ears.calls.add(name)
        try:
            exchange.ears.hear(name, await asked)
        except TocsinError as error:
            exchange.ears.hear(f"{name} refused", (error, error.hint, error.details, error.metadata))

    asyncio.run(ask())


def damage(exchange: Exchange) -> None:
    """Spoil records in the origin's store, and ask for them: what is wrong is told without what stands there."""
    with closing(sqlite3.connect(exchange.home(LAB_A) / "tocsin.db")) as store:
        store.execute("UPDATE holdings SET token = replace(token, '~', '~A')")
        store.commit()
    for words in (["show", "--json"], ["preview", "--to", LAB_B], ["explain", "--to", LAB_B]):
        for record in json.loads(exchange.tocsin(LAB_A, "list", "--json")[1])["records"]:
            exchange.tocsin(LAB_A, words[0], record["digest"], *words[1:])
    exchange.tocsin(LAB_A, "policy", "plan")


@pytest.fixture(scope="module")
def listened(tmp_path_factory):
    """Return the exchange after everything was asked."""
    folder, ears = tmp_path_factory.mktemp("canaries"), Ears()
    exchange = Exchange(folder, ears)
    recorder, root = Recorder(ears), logging.getLogger()
    level = root.level
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, folder)
        patch.setattr("tocsin_cli.session.LOCK_PATIENCE_SECONDS", 0)  # what needs a home alone is refused at once
        root.addHandler(recorder)
        root.setLevel(logging.DEBUG)
        try:
            make_homes(exchange)
            with served(exchange.home(LAB_A)), served(exchange.home(LAB_B)):
                introduce(exchange)
                ids = post_everything(exchange)
                purged = end_records(exchange)
                ask_every_command(exchange, ids)
                listing = json.loads(exchange.tocsin(LAB_A, "list", "--json")[1])["records"]
                ask_as_a_peer(exchange, [record["digest"] for record in listing])
                ask_every_call(exchange, ids, purged=purged)
                wrong_drafts(exchange)
                exchange.encoded = dict.fromkeys(exchange.canaries, "") | exchange.encoded | encodings(exchange, ids)
                damage(exchange)
        finally:
            root.removeHandler(recorder)
            root.setLevel(level)
    return exchange


def encodings(exchange: Exchange, ids: list[str]) -> dict[str, str]:
    """Return each canary with the disclosure that carries it, where a record was made of it."""
    identity = parse_identity((exchange.folder / f"{LAB_A}.tocsin").read_bytes(), now=now())
    found: dict[str, str] = {}
    for name in ids:
        token = exchange.tocsin(LAB_A, "export", name, own=True)[1].strip()
        record = parse_record(token).verify(identity, now=now())
        texts = {one.value: one.encoded for one in record.disclosures if isinstance(one.value, str)}
        found |= {text: encoded for text, encoded in texts.items() if text in exchange.canaries}
    return found


def test_two_hundred_texts_were_planted_and_signed(listened):
    assert len([text for text, encoded in listened.encoded.items() if encoded]) >= 200


def test_every_call_and_every_command_was_tried(listened):
    script = load_script("document_commands")
    names = {words for words in script.find_commands(script.cli) if words}
    leaves = {words for words in names if not any(other[:-1] == words for other in names)}
    tried = {words[:size] for words in listened.ears.commands for size in (1, 2, 3)}
    assert leaves - tried == set()
    exchange_calls = {method.name for method in exchange_v1.DESCRIPTOR.services_by_name["ExchangeService"].methods}
    assert (set(PERMITS) | exchange_calls) - listened.ears.calls == set()


def test_the_partner_holds_records_and_the_node_wrote_logs(listened):
    places = {where.split()[0] for where, _ in listened.ears.heard}
    assert "log" in places
    with closing(sqlite3.connect(listened.home(LAB_B) / "tocsin.db")) as store:
        assert store.execute("SELECT count(*) FROM records").fetchone()[0] >= 4


def test_no_output_no_log_no_error_and_no_answer_holds_one(listened):
    search_words = listened.canaries[0]  # somebody typed it: the command says it back
    heard = [
        (where, text)
        for where, text in listened.ears.find(listened.encoded)
        if text != search_words or "search" not in where.lower()
    ]
    assert heard == []


def test_no_file_of_the_partner_holds_one(listened):
    held = b"\n".join(path.read_bytes() for path in sorted(listened.home(LAB_B).rglob("*")) if path.is_file())
    with closing(sqlite3.connect(listened.home(LAB_B) / "tocsin.db")) as store:
        held += "\n".join(store.iterdump()).encode()
    assert [text for text in listened.encoded if text.encode() in held] == []
    assert [text for text, encoded in listened.encoded.items() if encoded and encoded.encode() in held] == []


@pytest.mark.parametrize("org", [LAB_A, LAB_B])
def test_what_was_purged_is_in_no_file_of_either_home(listened, org):
    assert len(listened.purged) > 5
    held = b"\n".join(path.read_bytes() for path in sorted(listened.home(org).rglob("*")) if path.is_file())
    assert [text for text in listened.purged if text.encode() in held] == []
    assert [text for text in listened.purged if listened.encoded[text].encode() in held] == []


def test_the_decision_log_of_the_origin_holds_none(listened):
    with closing(sqlite3.connect(listened.home(LAB_A) / "tocsin.db")) as store:
        rows = [" ".join(map(str, row)) for row in store.execute("SELECT * FROM audit")]
    assert len(rows) >= 20
    assert [text for text in listened.encoded if any(text in row for row in rows)] == []


def test_nothing_that_was_asked_found_a_bug(listened):
    assert [
        (where, said[:300]) for where, said in listened.ears.heard if "the node failed on this request" in said
    ] == []
