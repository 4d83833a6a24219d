"""This module tests that the linter finds what gives people and secrets away, passes over the rest, repeats nothing."""

import time
from pathlib import Path

import pytest

from tests.support.shared import ROOT, shared
from tocsin.interchange import Mapped, read_atlas, read_avid
from tocsin.release.lint import RULES, Finding, lint
from tocsin.schema.contract import Disclosure
from tocsin.schema.files import parse_content_file

FINDING = {
    "title": "T",
    "finding_kind": "hazard",
    "severity": "low",
    "subjects": [{"kind": "model", "name": "M"}],
}
LONG = "tell me how " * 17  # 204 characters
SHORT = LONG[:199]
RANDOM = "q7Zr2LpX9vTn4KdW8sYh3JfB6mCg5GxA"
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

TRUE = {
    "email": [
        "write to first.last+tag@lab-a.example",
        "<somebody@mail.lab-a.example>",
        "mailto:somebody@lab-a.example?subject=x",
        "jemand@bücher.example",
        "ｓomebody＠lab-a.example",
        "some\u200bbody@lab-a.example",
    ],
    "home-path": [
        "/home/analyst/run.log",
        "in /home/analyst, where",
        "file:///home/analyst/x",
        "/Users/analyst/Desktop",
        r"C:\Users\analyst\x",
        r'"c:\\users\\analyst"',
        "D:/Users/analyst",
        r"C:\Documents and Settings\analyst",
        "/mnt/c/Users/analyst",
        "/var/home/analyst/",
    ],
    "git-remote": [
        "git@code.lab-a.example:evals/range.git",
        "cloned from https://code.lab-a.example/evals/range.git",
        "git://code.lab-a.example/range",
        "ssh://git@code.lab-a.example:2222/range",
        "git+ssh://code.lab-a.example/range",
        "deploy@build.lab-a.example:~/range",
        "https://deploy:x@code.lab-a.example/range",
    ],
    "key": [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        "AGE-SECRET-KEY-1" + "Q" * 58,
        "AKIA" + "Q7ZR2LPX9VTN4KDW",
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "glpat-" + "a1" * 10,
        "sk-" + "a1" * 24,
        "sk-proj-" + "a1" * 24,
        "sk-ant-api03-" + "a-1_" * 20,
        "sk_live_" + "a1" * 12,
        "AIza" + "a" * 35,
        "hf_" + "aB" * 17,
        "xoxb-123456789012-abc",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "api_key=" + HEX[:32],
        'password: "correct-horse-battery-1"',
        RANDOM,
        f"it answered {RANDOM}, and stopped",
        "wJalrXUtnFEMI2K7MDENG/bPxRfiCY3x4mplek3y",
    ],
    "ip-address": [
        "10.1.2.3",
        "at 192.168.7.9.",
        "http://172.16.0.8:8080/x",
        "8.8.4.4/32",
        "from 10.0.0.1-10.0.0.9",
        "2a00:1450:4001:812::200e",
        "[2606:4700::1111]:443",
        "at 2606:4700::1111: nothing",
        "fd12:3456:789a::1",
        "::ffff:10.1.2.3",
    ],
    "long-quote": [
        f'it was asked "{LONG}" and did',
        f"“{LONG}”",
        f"„{LONG}“",
        f"«{LONG}»",
        f"it said '{LONG}'.",
        f"```\n{LONG}\n```",
        f"```text\n{LONG}",
        f"`{LONG}`",
        f"As follows:\n> {LONG[:120]}\n> {LONG[120:]}\n",
        f'"short" and then "{LONG}"',
    ],
    "deny-list": [
        "the Bluebird checkpoint",
        "BLUEBIRD.",
        "bluebird_v2",
        "Ｂｌｕｅｂｉｒｄ",
        "blue\u00adbird",
        "red-HERRING Ltd",
        "of Red\nHerring",
        "eine GROSSE STRASSE",
    ],
}
NAMES = ["Bluebird", "Red  Herring", "große Straße", "", "—"]

FALSE = {
    "email": [
        "@somebody",
        "pytest@8.2.1",
        "@scope/package@1.2.3",
        "an @ sign",
        "a@b",
        "git@code.lab-a.example:evals/range.git",
        "actions/checkout@v4",
    ],
    "home-path": [
        "https://lab-a.example/home/page",
        "docs/home/index.html",
        "~/run.log",
        "$HOME/x",
        "/home",
        "/api/users/7",
        "/srv/home-assistant",
        "C:\\Windows\\System32",
        "the home/Users folder",
    ],
    "git-remote": [
        "https://github.com/example/range",
        "https://example.github.io/page",
        "https://lab-a.example/@range/1",
        "first@lab-a.example: yes",
        "first@lab-a.example:443",
        "digital://x",
    ],
    "key": [
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----",
        HEX,
        HEX[:40],
        "3f2b8c1e-6a57-4d0f-9b1e-0c2d4e6f8a10",
        "https://lab-a.example/d/1" + RANDOM,
        "sk-learn-based-classifiers-of-text",
        "risk-" + "a1" * 20,
        "the token: a word of the vocabulary",
        "max_tokens=4096",
        "secret = told to nobody",
        "Example-LM-3-Instruct-2026-03-Preview-Long-Context",
        "tests/CyberRange/Scenario12/HostDiscovery/Results_Final2",
        "supercalifragilisticexpialidocious",
        "A" * 40 + "a1",
        "=" * 64,
    ],
    "ip-address": [
        "127.0.0.1",
        "0.1.2.3",
        "192.0.2.1, 198.51.100.7 and 203.0.113.99",
        "169.254.169.254",
        "255.255.255.0",
        "version 1.2.3.4",
        "v1.2.3.4",
        "Release 10.2.0.1",
        "section 4.2.1.3",
        "§ 4.2.1.3",
        "releases/tag/3.41.2.2",
        "driver-3.41.2.2",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.400",
        "010.1.2.3",
        "::1",
        "2001:db8::1",
        "fe80::1",
        "dead::beef",
        "std::vector",
        "a::b::c",
        "12:30:45",
        "aa:bb:cc:dd:ee:ff",
        "a ratio of 3:2:1",
    ],
    "long-quote": [
        f'it was asked "{SHORT}" and did',
        LONG,
        f"don't {LONG} can't",
        f'"a" {LONG} "b"',
        f'an inch is 1" {LONG}',
        f"“a”{LONG}“b”",
        f"```x``` {LONG} ```y```",
        f"> {SHORT[:150]}\nbetween\n> {SHORT[:150]}",
        f"the labs' models {LONG}, the users' data",
    ],
    "deny-list": ["bluebirds", "a blue bird", "red", "herring", "red, white and herring", "Strasse", "—"],
}


def rules_of(text, *, names=()):
    return {finding.rule for finding in lint("finding", FINDING | {"summary": text}, names=names)}


def rows(table):
    return [pytest.param(rule, text, id=f"{rule}: {text[:40]!r}") for rule, texts in table.items() for text in texts]


def test_both_tables_have_every_rule():
    assert set(TRUE) == set(FALSE) == set(RULES)


@pytest.mark.parametrize(("rule", "text"), rows(TRUE))
def test_what_gives_something_away_is_found(rule, text):
    assert rule in rules_of(text, names=NAMES)


@pytest.mark.parametrize(("rule", "text"), rows(FALSE))
def test_what_only_looks_like_it_is_passed_over(rule, text):
    assert rule not in rules_of(text, names=NAMES)


def test_only_fields_that_go_far_are_looked_at_and_at_every_level():
    leak = "somebody@lab-a.example"
    content = FINDING | {
        "title": leak,
        "details": leak,
        "prompts": [leak],
        "discoverers": [{"name": "N", "contact": leak}],
        "subjects": [{"kind": "model", "name": leak, "family": leak}, {"kind": "tool", "name": "N", "family": leak}],
        "references": [{"url": "https://lab-a.example/", "label": "none"}, {"url": f"mailto:{leak}", "label": leak}],
        "stakeholders": ["End Users", leak],
        "source": {"format": "avid", "original": leak},
    }

    assert lint("finding", content, names=()) == tuple(
        Finding("email", path, Disclosure.COMMUNITY)
        for path in ("title", "subjects[*].family", "stakeholders", "references[*].url", "references[*].label")
    )


def test_a_class_wider_than_community_is_looked_at_too():
    content = {"title": "T", "incident_class": "hazard", "summary": "S", "happened_in": "10.1.2.3"}

    assert lint("incident", content, names=()) == (Finding("ip-address", "happened_in", Disclosure.ALWAYS),)


def test_a_digest_where_the_contract_expects_one_is_no_key():
    relation = {
        "kind": "disputes",
        "record_id": "3f2b8c1e-6a57-4d0f-9b1e-0c2d4e6f8a10",
        "digest": f"{RANDOM}{RANDOM}"[:43],
    }

    assert lint("finding", FINDING | {"relations": [relation]}, names=()) == ()


def test_a_finding_never_repeats_what_it_found():
    canary = "canary-4711"
    text = f"{canary}@lab-a.example /home/{canary} {canary}@h.example:{canary}/x token={canary}{canary} 10.1.2.3"

    found = lint("finding", FINDING | {"summary": text}, names=[canary])

    assert {finding.rule for finding in found} == set(RULES) - {"long-quote"}
    assert canary not in repr(found)


def test_a_rule_is_told_once_for_a_field_however_often_it_is_met():
    content = FINDING | {"stakeholders": ["a@lab-a.example", "b@lab-a.example"], "summary": "10.1.2.3 10.1.2.4"}

    assert [(one.rule, one.path) for one in lint("finding", content, names=())] == [
        ("ip-address", "summary"),
        ("email", "stakeholders"),
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "records").glob("*.toml")), ids=lambda path: path.stem)
def test_the_example_records_have_nothing_to_find(path: Path):
    settings, content = parse_content_file(path.read_bytes(), format="toml", name=path.name)

    assert lint(str(settings["kind"]), content, names=()) == ()


@pytest.mark.parametrize(
    "piece",
    [
        *["a", "@", "a@", "a.", "1.", "1.1.1.1.", ":", "a:", "::", '"', "'", "“", "„", "«", "`", "```", "> ", "> \n"],
        *["/home/", "/mnt/", "C:\\", "https://", "http://a@", ".git", "git@a:", "-----BEGIN ", "-----BEGIN A "],
        *["sk-", "sk-a", "eyJ", "eyJaaaaaaaaaa.", "token=", "token: ", "Aa1", "aA1-", "§ 1.1.1.1 ", "\u200b", "ﬁ"],
    ],
)
def test_no_text_takes_long(piece):
    text = piece * (16_000 // len(piece))  # as long as a field of this class can be
    before = time.process_time()  # a busy machine does not count

    rules_of(text, names=["a a", "fi"])

    assert time.process_time() - before < 0.5, "some milliseconds, and a hundred times that for a slow machine"


def test_few_of_the_published_records_are_stopped():
    files = {"data/avid/reports.jsonl": read_avid, "data/avid/vulnerabilities.jsonl": read_avid}
    files["data/atlas/ATLAS.yaml"] = read_atlas
    records = [one for name, read in files.items() for one in read(shared(name).read_bytes(), name=name)]
    contents = [(one.kind, one.content) for one in records if isinstance(one, Mapped)]

    stopped = sum(bool(lint(kind, content, names=())) for kind, content in contents)

    assert len(contents) > 1_200
    assert 0 < stopped < len(contents) / 100
