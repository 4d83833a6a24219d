"""This module guesses what somebody meant to write."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """Return a question to append to a message, or nothing where nothing is near."""
    near = get_close_matches(written, tuple(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
