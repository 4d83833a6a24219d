"""A running node reads settings, identity and keys anew: all of it, or nothing."""

import asyncio
import json
import secrets
from dataclasses import replace

import pytest

from tests.support.nodes import QUICK, federation, make_place, put_policy, running, until
from tests.support.organisations import found
from tests.support.wire import now
from tocsin.desk import home as home_module
from tocsin.desk.layout import Layout
from tocsin.desk.rotation import rotate_key
from tocsin.errors import MalformedIdentity, Overloaded, TocsinError
from tocsin.identity.certificate import DAY
from tocsin.v1 import desk_service_pb2 as v1

LAB_A, LAB_B = "lab-a.example", "lab-b.example"


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path, LAB_A)


def configure(place, **settings) -> None:
    settings = {"listen": place.listen, **settings}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (place.root / "node.toml").write_text("\n".join(lines))


def rotate(place, name, **more):
    return rotate_key(Layout(place.root), name, now=now(), random=secrets.token_bytes, **more).organisation


def test_settings_that_may_change_count_from_now_on_and_others_are_named(place):
    configure(place, heartbeat_seconds=3.0, calls_per_minute=7, verify_seconds_per_minute=5.0, strict=True)

    async def run():
        async with running(place) as node:
            renewal = await node.node.reload()
            assert renewal.config.heartbeat_seconds == 3.0
            assert node.node.config == renewal.config
            assert renewal.config.strict is False
            assert renewal.postponed == ("strict",)
            assert node.node._door.quota.calls_per_minute == 7
            assert node.node._side.budget._most == 5.0

    asyncio.run(run())


def _bad_setting(place) -> None:
    configure(place, heartbeat_seconds=0)


def _bad_draft(place) -> None:
    (place.root / "policies" / f"{LAB_B}.toml").write_text("partner = ")


def _another_identity(place) -> None:
    (place.root / "identity" / "document.tocsin").write_bytes(found(LAB_A, now=now()).document)


def _open_key(place) -> None:
    (place.root / "keys" / "record.pem").chmod(0o644)


REFUSED = {
    "a wrong setting": (_bad_setting, "BAD_CONFIG"),
    "a draft of a policy with a problem": (_bad_draft, "BAD_POLICY"),
    "the identity of somebody else": (_another_identity, "HOME_DAMAGED"),
    "a key that others can read": (_open_key, "KEY_EXPOSED"),
}


@pytest.mark.parametrize(("spoil", "reason"), REFUSED.values(), ids=REFUSED)
def test_where_anything_is_wrong_nothing_changes(place, spoil, reason):
    rotated = rotate(place, "record", overlap=DAY)

    async def run():
        async with running(place) as node:
            configure(place, calls_per_minute=7)
            before = node.home.papers, node.node.config
            spoil(place)
            with pytest.raises(TocsinError) as refused:
                await node.node.reload()
            assert refused.value.reason == reason
            assert (node.home.papers, node.node.config) == before
            assert node.home.organisation == rotated
            assert len(await node.post("still works")) == 1

    asyncio.run(run())


def test_a_document_that_does_not_go_on_from_the_one_in_use_is_refused(place, monkeypatch):
    async def run():
        async with running(place) as node:
            held = node.home.organisation
            rotate(place, "record")
            other = replace(node.home.papers, organisation=found(LAB_A, now=now()).organisation)
            monkeypatch.setattr("tocsin.reload.load_papers", lambda *_, **__: other)
            with pytest.raises(MalformedIdentity):
                await node.node.reload()
            assert node.home.organisation == held

    asyncio.run(run())


@pytest.mark.parametrize("name", ["record", "delivery"])
def test_a_key_that_was_replaced_signs_from_the_reload_on_and_partners_with_the_document_follow(tmp_path, name):
    places = [make_place(tmp_path, org) for org in (LAB_A, LAB_B)]

    async def run():
        async with federation(places) as (a, b):
            await a.post("before")
            await until(lambda: _holds(b, {"before"}))
            document = rotate(places[0], name).document
            await b.desk.AddPeer(v1.AddPeerRequest(document=document))
            old = getattr(a.home, f"{name}_signer").key_id
            await a.node.reload()
            assert getattr(a.home, f"{name}_signer").key_id != old
            await a.post("after")
            await until(lambda: _holds(b, {"before", "after"}))

    asyncio.run(run())


def test_what_was_signed_before_a_rotation_is_delivered_after_it(tmp_path):
    places = [make_place(tmp_path, org) for org in (LAB_A, LAB_B)]

    async def run():
        async with federation(places, pull=False) as (a, b):
            await a.post("signed with the old key")
            await b.desk.AddPeer(v1.AddPeerRequest(document=rotate(places[0], "record").document))
            await a.node.reload()
            await a.post("signed with the new key")
            assert (await b.sync(places[0]))[LAB_A].records == 2

    asyncio.run(run())


def test_a_new_certificate_is_shown_in_new_handshakes_and_calls_go_on(tmp_path):
    places = [make_place(tmp_path, org) for org in (LAB_A, LAB_B)]

    async def run():
        async with federation(places, pull=False) as (a, b), b.client_of(places[0]) as before:
            await before.pull("")
            organisation = rotate(places[0], "tls")
            await b.desk.AddPeer(v1.AddPeerRequest(document=organisation.document))
            await a.node.reload()
            await before.pull("")  # over the connection that it has
            renewed = replace(places[0], organisation=replace(organisation, node_certs=organisation.node_certs[1:]))
            async with b.client_of(renewed) as after:  # trusts the new certificate alone
                await after.pull("")
            await a.post("after")
            assert (await b.sync(places[0]))[LAB_A].records == 1

    asyncio.run(run())


def test_a_stream_goes_on_after_a_reload(tmp_path):
    places = [make_place(tmp_path, org) for org in (LAB_A, LAB_B)]

    async def run():
        async with federation(places) as (a, b):
            await a.post("one")
            await until(lambda: _holds(b, {"one"}))
            await a.node.reload()
            await b.node.reload()
            await a.post("two")
            await until(lambda: _holds(b, {"one", "two"}))

    asyncio.run(run())


@pytest.mark.parametrize("name", ["delivery", "log", "witness"])
def test_a_key_whose_time_has_come_is_noticed(place, name):
    ahead = 0

    async def run():
        nonlocal ahead
        async with running(place, clock=lambda: now() + ahead) as node:
            rotate(place, name, overlap=DAY)
            assert not node.node.is_key_due()
            ahead = DAY + 1
            assert node.node.is_key_due()
            await node.node.reload()
            assert not node.node.is_key_due()

    asyncio.run(run())


@pytest.mark.parametrize("name", ["record", "log", "witness"])
def test_a_key_that_somebody_at_a_shell_has_replaced_is_noticed_and_taken_over(place, name):
    async def run():
        async with running(place) as node:
            assert not node.node.is_key_due()
            rotate(place, name)  # it is in its place already, and the node goes on with the one before
            assert node.node.is_key_due()
            before = [signer.key_id for signer in node.home.papers.signers]
            await node.node.reload(keys_only=True)
            assert not node.node.is_key_due()
            log = node.node._side.office.tlog
            after = [signer.key_id for signer in node.home.papers.signers]
            assert (log.signer.key_id, log.witness.key_id) == tuple(after[2:])
            assert [old == new for old, new in zip(before, after, strict=True)].count(False) == 1

    asyncio.run(run())


def test_no_broken_draft_keeps_a_key_whose_time_has_come(place):
    ahead = 0

    async def run():
        nonlocal ahead
        async with running(place, clock=lambda: now() + ahead) as node:
            new = next(iter(rotate(place, "delivery", overlap=DAY).delivery_keys.keys() - _delivery_keys(node)))
            _bad_draft(place)
            ahead = DAY + 1
            await node.node.reload(keys_only=True)
            assert node.home.delivery_signer.key_id == new

    asyncio.run(run())


def test_a_takeover_that_failed_on_its_way_is_tried_again(place, monkeypatch):
    ahead = 0

    async def run():
        nonlocal ahead
        async with running(place, clock=lambda: now() + ahead) as node:
            rotate(place, "delivery", overlap=DAY)
            ahead = DAY + 1
            with monkeypatch.context() as once:
                once.setattr(home_module, "note_papers", _full)
                with pytest.raises(Overloaded):
                    await node.node.reload(keys_only=True)
            assert node.node.is_key_due()
            await node.node.reload(keys_only=True)
            assert not node.node.is_key_due()
            assert node.home.delivery_signer.key_id == node.node._side.delivery_signer.key_id

    asyncio.run(run())


def _delivery_keys(node):
    return node.home.organisation.delivery_keys.keys()


def _full(*_args, **_more):
    raise Overloaded("the disk is full", reason="NO_SPACE")


async def _holds(node, titles) -> bool:
    return await node.titles() == titles


def test_policies_are_still_put_in_force_by_people_alone(tmp_path):
    place, other = make_place(tmp_path, LAB_A), make_place(tmp_path, LAB_B)
    put_policy(place, other)

    async def run():
        async with running(place, config=QUICK) as node:
            before = node.home.policies.policies[LAB_B]
            draft = place.root / "policies" / f"{LAB_B}.toml"
            draft.write_text(draft.read_text().replace("AMBER+STRICT", "CLEAR"))
            await node.node.reload()
            assert node.home.policies.policies[LAB_B] == before

    asyncio.run(run())
