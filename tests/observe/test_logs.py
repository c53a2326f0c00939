"""Logs: few records by default, one safe line each, and bounded in a flood."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.logs import FORMATS, SampledLog, configure, lifecycle, logger


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


def json_log(level: str = "warning") -> io.StringIO:
    stream = io.StringIO()
    configure(stream, "json", level)
    return stream


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_only_lifecycle_records_by_default() -> None:
    stream = json_log()
    logger("signalling").info("a call")
    logger("signalling").warning("odd", count=3)
    lifecycle("app").info("listening", port=5060)
    lifecycle("app").debug("not this")
    assert [(r["event"], r["level"], r["room"]) for r in records(stream)] == [
        ("odd", "warning", "signalling"),
        ("listening", "info", "app"),
    ]
    assert records(stream)[0]["count"] == 3


def test_the_level_can_be_lowered() -> None:
    stream = json_log("debug")
    logger("brain").debug("seen")
    assert [r["event"] for r in records(stream)] == ["seen"]


NASTY = 'a"b\r\nINVITE forged=yes \x1b[31m\x00\u2028\u202e\udc80'


@pytest.mark.parametrize("form", FORMATS)
def test_a_record_is_one_line_with_any_values(form: str) -> None:
    stream = io.StringIO()
    configure(stream, form)  # type: ignore[arg-type]
    try:
        raise ValueError(NASTY)
    except ValueError as error:
        logger("x").error(NASTY, text=NASTY, raw=NASTY.encode("utf-8", "replace"), many=[NASTY], exc_info=error)
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert "ValueError" in written


def test_a_decoded_json_record_is_still_safe() -> None:
    stream = json_log()
    logger("x").warning("odd", text=NASTY)
    (record,) = records(stream)
    assert str(record["text"]).isprintable()


def test_long_values_are_cut() -> None:
    stream = json_log()
    logger("x").warning("odd", text="x" * 1_000_000)
    assert len(stream.getvalue()) < limits.LOG_VALUE_CHARS + 500


def test_a_console_line_has_keys_and_values() -> None:
    stream = io.StringIO()
    configure(stream, "console")
    logger("x").warning("something odd", a="plain", b="two words", c=1.5, d="")
    line = stream.getvalue()
    assert line.split(" ", 1)[1] == 'warning something odd room=x a=plain b="two words" c=1.5 d=""\n'


def test_records_of_libraries_are_written_once() -> None:
    json_log()
    stream = json_log()
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").error("failed: %s", "a\nb")
    assert [(r["event"], r["level"], r["room"]) for r in records(stream)] == [("failed: a\\nb", "error", "library")]


@pytest.mark.parametrize(("form", "level"), [("xml", "info"), ("json", "loud")])
def test_a_wrong_setting_is_named(form: str, level: str) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        configure(io.StringIO(), form, level)  # type: ignore[arg-type]


def test_an_error_is_logged_once_a_kind_and_interval() -> None:
    stream = json_log()
    once = SampledLog(logger("screen"), interval=60)
    error = ValueError("boom")
    logged = [once.error("pike ValueError", now, error, listener="udp") for now in (0, 1, 59.9, 60, 61)]
    assert logged == [True, False, False, True, False]
    assert once.error("acl KeyError", 1)
    first, second, other = records(stream)
    assert (first["left_out"], second["left_out"], other["left_out"]) == (0, 2, 0)
    assert first["listener"] == "udp"
    assert "boom" in str(first["exception"])


def test_decisions_are_sampled_by_reason() -> None:
    stream = json_log()
    once = SampledLog(logger("screen"), interval=10)
    for number in range(1000):
        once.decision(Decision(0.01 * number, Reason.PIKE, source=f"192.0.2.{number % 256}:5060", value=31))
    once.decision(Decision(1, Reason.PIKE, source="192.0.2.1:5060", shadow=True))
    assert [(r["reason"], r.get("shadow", False)) for r in records(stream)] == [("pike", False), ("pike", True)]
    assert records(stream)[0]["source"] == "192.0.2.0:5060"
    assert "call_id" not in records(stream)[0]


def test_kinds_are_bounded() -> None:
    json_log("error")
    once = SampledLog(logger("screen"))
    for number in range(limits.LOG_KINDS * 2):
        once.error(f"kind {number}", 0.0)
    assert len(once) == limits.LOG_KINDS


def test_all_kinds_together_are_bounded_too() -> None:
    """Otherwise kinds that displace each other from the bounded memory would be logged every time."""
    stream = json_log("error")
    once = SampledLog(logger("edge"), interval=60)
    for number in range(limits.LOG_KINDS * 5):
        once.error(f"kind {number % (limits.LOG_KINDS + 1)}", now=0.01 * number)
    assert len(records(stream)) == limits.LOG_SAMPLES
    assert once.error("kind 7", now=60.0)
    assert once.error("kind 8", now=60.0)
    assert len(records(stream)) == limits.LOG_SAMPLES + 2


def test_records_left_out_are_counted() -> None:
    stream = json_log("error")
    once = SampledLog(logger("edge"), interval=60, samples=1)
    assert [once.error(kind, now) for kind, now in (("a", 0), ("b", 1), ("b", 2), ("a", 3), ("b", 60))] == [
        True, False, False, False, True,
    ]  # fmt: skip
    assert [(r["kind"], r["left_out"]) for r in records(stream)] == [("a", 0), ("b", 2)]


def test_a_flood_of_every_decision_is_bounded_and_hides_no_error() -> None:
    stream = json_log("debug")
    once = SampledLog(logger("edge"), interval=60)
    for number in range(20):
        for reason in Reason:
            for shadow in (False, True):
                once.decision(Decision(0.1 * number, reason, source=f"192.0.2.{number}:5060", shadow=shadow))
    assert len(records(stream)) == 2 * len(Reason) < limits.LOG_SAMPLES
    assert once.error("a fault", 2.0)


def test_a_routed_call_is_logged_at_debug() -> None:
    stream = io.StringIO()
    configure(stream, "json", "info")
    once = SampledLog(logger("edge"))
    once.decision(Decision(1.0, Reason.ROUTED, detail="pbx sip:10.0.0.11"))
    assert stream.getvalue() == ""
    once.decision(Decision(1.0, Reason.FAILOVER, detail="sip:10.0.0.11 gave no answer in time"))
    assert "failover" in stream.getvalue()
