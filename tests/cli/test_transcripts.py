"""Every transcript plays as it is written."""

import pytest

from tests.cli.conftest import set_environment
from tests.cli.transcript import Transcript, expected
from tests.support.shared import ROOT

TRANSCRIPTS = sorted((ROOT / "tests" / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_plays_as_it_is_written(path, tmp_path, monkeypatch):
    set_environment(monkeypatch, tmp_path)
    monkeypatch.setattr("tocsin_cli.session.LOCK_PATIENCE_SECONDS", 0)
    played = Transcript(path, tmp_path).play()
    assert played == expected(path, played)


def test_there_are_transcripts():
    assert len(TRANSCRIPTS) >= 8
