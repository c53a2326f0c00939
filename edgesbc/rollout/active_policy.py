"""The policy in force: what it makes of an edge, and how another takes its place. Judges no change, answers nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs
import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.errors import PolicyError, PolicyErrors
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.base.log import Log
from edgesbc.inventory.databases import without_passwords
from edgesbc.policy.compile_policy import routing_of, trunks_of
from edgesbc.policy.model import RESTART_SECTIONS, Policy
from edgesbc.policy.reachability import fit_for, sockets_of
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.standing import Standings, Trunk
from edgesbc.signalling.edge import Edge
from edgesbc.store.destination_source import DestinationSource, Surroundings
from edgesbc.store.policy_log import Outcome, PolicyLog

__all__ = ["ActivePolicy"]


class ActivePolicy:
    """One an edge, which is there once :meth:`attach` has told it. ``log`` has ``info`` and ``error``; ``failed`` is
    told of faults in stages. :attr:`changing` is held by whoever changes the policy."""

    edge: Edge

    def __init__(
        self,
        policy: Policy,
        log: Log,
        record: Callable[[Decision], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.policy = policy
        self.record = record
        self.changing = trio.Lock()
        self._log = log
        self._failed = failed
        self._trunks: list[Trunk] = []
        self._names_changed: Callable[[], None] = lambda: None
        self._nursery: trio.Nursery | None = None
        self.feeder = self._feeder(policy)

    def attach(self, edge: Edge, names_changed: Callable[[], None]) -> None:
        """``names_changed`` is called when destinations may have other names than before."""
        self.edge = edge
        self._names_changed = names_changed

    def pipeline(self, policy: Policy) -> Pipeline:
        """The screening of ``policy``, which is about to be in force."""
        self._trunks = trunks_of(policy)
        return Pipeline(policy.screen, Standings(self._trunks), self.record, self._failed)

    def _feeder(self, policy: Policy) -> DestinationSource:
        """What reads the databases of ``policy``; the listeners are those that are there."""
        listen = self.policy.listen
        around = Surroundings(self.policy.edge.state_dir, self._log, self.record, self._members_changed)
        return DestinationSource(policy.database, policy.destinations, sockets_of(listen), fit_for(listen), around)

    # --- destinations from databases ---------------------------------------------------------------------

    async def begin(self) -> None:
        """Ask the databases, before the first call, for a bounded time."""
        await self._read(self.feeder)
        self._members_changed()

    def run_in(self, nursery: trio.Nursery) -> None:
        """Read them again and again, in ``nursery``; those of policies to come as well."""
        self._nursery = nursery
        self.feeder.run_in(nursery)

    async def prepare(self, policy: Policy) -> DestinationSource:
        """The databases of a policy that is to be in force, asked now.

        Raises :class:`PolicyErrors` where a set would lose all the members that it has.
        """
        feeder = self._feeder(policy)
        feeder.inherit(self.feeder)
        await self._read(feeder)
        before = {each.set for each in self._filled(self.policy).destinations if each.members}
        if lost := {name: why for name, why in feeder.empty(policy.destinations).items() if name in before}:
            found = enumerate(each.set for each in policy.destinations)
            keys = [(f"destinations[{index}].database", lost[name]) for index, name in found if name in lost]
            raise PolicyErrors(PolicyError(policy.file, key, message) for key, message in keys)
        await trio.to_thread.run_sync(self.edge.dispatcher.foresee, feeder.filled(policy.destinations))
        return feeder

    @staticmethod
    async def _read(feeder: DestinationSource) -> None:
        """Ask all of them at once, for a bounded time; what is not known then comes from the last rows."""
        with trio.move_on_after(limits.DATABASE_START_SECONDS):
            async with trio.open_nursery() as nursery:
                for feed in feeder.feeds.values():
                    nursery.start_soon(feed.read)
        for feed in feeder.feeds.values():
            await feed.fall_back()

    def _filled(self, policy: Policy) -> Policy:
        """``policy`` with the members that databases have now."""
        return attrs.evolve(policy, destinations=self.feeder.filled(policy.destinations))

    def _members_changed(self) -> None:
        """Put the members that databases have in the place of those before, between two messages."""
        filled = self._filled(self.policy)
        self.edge.dispatcher.reload(filled.destinations, trio.current_time())
        self._names_changed()
        if trunks_of(filled) != self._trunks:
            self.edge.adopt(routing_of(filled), self.pipeline(filled))

    def empty(self) -> dict[str, str]:
        """Why sets of databases have no members, by name."""
        return self.feeder.empty(self.policy.destinations)

    # --- another policy ----------------------------------------------------------------------------------

    def adopt(self, policy: Policy, feeder: DestinationSource | None = None) -> list[str]:
        """Put ``policy`` in force between two messages; returns the tables that only a restart can change.

        ``feeder`` is what :meth:`prepare` made of it; without it, databases are asked soon.
        """
        old = self.policy
        if feeder is None:
            feeder = self._feeder(policy)
            feeder.inherit(self.feeder)
        self.feeder.stop()
        self.feeder = feeder
        if self._nursery is not None:
            feeder.run_in(self._nursery)
        filled = self._filled(policy)
        self.edge.dispatcher.reload(filled.destinations, trio.current_time())
        self._names_changed()
        self.edge.adopt(routing_of(filled), self.pipeline(filled))
        kept = [name for name in RESTART_SECTIONS if getattr(policy, name) != getattr(old, name)]
        self.policy = attrs.evolve(policy, **{name: getattr(old, name) for name in RESTART_SECTIONS})
        return kept

    def shadow(self, policy: Policy | None) -> None:
        """Judge by ``policy`` beside the live one from now on, without effect; None ends it.

        What came of it is in ``edge.gate.beside``, and is gone with it; the metric goes on.
        """
        if policy is None:
            self.edge.gate.watch(None)
        else:
            trunks = trunks_of(self._filled(policy))
            pipeline = Pipeline(policy.screen, Standings(trunks), lambda decision: None, self._failed)
            self.edge.gate.shadow(pipeline, routing_of(policy))
        self._log.info("shadow policy", file="" if policy is None else policy.file)

    # --- the audit log -----------------------------------------------------------------------------------

    async def audit(self, outcome: Outcome, message: str) -> int:
        """Note what became of the policy file; its version. A disk that fails is logged and stops nothing."""
        file = self.policy.file
        if not file:
            return 0

        def write() -> int:
            refused = outcome is Outcome.REFUSED
            # One that was refused may have a password where none belongs; of the others each letter is needed again.
            text = without_passwords(_refused_text(Path(file))) if refused else self.policy.text
            log = PolicyLog(self.policy.edge.state_dir)
            return log.append(file, text, f"uid {os.getuid()}", outcome, message).version

        try:
            return await trio.to_thread.run_sync(write)
        except (OSError, SQLAlchemyError) as error:
            self._log.error("the audit log cannot be written", error=str(error))
            return 0


def _refused_text(file: Path) -> str:
    """The text of a policy file that was refused; "" where it is too large, as the entry's message says then."""
    try:
        return read_file(file, limits.POLICY_BYTES).decode(errors="replace")
    except FileTooLarge:
        return ""
