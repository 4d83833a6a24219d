"""This module runs transcripts: files that show commands and what they print.

    #: a remark
    --- finding.toml                 the file finding.toml, up to the next line of dashes
    title = "…"
    ---
    $ tocsin post finding.toml       a command; `> file` and `< file` redirect
    posted <record>  finding …           what it prints, standard error and output as they come
    [exit 3]                         its exit code, where that is not 0
    $ tocsin serve &                 runs the node of the home from here to the end, in this process

What differs from run to run is normalised: ids, digests, keys, fingerprints,
times, the folder. In a command, `$ID` is the id that was posted last, `$REVIEW` the
review that was named last, and `$FINGERPRINT` the fingerprint that was printed last.
Set TOCSIN_TRANSCRIPTS=write to write what is printed now into the files, and
read the difference before you commit it.
"""

import io
import os
import re
import shlex
import sys
from contextlib import ExitStack, chdir
from pathlib import Path

from tests.cli.serving import served
from tocsin_cli.main import run

_FINGERPRINT = re.compile(r"\b[A-Z2-7]{7}(?:-[A-Z2-7]{7}){7}\b")
_NORMAL = (
    (_FINGERPRINT, "<fingerprint>"),
    (re.compile(r"(?<=/)(tocsin|witness)\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}(?![A-Za-z0-9+/])"), r"\1+<key>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b"), "<record id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "YYYY-MM-DDThh:mm:ssZ"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "YYYY-MM-DD hh:mm"),
    (re.compile(r"(?<![\w-])[A-Za-z0-9_-]{43}(?![\w-])"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<pin>"),
    (re.compile(r"(?<=posted )[0-9a-f]{8}\b|^[0-9a-f]{8}(?=  )|(?<= )[0-9a-f]{8}(?= --to )", re.M), "<record>"),
    (re.compile(r"(?<=  )20\d\d-\d\d-\d\d(?=  |$)", re.M), "YYYY-MM-DD"),
    (re.compile(r"[\d,]+\.\d [MG]iB"), "<size>"),
    (re.compile(r"(?<=until )20\d\d-\d\d-\d\d"), "YYYY-MM-DD"),
    (re.compile(r"\b(from|before:|over on) 20\d\d-\d\d-\d\d\b"), r"\1 YYYY-MM-DD"),
    (re.compile(r"\bprocess \d+"), "process <number>"),
    (re.compile(r"(?<=\bsd_hash )[A-Za-z0-9_-]{8}(?=…)"), "<digest>"),
)
_POSTED = re.compile(r"^posted ([0-9a-f]{8})\b", re.M)
_REVIEW = re.compile(r"(?<=tocsin review show )[A-Za-z0-9_-]{8}(?![\w-])")


class Transcript:
    """One transcript in a folder of its own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self._folder = folder
        self._latest = {"$ID": "", "$FINGERPRINT": "", "$REVIEW": ""}
        self._nodes = ExitStack()

    def play(self) -> str:
        """Run every command and return the transcript as it would be written today."""
        with self._nodes:
            return self._play()

    def _play(self) -> str:
        lines = iter(self.path.read_text(encoding="utf-8").splitlines())
        shown: list[str] = []
        for line in lines:
            if line.startswith("--- "):
                shown += [line, *self._write(line.removeprefix("--- "), lines)]
            elif line.startswith("$ tocsin "):
                shown += [line, *self._run(line.removeprefix("$ ")), ""]
            elif line.startswith("#: "):
                shown.append(line)
        return "\n".join(shown).rstrip("\n") + "\n"

    def _write(self, name: str, lines: "object") -> list[str]:
        body: list[str] = []
        for line in lines:  # type: ignore[attr-defined]
            if line == "---":
                break
            body.append(line)
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(body) + "\n", encoding="utf-8")
        return [*body, "---"]

    def _run(self, command: str) -> list[str]:
        words = [self._latest.get(word, word) for word in shlex.split(command)]
        assert words.pop(0) == "tocsin", "a transcript shows tocsin commands"
        if words[-2:] == ["serve", "&"]:
            home = self._folder / words[1] if words[0] == "--home" else Path(os.environ["TOCSIN_HOME"])
            self._nodes.enter_context(served(home))
            return []
        stdin, target = b"", None
        while len(words) > 2 and words[-2] in "<>":
            mark, name = words[-2:]
            words = words[:-2]
            if mark == "<":
                stdin = (self._folder / name).read_bytes()
            else:
                target = self._folder / name
        code, printed, piped = self._invoke(words, stdin, apart=target is not None)
        if target is not None:
            target.write_bytes(piped)
        for name, pattern in (("$ID", _POSTED), ("$REVIEW", _REVIEW), ("$FINGERPRINT", _FINGERPRINT)):
            self._latest[name] = (pattern.findall(printed) or [self._latest[name]])[-1]
        lines = self._normalised(printed).splitlines()
        return [*lines, f"[exit {code}]"] if code else lines

    def _invoke(self, words: list[str], stdin: bytes, *, apart: bool) -> tuple[int, str, bytes]:
        screen = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        pipe = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) if apart else screen
        before = sys.stdin, sys.stdout, sys.stderr
        sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin), "utf-8"), pipe, screen
        try:
            with chdir(self._folder):
                code = run(words)
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
        return code, screen.buffer.getvalue().decode(), pipe.buffer.getvalue() if apart else b""

    def _normalised(self, text: str) -> str:
        text = text.replace(str(self._folder), "DIR")
        for variable, name in (("$REVIEW", "<review>"), ("$ID", "<record>")):
            if self._latest[variable]:
                text = re.sub(rf"(?<![\w-]){re.escape(self._latest[variable])}(?![\w-])", name, text)
        for pattern, name in _NORMAL:
            text = pattern.sub(name, text)
        return text


def expected(path: Path, played: str) -> str:
    """Return what the file says, after writing it anew where that is asked for."""
    if os.environ.get("TOCSIN_TRANSCRIPTS") == "write":
        path.write_text(played, encoding="utf-8")
    return path.read_text(encoding="utf-8")
