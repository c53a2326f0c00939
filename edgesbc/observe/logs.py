"""Structured logs: configuration, loggers, and sampled records that a flood cannot multiply."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.log import Log
from edgesbc.base.reasons import Reason
from edgesbc.observe.text import shown

__all__ = ["FORMATS", "LEVELS", "SampledLog", "configure", "lifecycle", "logger"]

Format = Literal["json", "console"]
FORMATS: Final = ("json", "console")
LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(stream: TextIO, form: Format = "console", level: str = "warning") -> None:
    """Write the records of this process at or above ``level`` to ``stream``, a line each.

    :func:`lifecycle` records are written at any level. Records of libraries, from the standard ``logging`` module, are
    written in the same way. Raises ``ValueError`` for an unknown form or level.
    """
    if form not in FORMATS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, found {form!r}")
    if level not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, found {level!r}")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            _as_json if form == "json" else _as_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _ToStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_ToStructlog(LEVELS[level]))


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a part of the edge, whose records have ``room=NAME``; silent below the configured level."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return log


def lifecycle(name: str) -> Log:
    """A logger whose info records are always written: started, listening, reloaded, draining, stopped."""
    log: Log = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), room=name)
    return log


class SampledLog:
    """Writes at most one record of a kind every ``interval`` seconds, with the number of those left out.

    A kind is a name from this program (a stage and an exception's class, a reason), never a peer's text; beyond
    ``kinds`` of them, the oldest is dropped. Of all kinds together, at most ``samples`` records are written in an
    interval.
    """

    __slots__ = ("_interval", "_kinds", "_left", "_log", "_samples", "_seen", "_since")

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        interval: float = limits.LOG_KIND_SECONDS,
        kinds: int = limits.LOG_KINDS,
        samples: int = limits.LOG_SAMPLES,
    ) -> None:
        self._log = log
        self._interval = interval
        self._kinds = kinds
        self._samples = samples
        self._left = samples
        self._since = -math.inf
        self._seen: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def error(self, kind: str, now: float, error: BaseException | None = None, **values: object) -> bool:
        """Log an internal error with its traceback; returns whether it was written. ``now`` in seconds."""
        left_out = self._take(kind, now)
        if left_out is None:
            return False
        self._log.error("internal error", kind=kind, left_out=left_out, exc_info=error, **values)
        return True

    def decision(self, decision: Decision) -> bool:
        """Log a decision as a sample of its reason; returns whether it was written."""
        code = decision.reason.code
        left_out = self._take(f"shadow {code}" if decision.shadow else code, decision.time)
        if left_out is None:
            return False
        names = ("source", "listener", "call_id", "stage", "limit", "value", "shadow", "detail")
        values = {name: value for name in names if (value := getattr(decision, name)) not in ("", None, False)}
        # A routed call is normal; every other decision may need an operator's attention.
        log = self._log.debug if decision.reason is Reason.ROUTED else self._log.warning
        log("decision", reason=code, left_out=left_out, **values)
        return True

    def _take(self, kind: str, now: float) -> int | None:
        """How many were left out since the last record of ``kind``; None: this one is left out too."""
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


class _ToStructlog(logging.Handler):
    """Passes records of the standard library's loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for name, number in LEVELS.items() if record.levelno <= number), "error")
        log = logger(record.name)
        log.log(LEVELS[level], record.getMessage(), exc_info=record.exc_info or None)


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
