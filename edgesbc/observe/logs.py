"""Structured logs: set-up and the loggers that cannot be flooded. Decides nothing about what is worth a record."""

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

__all__ = ["FORMATS", "LEVELS", "OncePerKind", "configure", "lifecycle", "logger"]

Format = Literal["json", "console"]
FORMATS: Final = ("json", "console")
LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(stream: TextIO, form: Format = "console", level: str = "warning") -> None:
    """Send the records of this process at or above ``level`` to ``stream``, one line an event.

    :func:`lifecycle` events come through at any level. What libraries log by the standard ``logging``
    module goes the same way. Raises ``ValueError`` for a form or level that is none.
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
    for old in [each for each in root.handlers if isinstance(each, _ToStructlog)]:
        root.removeHandler(old)
    root.addHandler(_ToStructlog(LEVELS[level]))


def logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a room: silent below the level that was configured."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=room)
    return log


def lifecycle(room: str) -> Log:
    """A logger whose info records are always shown: started, listening, reloaded, draining, stopped."""
    log: Log = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), room=room)
    return log


class OncePerKind:
    """Logs an event of a kind at once and then at most every ``interval`` seconds, with how many it left out.

    A kind is a name from this program (a stage and an exception's class, a reason), never text that a
    peer chose; should there be more than ``kinds`` of them all the same, the oldest is forgotten. Of all kinds
    together, no more than ``samples`` records are written in an interval.
    """

    __slots__ = ("_interval", "_kinds", "_log", "_room", "_samples", "_seen", "_since")

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
        self._room = samples
        self._since = -math.inf
        self._seen: dict[str, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def error(self, kind: str, now: float, error: BaseException | None = None, **values: object) -> bool:
        """An internal error, with its traceback; says whether it was logged. ``now`` in seconds."""
        left_out = self._take(kind, now)
        if left_out is None:
            return False
        self._log.error("internal error", kind=kind, left_out=left_out, exc_info=error, **values)
        return True

    def decision(self, decision: Decision) -> bool:
        """One decision as a sample of its reason; says whether it was logged."""
        code = decision.reason.code
        left_out = self._take(f"shadow {code}" if decision.shadow else code, decision.time)
        if left_out is None:
            return False
        names = ("source", "listener", "call_id", "stage", "limit", "value", "shadow", "detail")
        values = {name: value for name in names if (value := getattr(decision, name)) not in ("", None, False)}
        # That a call found its way is no news; whatever else is decided, somebody may have to look into.
        log = self._log.debug if decision.reason is Reason.ROUTED else self._log.warning
        log("decision", reason=code, left_out=left_out, **values)
        return True

    def _take(self, kind: str, now: float) -> int | None:
        """How many were left out since the last record of ``kind``; None when this one is left out too."""
        if now - self._since >= self._interval:
            self._since, self._room = now, self._samples
        since, left_out = self._seen.pop(kind, (-math.inf, 0))
        if len(self._seen) >= self._kinds:
            del self._seen[next(iter(self._seen))]
        if now - since < self._interval or not self._room:
            self._seen[kind] = (since, left_out + 1)
            return None
        self._seen[kind] = (now, 0)
        self._room -= 1
        return left_out


class _ToStructlog(logging.Handler):
    """Where the standard library's records join ours."""

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for name, number in LEVELS.items() if record.levelno <= number), "error")
        log = logger(record.name)
        log.log(LEVELS[level], record.getMessage(), exc_info=record.exc_info or None)


def _escape(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Every value as a number, a truth or text that is safe to show."""
    for key, value in event.items():
        if value is not None and not isinstance(value, bool | int | float):
            event[key] = shown(value if isinstance(value, str) else repr(value), limits.LOG_VALUE_CHARS)
    return event


def _as_json(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)


def _as_line(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """``time level event key=value ...``, values quoted where they could be misread."""
    head = f"{event.pop('timestamp')} {event.pop('level'):<7} {event.pop('event')}"
    return " ".join([head, *(f"{key}={_quoted(value)}" for key, value in event.items())])


def _quoted(value: object) -> str:
    text = str(value)
    if text and not any(c in ' ="' for c in text):
        return text
    return '"' + text.replace('"', '\\"') + '"'
