"""The resolver: keeps the addresses of destinations' host names up to date, by a look-up whenever a TTL ends."""

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
from edgesbc.tasks.containment import Containment

__all__ = ["Resolver"]


class _Name:
    """A host name of destinations, and what is known of it.

    ``answers`` are those of the last look-up, which are used again for questions that fail. ``failures`` counts the
    look-ups in a row that were incomplete; ``recorded`` is the outcome that was last recorded.
    """

    __slots__ = ("answers", "busy", "due", "failures", "recorded", "server_uri", "targets", "tried")

    def __init__(self, server_uri: ServerUri) -> None:
        self.server_uri = server_uri
        self.due = -math.inf
        self.busy = False
        self.tried = False
        self.failures = 0
        self.targets: tuple[ResolvedAddress, ...] = ()
        self.answers: dict[DnsQuestion, DnsAnswer] = {}
        self.recorded: tuple[tuple[ResolvedAddress, ...], tuple[str, ...], bool] | None = None


class Resolver:
    """Looks up the host names of the signalling core's destinations, again and again.

    ``update`` is called with the addresses of a name, between two messages; ``record`` takes decisions;
    ``containment`` counts and reports internal errors. A few workers share the names: a name whose
    servers do not respond delays one worker, for a bounded time.
    """

    def __init__(
        self,
        edge: Edge,
        servers: NameServers,
        update: Callable[[ServerUri, Sequence[ResolvedAddress]], None],
        record: Callable[[Decision], None],
        containment: Containment,
    ) -> None:
        self._edge = edge
        self._servers = servers
        self._update = update
        self._record = record
        self._containment = containment
        self._names: dict[ServerUri, _Name] = {}
        self._version: int | None = None
        self._wake = trio.Event()
        self._complete = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started when every name has been tried once, or after ``limits.DNS_START_SECONDS``."""
        self._read_names()
        async with trio.open_nursery() as nursery:
            for _ in range(limits.DNS_LOOKUPS):
                nursery.start_soon(self._containment.keep_running, "resolver", self._work)
            with trio.move_on_after(limits.DNS_START_SECONDS):
                await self._complete.wait()
            task_status.started()

    def reload(self) -> None:
        """Look up new names at once, by the name servers that are configured now: destinations may have changed."""
        self._servers.reload()
        self._wake.set()
        self._wake = trio.Event()

    # --- the next name -----------------------------------------------------------------------------------

    def _read_names(self) -> None:
        """Take over the names of the dispatcher if they have changed. The known addresses of a name that stays are
        reported again, because its members may be new."""
        dispatcher = self._edge.dispatcher
        if dispatcher.version != self._version:
            self._version = dispatcher.version
            wanted = sorted(dispatcher.names(), key=str)
            self._names = {server_uri: self._names.get(server_uri) or _Name(server_uri) for server_uri in wanted}
            for name in self._names.values():
                if name.targets:
                    self._update(name.server_uri, name.targets)
        if all(name.tried for name in self._names.values()):
            self._complete.set()

    async def _work(self) -> None:
        while True:
            self._read_names()
            idle = [name for name in self._names.values() if not name.busy]
            name = min(idle, key=lambda idle_name: idle_name.due, default=None)
            if name is None or name.due > trio.current_time():
                await self._wait(math.inf if name is None else name.due)
                continue
            name.busy = True
            try:
                await self._look_up(name)
            finally:
                name.busy = False

    async def _wait(self, until: float) -> None:
        """Wait until a name is due or :meth:`reload` is called, for ``limits.DNS_SECONDS_LEAST`` at most: another
        worker may have set an earlier time, and the dispatcher's names may change without a call of :meth:`reload`."""
        with trio.move_on_at(min(until, trio.current_time() + limits.DNS_SECONDS_LEAST)):
            await self._wake.wait()

    # --- one name ----------------------------------------------------------------------------------------

    async def _look_up(self, name: _Name) -> None:
        try:
            located, missing = await self._locate(name)
        except Exception as error:  # noqa: BLE001 - the records of one name must not end the signalling plane
            self._containment.fault("names", error)
            located, missing = Located((), math.inf, (), (f"internal error: {type(error).__name__}",)), []
        if self._names.get(name.server_uri) is name:
            self._conclude(name, located, missing)

    async def _locate(self, name: _Name) -> tuple[Located, list[DnsQuestion]]:
        """The addresses of the name, and the questions that failed, for which the last answer is used (RFC 8767)."""
        until = trio.current_time() + limits.DNS_LOOKUP_SECONDS
        answers: dict[DnsQuestion, DnsAnswer] = {}
        missing: list[DnsQuestion] = []
        lookup = locate(name.server_uri, self._edge.listeners)
        try:
            question = next(lookup)
            while True:
                answer = await self._ask(question, until)
                if answer.failed:
                    missing.append(question)
                    answer = name.answers.get(question, answer)
                if not answer.failed:
                    answers[question] = answer
                question = lookup.send(answer)
        except StopIteration as stop:
            name.answers = answers
            return stop.value, missing

    async def _ask(self, question: DnsQuestion, until: float) -> DnsAnswer:
        seconds = min(until - trio.current_time(), limits.DNS_QUESTION_SECONDS)
        return await self._servers.ask(question, seconds) if seconds > 0 else DnsAnswer(failed=True)

    def _conclude(self, name: _Name, located: Located, missing: Sequence[DnsQuestion]) -> None:
        """Report changed addresses, record the outcome, and set the time of the next look-up."""
        now = trio.current_time()
        name.tried = True
        complete = bool(located.targets) and not missing
        name.failures = 0 if complete else name.failures + 1
        if complete:
            wait = min(max(located.ttl, limits.DNS_SECONDS_LEAST), limits.DNS_SECONDS_MOST)
        else:
            wait = min(limits.DNS_SECONDS_LEAST * 2.0 ** min(name.failures - 1, 16), limits.DNS_PAUSE_MOST)
        name.due = now + wait
        before = name.targets
        if located.targets and located.targets != before:
            name.targets = located.targets
            self._update(name.server_uri, name.targets)
        outcome = (name.targets, located.remarks, complete)
        if outcome != name.recorded:
            name.recorded = outcome
            detail = _detail(name, before, located, missing)
            self._record(Decision(now, Reason.NAME, source=name.server_uri.host, stage="resolver", detail=detail))


def _detail(name: _Name, before: Sequence[ResolvedAddress], located: Located, missing: Sequence[DnsQuestion]) -> str:
    """The outcome of a look-up in one line."""
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
    return f"{name.server_uri}: {'; '.join(parts) or 'answered again'}"


def _listed(targets: Sequence[ResolvedAddress]) -> str:
    shown = [f"{target.source} over {target.transport}" for target in targets[:4]]
    return ", ".join(shown) + (f" and {len(targets) - 4} more" if len(targets) > 4 else "")
