"""A line of the log says when, how bad, what and about whom, and nothing else."""

import json
import logging
import sys

import pytest

from tocsin.logs import formatter


def line(form, message, *arguments, level=logging.INFO, **more):
    logger = logging.getLogger("tocsin.test")
    record = logger.makeRecord("tocsin.test", level, __file__, 1, message, arguments, more.pop("exc_info", None))
    record.__dict__.update(more)
    return formatter(form).format(record)


def test_a_line_of_text_reads_as_people_read_it():
    text = line("text", "%s answers again", "b.example", peer="b.example")
    stamp, rest = text.split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == "INFO tocsin.test: b.example answers again"


def test_a_line_of_json_has_the_members_that_others_put_together():
    members = json.loads(line("json", "refused", level=logging.WARNING, peer="b.example", record="x", request_id="7"))
    assert list(members) == ["ts", "level", "event", "peer", "record", "request_id", "logger"]
    assert (members["level"], members["event"], members["logger"]) == ("warning", "refused", "tocsin.test")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_nobody_has_named_is_not_written(form):
    assert "canary" not in line(form, "stored", content="canary", args_of_call=["canary"])


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_named_and_what_it_says_is_not_written(form):
    try:
        raise ValueError("canary")
    except ValueError:
        text = line(form, "a task has failed", exc_info=sys.exc_info())
    assert "a task has failed: ValueError" in text
    assert "canary" not in text


def test_a_line_of_json_is_one_line_whatever_stands_in_it():
    assert "\n" not in line("json", "two\nlines \u2028 %s", "\x1b[31m")
