"""Structured logs: configuration, loggers, and sampled records that a flood cannot multiply."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.log import Log
from edgesbc.base.reasons import Reason
from edgesbc.observe.log_stream import LogStream
from edgesbc.observe.text import shown

__all__ = ["FORMATS", "LEVELS", "SampledLog", "configure", "lifecycle", "logger", "records_lost"]

Format = Literal["json", "console"]
FORMATS: Final = ("json", "console")
LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


_output = LogStream(None)
"""Where :func:`configure` has the records of this process written."""


def configure(stream: TextIO | None, form: Format = "console", level: str = "warning") -> None:
    """Write the records of this process at or above ``level`` to ``stream``, a line each.

    :func:`lifecycle` records are written at any level. Records of libraries, from the standard ``logging`` module, are
    written in the same way, but at most one of a kind a second. A record that cannot be made or written is lost: no
    call of a logger raises. Raises ``ValueError`` for an unknown form or level.
    """
    global _output
    if form not in FORMATS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, found {form!r}")
    if level not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, found {level!r}")
    _output = output = LogStream(stream)

    def add_lost(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if output.unreported:
            event["records_lost"] = output.unreported
        return event

    structlog.configure(
        processors=[
            add_lost,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            _as_json if form == "json" else _as_line,
        ],
        wrapper_class=_contained(LEVELS[level]),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _ToStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_ToStructlog(LEVELS[level]))


def records_lost() -> int:
    """Records of this process that could not be made or written since :func:`configure`."""
    return _output.lost


def _contained(level: int) -> type[Any]:
    """The class of loggers at or above ``level`` whose methods raise nothing."""
    base: Any = structlog.make_filtering_bound_logger(level)

    class ContainedLogger(base):  # type: ignore[misc]
        def _proxy_to_logger(self, method_name: str, event: str | None = None, *arguments: Any, **values: Any) -> Any:
            try:
                return super()._proxy_to_logger(method_name, event, *arguments, **values)
            except Exception:  # noqa: BLE001 - a record that cannot be made costs itself, never its caller
                _output.lose()

    return ContainedLogger


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a part of the edge, whose records have ``room=NAME``; silent below the configured level."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return log


def lifecycle(name: str) -> Log:
    """A logger whose info records are always written: started, listening, reloaded, draining, stopped."""
    log: Log = structlog.wrap_logger(None, wrapper_class=_contained(logging.INFO), room=name)
    return log


class _Sampler:
    """Takes at most one record of a kind in ``interval`` seconds, and ``samples`` records of all kinds together.

    Beyond ``kinds`` kinds, the oldest is dropped.
    """

    __slots__ = ("_interval", "_kinds", "_left", "_samples", "_seen", "_since")

    def __init__(self, interval: float, kinds: int, samples: int) -> None:
        self._interval = interval
        self._kinds = kinds
        self._samples = samples
        self._left = samples
        self._since = -math.inf
        self._seen: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, kind: str, now: float) -> int | None:
        """How many were left out since the last record of ``kind``; None: this one is left out too. ``now`` in
        seconds."""
        if now - self._since >= self._interval:
            self._since, self._left = now, self._samples
        since, left_out = self._seen.pop(kind, (-math.inf, 0))
        if len(self._seen) >= self._kinds:
            del self._seen[next(iter(self._seen))]
        if now - since < self._interval or not self._left:
            self._seen[kind] = (since, left_out + 1)
            return None
        self._seen[kind] = (now, 0)
        self._left -= 1
        return left_out


class SampledLog:
    """Writes at most one record of a kind every ``interval`` seconds, with the number of those left out.

    A kind is a name from this program (a stage and an exception's class, a reason), never a peer's text; beyond
    ``kinds`` of them, the oldest is dropped. Of all kinds together, at most ``samples`` records are written in an
    interval.
    """

    __slots__ = ("_log", "_sampler")

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        interval: float = limits.LOG_KIND_SECONDS,
        kinds: int = limits.LOG_KINDS,
        samples: int = limits.LOG_SAMPLES,
    ) -> None:
        self._log = log
        self._sampler = _Sampler(interval, kinds, samples)

    def __len__(self) -> int:
        return len(self._sampler)

    def error(self, kind: str, now: float, error: BaseException | None = None, **values: object) -> bool:
        """Log an internal error with its traceback; returns whether it was written. ``now`` in seconds."""
        left_out = self._sampler.take(kind, now)
        if left_out is None:
            return False
        self._log.error("internal error", kind=kind, left_out=left_out, exc_info=error, **values)
        return True

    def decision(self, decision: Decision) -> bool:
        """Log a decision as a sample of its reason; returns whether it was written."""
        code = decision.reason.code
        left_out = self._sampler.take(f"shadow {code}" if decision.shadow else code, decision.time)
        if left_out is None:
            return False
        names = ("source", "listener", "call_id", "stage", "limit", "value", "shadow", "detail")
        values = {name: value for name in names if (value := getattr(decision, name)) not in ("", None, False)}
        # A routed call is normal; every other decision may need an operator's attention.
        log = self._log.debug if decision.reason is Reason.ROUTED else self._log.warning
        log("decision", reason=code, left_out=left_out, **values)
        return True


class _ToStructlog(logging.Handler):
    """Passes records of the standard library's loggers to structlog, at most one a second of each place."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._sampler = _Sampler(limits.LOG_LIBRARY_SECONDS, limits.LOG_KINDS, limits.LOG_SAMPLES)

    def emit(self, record: logging.LogRecord) -> None:
        left_out = self._sampler.take(f"{record.pathname}:{record.lineno}", time.monotonic())
        if left_out is None:
            return
        level = next((name for name, number in LEVELS.items() if record.levelno <= number), "error")
        values = {"left_out": left_out} if left_out else {}
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit the text of a library's record
            message = str(record.msg)
        logger(record.name).log(LEVELS[level], message, exc_info=record.exc_info or None, **values)


def _escape(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave numbers and booleans as they are, and turn every other value into escaped text."""
    for key, value in event.items():
        if value is not None and not isinstance(value, bool | int | float):
            event[key] = shown(value if isinstance(value, str) else repr(value), limits.LOG_VALUE_CHARS)
    return event


def _as_json(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)


def _as_line(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """``time level event key=value ...``, with values quoted if they would be ambiguous."""
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {event.pop('event')}"
    return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in event.items())])


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(c in ' ="' for c in text):
        return text
    return '"' + text.replace('"', '\\"') + '"'
