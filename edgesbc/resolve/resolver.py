"""Keeps the names of destinations looked up: asks when a name's time is over. Chooses no address."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import trio

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.resolve.name_servers import NameServers
from edgesbc.resolve.rfc3263 import DnsAnswer, DnsQuestion, Located, locate
from edgesbc.signalling.edge import Edge
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["Resolver"]


class _Name:
    """One name that is wanted, and what is known of it.

    ``answers`` are those of the last look-up: one that is not given again holds on. ``failures`` counts the
    look-ups in a row that left something open; ``said`` is what the ledger was last told.
    """

    __slots__ = ("answers", "busy", "due", "failures", "place", "said", "targets", "tried")

    def __init__(self, place: ServerUri) -> None:
        self.place = place
        self.due = -math.inf
        self.busy = False
        self.tried = False
        self.failures = 0
        self.targets: tuple[ResolvedAddress, ...] = ()
        self.answers: dict[DnsQuestion, DnsAnswer] = {}
        self.said: object = None


class Resolver:
    """Looks up the names that the signalling core's destinations have, and goes on to.

    ``tell`` hands the signalling core the addresses of a name, between two messages; ``record`` takes decisions;
    ``failed`` is told, as (kind, exception), of a fault of ours. Its nursery has a few workers, and no
    task a name: a name whose servers are silent holds up one worker, for a bounded time, and not the rest.
    """

    def __init__(
        self,
        edge: Edge,
        servers: NameServers,
        tell: Callable[[ServerUri, Sequence[ResolvedAddress]], None],
        record: Callable[[Decision], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._edge = edge
        self._servers = servers
        self._tell = tell
        self._record = record
        self._failed = failed
        self._names: dict[ServerUri, _Name] = {}
        self._version: int | None = None
        self._stir = trio.Event()
        self._complete = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started once every name has been tried, or ``limits.DNS_START_SECONDS`` have passed."""
        self._take_stock()
        async with trio.open_nursery() as nursery:
            for _ in range(limits.DNS_LOOKUPS):
                nursery.start_soon(self._work)
            with trio.move_on_after(limits.DNS_START_SECONDS):
                await self._complete.wait()
            task_status.started()

    def look_again(self) -> None:
        """The wanted names may have changed: look up new ones at once, by the servers that are named now."""
        self._servers.read_again()
        self._stir.set()
        self._stir = trio.Event()

    # --- which name is next ------------------------------------------------------------------------------

    def _take_stock(self) -> None:
        """Keep to the names that are wanted now. What is known of one that stays is told again: the signalling core's
        destinations may be others."""
        dispatcher = self._edge.dispatcher
        if dispatcher.version != self._version:
            self._version = dispatcher.version
            wanted = sorted(dispatcher.names(), key=str)
            self._names = {place: self._names.get(place) or _Name(place) for place in wanted}
            for name in self._names.values():
                if name.targets:
                    self._tell(name.place, name.targets)
        if all(name.tried for name in self._names.values()):
            self._complete.set()

    async def _work(self) -> None:
        while True:
            self._take_stock()
            idle = [name for name in self._names.values() if not name.busy]
            name = min(idle, key=lambda each: each.due, default=None)
            if name is None or name.due > trio.current_time():
                await self._rest(math.inf if name is None else name.due)
                continue
            name.busy = True
            try:
                await self._look_up(name)
            finally:
                name.busy = False

    async def _rest(self, until: float) -> None:
        """Until a name is due or something has changed. Not for ever: another worker may have set a time since, and
        not everybody who changes names says so."""
        with trio.move_on_at(min(until, trio.current_time() + limits.DNS_SECONDS_LEAST)):
            await self._stir.wait()

    # --- one name ----------------------------------------------------------------------------------------

    async def _look_up(self, name: _Name) -> None:
        try:
            located, missing = await self._locate(name)
        except Exception as error:  # noqa: BLE001 - what one name's records do must not end the signalling plane
            self._failed("names", error)
            located, missing = Located((), math.inf, (), (f"internal error: {type(error).__name__}",)), []
        if self._names.get(name.place) is name:
            self._conclude(name, located, missing)

    async def _locate(self, name: _Name) -> tuple[Located, list[DnsQuestion]]:
        """Where the name leads, and which questions nobody answered; for those the last answer holds on (RFC 8767)."""
        until = trio.current_time() + limits.DNS_LOOKUP_SECONDS
        answers: dict[DnsQuestion, DnsAnswer] = {}
        missing: list[DnsQuestion] = []
        asking = locate(name.place, self._edge.listeners)
        try:
            question = next(asking)
            while True:
                answer = await self._ask(question, until)
                if answer.failed:
                    missing.append(question)
                    answer = name.answers.get(question, answer)
                if not answer.failed:
                    answers[question] = answer
                question = asking.send(answer)
        except StopIteration as stop:
            name.answers = answers
            return stop.value, missing

    async def _ask(self, question: DnsQuestion, until: float) -> DnsAnswer:
        seconds = min(until - trio.current_time(), limits.DNS_QUESTION_SECONDS)
        return await self._servers.ask(question, seconds) if seconds > 0 else DnsAnswer(failed=True)

    def _conclude(self, name: _Name, located: Located, missing: Sequence[DnsQuestion]) -> None:
        """Tell what has changed, and set the time of the next look-up."""
        now = trio.current_time()
        name.tried = True
        well = bool(located.targets) and not missing
        name.failures = 0 if well else name.failures + 1
        if well:
            wait = min(max(located.ttl, limits.DNS_SECONDS_LEAST), limits.DNS_SECONDS_MOST)
        else:
            wait = min(limits.DNS_SECONDS_LEAST * 2.0 ** min(name.failures - 1, 16), limits.DNS_PAUSE_MOST)
        name.due = now + wait
        before = name.targets
        if located.targets and located.targets != before:
            name.targets = located.targets
            self._tell(name.place, name.targets)
        said = (name.targets, located.remarks, well)
        if said != name.said:
            name.said = said
            detail = _detail(name, before, located, missing)
            self._record(Decision(now, Reason.NAME, source=name.place.host, stage="resolver", detail=detail))


def _detail(name: _Name, before: Sequence[ResolvedAddress], located: Located, missing: Sequence[DnsQuestion]) -> str:
    """What became of a look-up, in a line."""
    parts = []
    if name.targets != before:
        parts.append(f"now {_listed(name.targets)}" + (f", before {_listed(before)}" if before else ""))
    if missing:
        parts.append(f"no answer: {', '.join(map(str, missing[:3]))}")
    elif not located.targets:
        parts.append("no address")
    if located.remarks:
        parts.append(f"not used: {located.remarks[0]}")
    if before and (missing or not located.targets):
        parts.append("what was known goes on")
    return f"{name.place}: {'; '.join(parts) or 'answered again'}"


def _listed(targets: Sequence[ResolvedAddress]) -> str:
    shown = [f"{each.source} over {each.transport}" for each in targets[:4]]
    return ", ".join(shown) + (f" and {len(targets) - 4} more" if len(targets) > 4 else "")
