"""Fixtures of `tests.exchange`, since logs are watched by those who exchange."""

from tests.exchange.conftest import a, b, c, no_logs, parties

__all__ = ["a", "b", "c", "no_logs", "parties"]
