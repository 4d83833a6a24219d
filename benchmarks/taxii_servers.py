"""This module runs TAXII servers and their client: installed once, on loopback, ended when they were measured."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.figures import Seconds
from benchmarks.progress import Steps
from benchmarks.taxii_objects import vulnerability
from tocsin_cli.demo.network import free_ports

HERE = Path(__file__).parent
LOCK = HERE / "taxii.lock"
ENVIRONMENT = HERE / ".cache" / "taxii-venv"
PYTHON = (str(ENVIRONMENT / "bin" / "python"), "-I")  # nothing that lies on our own path
START_SECONDS = 30

OPENTAXII, MEDALLION = "OpenTAXII", "medallion"
_APPLICATIONS = {OPENTAXII: "opentaxii({folder!r})", MEDALLION: "medallion()"}
_DISCOVERY = {OPENTAXII: "http://127.0.0.1:{port}/taxii2/", MEDALLION: "http://user:pass@127.0.0.1:{port}/taxii2/"}


def install(steps: Steps) -> None:
    """Make the environment of the servers and of their client where it is not there as the lock says."""
    ready = ENVIRONMENT / "ready"
    if ready.exists() and ready.read_text() == LOCK.read_text():
        return
    steps.say("  installing OpenTAXII, medallion and taxii2-client, this once")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    pip = [*PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)
    ready.write_text(LOCK.read_text())


class Client:
    """taxii2-client in a process of its own; it takes the time itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answer()  # it knows its collection

    def add(self, numbers: Sequence[int], *, at_once: int) -> Seconds:
        """Add the objects of some numbers, so many by each call."""
        objects = [vulnerability(number) for number in numbers]
        envelopes = [{"objects": objects[first : first + at_once]} for first in range(0, len(objects), at_once)]
        return self._ask(len(objects), envelopes=envelopes)

    def fetch(self, count: int, *, limit: int = 0, **filters: str) -> Seconds:
        """Fetch what is there, which must be so many objects, in pages of a limit."""
        return self._ask(count, limit=limit, **filters)

    def _ask(self, count: int, **asked: object) -> Seconds:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer["objects"] != count:
            raise RuntimeError(f"{answer['objects']} objects instead of {count}")
        return float(answer["seconds"])

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the TAXII client ended; what it said is above")
        return dict(json.loads(line))


@contextmanager
def serve(server: str, folder: Path) -> Iterator[Client]:
    """Run a server with its databases in a folder, and return its client."""
    port = free_ports(1)[0]
    application = "taxii_wsgi:" + _APPLICATIONS[server].format(folder=str(folder))
    # One process, as a node is; its threads keep connections, which is what the client is fastest with.
    command = [*PYTHON, "-m", "gunicorn", "--chdir", str(HERE), "--bind", f"127.0.0.1:{port}", "--threads", "2"]
    log = folder / f"{server}.log"
    with log.open("ab") as output:
        process = subprocess.Popen([*command, "--log-level", "warning", application], stdout=output, stderr=output)
    try:
        _wait(port, process, log)
        driver = [*PYTHON, str(HERE / "taxii_client.py"), _DISCOVERY[server].format(port=port)]
        direct = {**os.environ, "NO_PROXY": "127.0.0.1"}
        with subprocess.Popen(driver, env=direct, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            yield Client(client)
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)) as connection:
            try:
                connection.request("GET", "/")
                connection.getresponse()
            except OSError:
                time.sleep(0.05)
            else:
                return  # it answers, whatever it says
    raise RuntimeError(f"the TAXII server did not start:\n{log.read_text(errors='replace')[-2000:]}")
