"""This module runs a node as a process: until it is told to stop, as its service manager and its operator tell it.

    SIGTERM, SIGINT   drain and stop; a second one ends the calls that are still running
    SIGHUP            read settings, identity, keys and certificates anew; anything wrong: say so, and change nothing
    damage            drain and stop, where somebody met any in the store

`once` fetches from every peer in place of staying in touch, and stops.
"""

import asyncio
import gc
import logging
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tocsin.config import NodeConfig, load_config
from tocsin.desk.home import Home, open_home
from tocsin.errors import TocsinError
from tocsin.exchange.bell import heard_within
from tocsin.failure import trace
from tocsin.logs import write_logs
from tocsin.node import Node, unix_time
from tocsin.services.supervisor import tell_ready, tell_reloading, tell_stopping

_log = logging.getLogger(__name__)

# Threads mostly wait: for the disk, or for the one writer. 50 peers with a page each must not queue behind a slow one.
THREADS = 32
# Each peer has a connection, and more than one while it reconnects; a shell often lets a process have 1,024 files open.
OPEN_FILES = 65_536
# A key that waits to take over does so within this time of its day; the one before it counts for a day longer.
KEYS_SECONDS = 3600.0
# Containers made and not gone after which cycles among them are looked for (Python: 700).
OBJECTS = 20_000


def run(home_path: Path, *, once: bool = False) -> None:
    """Run a node on a home until it is told to stop; with `once`, until it has fetched from every peer.

    Raises HomeMissing, HomeDamaged, HomeLocked, KeyExposed, IdentityExpired,
    StoreCorrupt, MalformedConfig and PortBusy before anything is served. With
    `once`, raises at its end what went wrong with a peer; without it, StoreCorrupt
    where damage has ended it.
    """
    if not once:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop listens: a reload asked for early is no end
    prepare_files()
    with open_home(home_path, now=unix_time()) as home:
        config = load_config(home.layout.root)
        write_logs(level=config.log_level, form=config.log_format)
        for problem in home.policies.problems:
            _log.warning("%s", problem)
        _spare_collector()
        asyncio.run(_run_once(home, config) if once else _run_until_told(home, config))


def _spare_collector() -> None:
    """Let Python look for cycles less often, and never in what was loaded by now: nearly all goes without it.

    A page of records is some ten thousand objects. To follow each of them time
    and again takes a quarter of the time in which a page is verified.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, 50, 1000)


async def _run_once(home: Home, config: NodeConfig) -> None:
    _prepare_threads()
    node = await Node.start(home, replace(config, pull=False, metrics_listen=""))
    try:
        failures = await node.fetch()
    finally:
        await node.stop(config.drain_seconds)
    if failures:
        raise failures[0]


async def _run_until_told(home: Home, config: NodeConfig) -> None:
    _prepare_threads()
    loop = asyncio.get_running_loop()
    told, hurry, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (hurry if told.is_set() else told).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    node = await Node.start(home, config)
    desks = " and ".join(filter(None, (str(node.desk_socket), node.desk_address)))
    _log.info("%s serves on %s, its people on %s", home.organisation.org, node.address or "no port", desks)
    if node.metrics_address:
        _log.info("figures are on http://%s/metrics", node.metrics_address)
    tell_ready("serving")
    keeping = asyncio.create_task(_keep_current(node, asked))
    ends = {asyncio.create_task(told.wait()), asyncio.create_task(node.caretaker.met_damage())}
    _, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in (keeping, *others):
        task.cancel()
    await asyncio.gather(keeping, *others, return_exceptions=True)
    await _drain(node, hurry)
    home.store.verify_whole()


async def _drain(node: Node, hurry: asyncio.Event) -> None:
    _log.info("draining")
    tell_stopping()
    stopping = asyncio.create_task(node.stop(node.config.drain_seconds))
    await asyncio.wait({stopping, asyncio.create_task(hurry.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await node.stop(0)
    await stopping
    _log.info("stopped")


async def _keep_current(node: Node, asked: asyncio.Event) -> None:
    """Reload whenever somebody asks for it, and when a new key's time has come."""
    while True:
        is_asked = await heard_within(asked, KEYS_SECONDS)
        asked.clear()
        try:
            if is_asked or await asyncio.to_thread(node.is_key_due):
                await _reload(node, keys_only=not is_asked)
        except Exception as error:  # noqa: BLE001 -- outermost: the next reload is asked for of this task as well
            _tell_refused(error)


def _tell_refused(error: Exception) -> None:
    """Say that nothing is reloaded, and why; of a bug where it is, and not what it says."""
    lines = [f"{error.reason}: {error}", *error.details] if isinstance(error, TocsinError) else [trace(error)]
    _log.error("nothing is reloaded: %s", lines[0])
    for line in lines[1:]:
        _log.error("%s", line)
    tell_ready("serving; the last reload was refused, see the log")


async def _reload(node: Node, *, keys_only: bool) -> None:
    """Reload, and say what came of it: to the log, and to the service manager."""
    tell_reloading()
    renewal = await node.reload(keys_only=keys_only)
    write_logs(level=renewal.config.log_level, form=renewal.config.log_format)
    for change in renewal.changes:
        _log.warning("identity: %s", change)
    for name in renewal.postponed:
        _log.warning("%s has changed, and counts from the next start", name)
    _log.info("reloaded")
    tell_ready("serving")


def prepare_files() -> None:
    """Let this process have many files open, as far as it may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _prepare_threads() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="tocsin"))
