"""The policy in force on a running edge. Only this module replaces it by another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.errors import PolicyError, PolicyErrors
from edgesbc.base.log import Log
from edgesbc.dispatch.settings import SetSettings
from edgesbc.policy.compile_policy import core_rules_of, header_rules_of, routing_of, trunks_of
from edgesbc.policy.model import RESTART_SECTIONS, Policy
from edgesbc.policy.reachability import fit_for, sockets_of
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.core_sources import CoreRules
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect
from edgesbc.signalling.header_rules import HeaderRules
from edgesbc.signalling.statistics import CallAttempts
from edgesbc.store.destination_source import DestinationSource, FeedContext
from edgesbc.tasks.containment import Containment

__all__ = ["ActivePolicy", "AssembledPolicy"]


@attrs.frozen
class AssembledPolicy:
    """A policy, and all that a running edge takes of it: made by :meth:`ActivePolicy.assemble`."""

    policy: Policy
    source: DestinationSource
    destinations: tuple[SetSettings, ...]
    """With the members that its databases have."""
    trunks: list[Trunk]
    routing: RoutingTable
    pipeline: Pipeline
    headers: HeaderRules
    core: CoreRules


class ActivePolicy:
    """The policy of one edge. :meth:`attach` gives it the edge, before any other method but :meth:`pipeline` is called.

    ``log`` has ``info`` and ``error``; ``record`` takes decisions; ``containment`` counts and reports internal errors.
    """

    edge: Edge

    def __init__(
        self,
        policy: Policy,
        log: Log,
        record: Callable[[Decision], None],
        containment: Containment,
    ) -> None:
        self.policy = policy
        self._log = log
        self._record = record
        self._containment = containment
        self._trunks: list[Trunk] = []
        self._names_changed: Callable[[], None] = lambda: None
        self._carry_out: Callable[[Sequence[Effect]], None] = lambda effects: None
        self._nursery: trio.Nursery | None = None
        self.source = self._source_of(policy)
        self.on_adopted: Callable[[Policy], None] = lambda policy: None
        """Called with each policy that has come into force after the first."""

    def attach(
        self, edge: Edge, names_changed: Callable[[], None], carry_out: Callable[[Sequence[Effect]], None]
    ) -> None:
        """``names_changed`` is called when destinations may have other host names than before; ``carry_out`` takes
        effects of the edge."""
        self.edge = edge
        self._names_changed = names_changed
        self._carry_out = carry_out

    def pipeline(self, policy: Policy) -> Pipeline:
        """The screening of ``policy``, which is about to be in force."""
        self._trunks = trunks_of(policy)
        return self._pipeline(policy, self._trunks)

    def _pipeline(self, policy: Policy, trunks: list[Trunk]) -> Pipeline:
        return Pipeline(policy.screen, Standings(trunks), self._record, self._containment.fault)

    # --- destinations from databases ---------------------------------------------------------------------

    def _source_of(self, policy: Policy) -> DestinationSource:
        """Reads the databases of ``policy``. The listeners are those in force: only a restart changes them."""
        listen = self.policy.listen
        context = FeedContext(
            self.policy.edge.state_dir, self._log, self._record, self._containment, self._members_changed
        )
        return DestinationSource(policy.database, policy.destinations, sockets_of(listen), fit_for(listen), context)

    async def read_databases(self) -> None:
        """Read the databases before the first call, for at most ``limits.DATABASE_START_SECONDS``."""
        await self._read(self.source)
        self._members_changed()

    def run_in(self, nursery: trio.Nursery) -> None:
        """Read databases again from time to time by tasks in ``nursery``, those of later policies as well."""
        self._nursery = nursery
        self.source.run_in(nursery)

    async def prepare(self, policy: Policy) -> DestinationSource:
        """Read the databases of a policy that is to be in force; nothing changes on the edge.

        Raises :class:`PolicyErrors` where a set would lose all the members that it has.
        """
        source = self._source_of(policy)
        source.inherit(self.source)
        await self._read(source)
        before = {filled.set for filled in self._filled(self.policy).destinations if filled.members}
        if lost := {name: why for name, why in source.empty_sets(policy.destinations).items() if name in before}:
            sets = enumerate(settings.set for settings in policy.destinations)
            keys = [(f"destinations[{index}].database", lost[name]) for index, name in sets if name in lost]
            raise PolicyErrors(PolicyError(policy.file, key, message) for key, message in keys)
        await trio.to_thread.run_sync(self.edge.dispatcher.prepare, source.with_members(policy.destinations))
        return source

    @staticmethod
    async def _read(source: DestinationSource) -> None:
        """Read all databases at the same time, for a bounded time; one that does not answer keeps its last rows."""
        with trio.move_on_after(limits.DATABASE_START_SECONDS):
            async with trio.open_nursery() as nursery:
                for feed in source.feeds.values():
                    nursery.start_soon(feed.read)
        for feed in source.feeds.values():
            await feed.fall_back()

    def _filled(self, policy: Policy) -> Policy:
        """``policy`` with the members that its databases have now."""
        return attrs.evolve(policy, destinations=self.source.with_members(policy.destinations))

    def _members_changed(self) -> None:
        """Use the members that the databases have now, between two messages."""
        filled = self._filled(self.policy)
        trunks = trunks_of(filled)
        adopted = (routing_of(filled), self._pipeline(filled, trunks)) if trunks != self._trunks else None
        self.edge.dispatcher.reload(filled.destinations, trio.current_time())
        self._names_changed()
        if adopted is not None:
            self._trunks = trunks
            self.edge.adopt(*adopted)
        self._judge_connections()

    def _judge_connections(self) -> None:
        """Close the connections of sources that have been removed."""
        with self._containment.contain("connections"):
            if effects := self.edge.judge_connections(trio.current_time()):
                self._carry_out(effects)

    def unfilled_sets(self) -> dict[str, str]:
        """Sets that have no member from their database, each with the reason."""
        return self.source.empty_sets(self.policy.destinations)

    # --- another policy ----------------------------------------------------------------------------------

    def assemble(self, policy: Policy, source: DestinationSource | None = None) -> AssembledPolicy:
        """Make all parts of ``policy``; nothing changes on the edge.

        A change does this before it is stored: what is raised here then leaves no half of it, on the edge or on disk.
        ``source`` is what :meth:`prepare` returned for the policy; without it, the databases are read soon.
        """
        if source is None:
            source = self._source_of(policy)
            source.inherit(self.source)
        filled = attrs.evolve(policy, destinations=source.with_members(policy.destinations))
        trunks = trunks_of(filled)
        return AssembledPolicy(
            policy, source, filled.destinations, trunks, routing_of(filled), self._pipeline(filled, trunks),
            header_rules_of(filled), core_rules_of(filled),
        )  # fmt: skip

    def adopt(self, parts: AssembledPolicy) -> list[str]:
        """Put a policy in force between two messages; returns the sections that only a restart can change."""
        old, policy = self.policy, parts.policy
        self.source.stop()
        self.source = parts.source
        if self._nursery is not None:
            parts.source.run_in(self._nursery)
        self.edge.dispatcher.reload(parts.destinations, trio.current_time())
        self._names_changed()
        self._trunks = parts.trunks
        self.edge.adopt(parts.routing, parts.pipeline, policy.registrations.rules, parts.headers, parts.core)
        self._judge_connections()
        waiting = [name for name in RESTART_SECTIONS if getattr(policy, name) != getattr(old, name)]
        self.policy = attrs.evolve(policy, **{name: getattr(old, name) for name in RESTART_SECTIONS})
        with self._containment.contain("policy adopted"):
            self.on_adopted(self.policy)
        return waiting

    def shadow(self, policy: Policy | None) -> None:
        """Judge by ``policy`` as well from now on, without effect; None ends it, and discards what it has counted."""
        if policy is None:
            self.edge.observe_verdicts(None)
        else:
            trunks = trunks_of(self._filled(policy))
            pipeline = Pipeline(policy.screen, Standings(trunks), lambda decision: None, self._containment.fault)
            self.edge.start_shadow(pipeline, routing_of(policy))
        self._log.info("shadow policy", file="" if policy is None else policy.file)

    def shadow_report(self) -> dict[str, Any] | None:
        """The counts of the shadow policy so far (:meth:`ShadowPolicy.report`); None where there is none."""
        shadow = self.edge.shadow_policy
        return None if shadow is None else shadow.report()

    # --- calls that fail ---------------------------------------------------------------------------------

    @property
    def attempts(self) -> CallAttempts:
        """Calls attempted and failed on the edge, by when they began."""
        return self.edge.call_attempts

    def count_refusals_of(self, policy: Policy | None) -> None:
        """Count refused calls of the trunks of ``policy`` as failed, besides those of the trunks in force; None ends
        it.

        A change that removes a trunk makes the calls of that trunk fail.
        """
        self.edge.count_refusals_of(None if policy is None else Standings(trunks_of(policy)))
