"""The process of the demo's callers: reads groups of calls from standard input, and prints each result as a line."""

from __future__ import annotations

import json
import sys
import time

import attrs
import trio

from edgesbc.base import limits
from edgesbc.base.address import Transport, split_host_port
from edgesbc.base.validation import between
from edgesbc.demo.caller import Caller
from edgesbc.demo.children import loopback
from edgesbc.demo.result import CallResult

__all__ = ["CallGroup", "read_jobs", "read_result", "write_jobs"]

MOST_PACKETS = 500


def _loopback(_instance: object, _attribute: object, value: str) -> None:
    loopback(value)


def _edge(_instance: object, _attribute: object, value: str) -> None:
    loopback(split_host_port(value).host)


@attrs.frozen
class CallGroup:
    """The calls of one user agent: ``count`` calls, ``rate`` a second, each with ``packets`` of 20 ms."""

    name: str
    transport: Transport = attrs.field(converter=Transport)
    edge: str = attrs.field(validator=_edge)
    host: str = attrs.field(validator=_loopback)
    ca: str
    count: int = attrs.field(validator=between(1, limits.DEMO_CALLS))
    rate: float = attrs.field(validator=between(0.1, 200))
    packets: int = attrs.field(default=25, validator=between(1, MOST_PACKETS))


def write_jobs(groups: list[CallGroup]) -> bytes:
    return json.dumps([attrs.asdict(group) for group in groups]).encode()


def read_jobs(text: str) -> list[CallGroup]:
    return [CallGroup(**fields) for fields in json.loads(text)]


def read_result(line: str) -> tuple[str, CallResult]:
    """The group's name and the result in a line of this process."""
    fields = json.loads(line)
    group = fields.pop("group")
    return group, CallResult(**{**fields, "transport": Transport(fields["transport"])})


async def _place(caller: Caller, group: CallGroup, offset: float) -> None:
    """Place one call and print its result, with times on the system's monotonic clock, which all processes share."""
    result = await caller.call(packets=group.packets)
    times = {
        name: None if (value := getattr(result, name)) is None else value + offset
        for name in ("placed", "answered", "ended")
    }
    print(json.dumps({"group": group.name, **attrs.asdict(result), **times}), flush=True)


async def _call_all(group: CallGroup, offset: float) -> None:
    edge = split_host_port(group.edge)
    async with (
        Caller(group.transport, edge, group.host, group.ca or None) as caller,
        trio.open_nursery() as nursery,
    ):
        start = trio.current_time()
        for number in range(group.count):
            await trio.sleep_until(start + number / group.rate)
            nursery.start_soon(_place, caller, group, offset)


async def _main(groups: list[CallGroup]) -> None:
    offset = time.monotonic() - trio.current_time()
    async with trio.open_nursery() as nursery:
        for group in groups:
            nursery.start_soon(_call_all, group, offset)


if __name__ == "__main__":
    trio.run(_main, read_jobs(sys.stdin.read()))
