"""Every transcript plays as it is written."""

import pytest

from tests.cli.transcript import Transcript, expected
from tests.support.shared import ROOT

TRANSCRIPTS = sorted((ROOT / "tests" / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_plays_as_it_is_written(path, tmp_path, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TOCSIN_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOCSIN_HOME", str(tmp_path / "home"))
    played = Transcript(path, tmp_path).play()
    assert played == expected(path, played)


def test_there_are_transcripts():
    assert len(TRANSCRIPTS) >= 8
