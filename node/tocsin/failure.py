"""This module says what every exception of ours carries: what is wrong, where, why in one code, and what to do next.

Of an exception that is none of ours, a bug, the log is told where it is.
"""

import traceback
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar


class TocsinError(Exception):
    """Carry what is wrong, where, and what to do next.

    `message` says what is wrong in lower case without a full stop; `where` is
    a place such as `policies/aisi.toml:12`; `hint` says what to do next.
    `details` holds one line for each problem where there are several.
    `metadata` travels with the error over the wire and never holds content.
    """

    status: ClassVar[str] = ""
    exit_code: ClassVar[int] = 70
    reasons: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(
        cls, *, status: str | None = None, exit_code: int | None = None, reasons: Mapping[str, str] | None = None
    ) -> None:
        """Take what the class line states; what it does not state is the parent's, but for the reasons."""
        super().__init_subclass__()
        cls.status = cls.status if status is None else status
        cls.exit_code = cls.exit_code if exit_code is None else exit_code
        cls.reasons = MappingProxyType(dict(reasons or {}))

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        where: str = "",
        hint: str = "",
        details: tuple[str, ...] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Take the only reason of the class where none is given.

        Raises TypeError for a reason that the class does not own.
        """
        if not reason and len(self.reasons) == 1:
            (reason,) = self.reasons
        if reason not in self.reasons:
            raise TypeError(f"{type(self).__name__} has no reason {reason!r}")
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.where = where
        self.hint = hint
        self.details = details
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        """Return place and message on one line."""
        return f"{self.where}: {self.message}" if self.where else self.message


def leaves(of: type[TocsinError] = TocsinError) -> Iterator[type[TocsinError]]:
    """Yield every class of the tree that owns reasons."""
    if of.reasons:
        yield of
    for child in of.__subclasses__():
        yield from leaves(child)


def by_reason(reason: str) -> type[TocsinError] | None:
    """Return the class that owns a reason, or None."""
    return next((leaf for leaf in leaves() if reason in leaf.reasons), None)


def trace(error: BaseException) -> str:
    """Return what a bug is and where, for the log; not what it says, which may repeat what is confidential."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"
