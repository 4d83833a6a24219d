"""This module stands in for the desk: canned answers by the type of the request, and what was asked."""

from collections.abc import Iterator

from google.protobuf.message import Message


class FakeDesk:
    """Answers each request with what was prepared for its type; an exception is raised."""

    def __init__(self, *answers: Message | BaseException) -> None:
        self.answers = list(answers)
        self.asked: list[Message] = []
        self.closed = False

    def call(self, request: Message, answer: type[Message]) -> Message:
        self.asked.append(type(request).FromString(request.SerializeToString()))
        found = next(one for one in self.answers if isinstance(one, BaseException | answer))
        self.answers.remove(found)
        if isinstance(found, BaseException):
            raise found
        return found

    def stream(self, request: Message, answer: type[Message]) -> Iterator[Message]:
        self.asked.append(request)
        yield from (one for one in self.answers if isinstance(one, answer))

    def close(self) -> None:
        self.closed = True
