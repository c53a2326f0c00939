"""The policy in force and the change that settles: swapped, watched, and taken back where calls fail.

Answers nobody: operators come to :mod:`edgesbc.rollout.commands`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

import attrs
import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.log import Log
from edgesbc.base.reasons import Reason
from edgesbc.policy.compile_policy import trunks_of
from edgesbc.policy.model import ChangeSettings, Policy
from edgesbc.rollout.active_policy import ActivePolicy
from edgesbc.rollout.policy_history import Kept, keep
from edgesbc.rollout.probation import Probation, ProbationState
from edgesbc.screen.standing import Standings
from edgesbc.store.destination_source import DestinationSource
from edgesbc.store.policy_log import Outcome, PolicyLog, PolicyLogEntry

__all__ = ["RolloutMonitor", "WatchedChange"]


@attrs.define
class WatchedChange:
    """A change that is, or was, watched."""

    version: int
    who: str
    why: str
    before: Policy
    version_before: int
    settling: Probation
    take_back: bool
    """Whether it is taken back when calls fail."""
    state: str = "settling"
    """Or ``settled``, ``rolled-back``, ``replaced``."""
    message: str = ""


class RolloutMonitor:
    """One an edge. ``log`` has ``info`` and ``error``; :attr:`version` is that of the policy in force."""

    def __init__(self, force: ActivePolicy, log: Log) -> None:
        self.force = force
        self.log = log
        self.version = 0
        self.watch: WatchedChange | None = None
        """The change that settles."""
        self.last: WatchedChange | None = None
        """The change that was watched last."""
        self._swapped_at = -math.inf
        self._news = trio.Event()

    def store(self) -> PolicyLog:
        """Blocks, and raises as the store does."""
        return PolicyLog(self.force.policy.edge.state_dir)

    # --- changing: whoever calls these holds the lock ----------------------------------------------------

    async def keep(self, entry: PolicyLogEntry) -> Kept:
        """Enter it in the store and the policy file. Raises ``OSError``; nothing has changed then."""
        running = self.force.policy.text

        def write() -> Kept:
            return keep(self.store(), entry, running)

        return await trio.to_thread.run_sync(write)

    def swap(self, policy: Policy, version: int, detail: str, feeder: DestinationSource | None = None) -> None:
        """Put ``policy`` in force between two messages. No task has its turn meanwhile."""
        force, now = self.force, trio.current_time()
        force.edge.board.attempts.cut(now)
        force.adopt(policy, feeder)
        self.version = version
        self._swapped_at = now
        force.record(Decision(now, Reason.POLICY, stage="change", detail=detail))

    def apply(
        self,
        policy: Policy,
        feeder: DestinationSource,
        entry: PolicyLogEntry,
        settings: ChangeSettings,
        take_back: bool,
    ) -> None:
        """Put ``policy`` in force and watch it; ``feeder`` has what its databases say."""
        before, version_before, swapped_at = self.force.policy, self.version, self._swapped_at
        self.swap(policy, entry.version, f"version {entry.version} by {entry.who} is in force: {entry.why}", feeder)
        if settings.settle:
            edge = self.force.edge
            edge.gate.previous_standings = Standings(trunks_of(before))
            settling = Probation(settings, edge.board.attempts, self._swapped_at, swapped_at)
            self.watch = self.last = WatchedChange(
                entry.version, entry.who, entry.why, before, version_before, settling, take_back
            )
            self._news.set()

    def end(self, state: str, message: str) -> None:
        """The change that settles, if there is one, is watched no longer."""
        if self.watch is not None:
            self.watch.state, self.watch.message = state, message
            self.watch = None
            self.force.edge.gate.previous_standings = None

    async def replaced(self, version: int) -> None:
        """The policy file was read again, and had another text."""
        watch = self.watch
        if watch is not None:
            message = f"watched no longer: the policy file was read again; {watch.settling.words}"
            self.end("replaced", message)
            await self.mark(watch.version, Outcome.APPLIED, message)
        self.version = version
        self._swapped_at = trio.current_time()

    async def mark(self, version: int, outcome: Outcome, message: str) -> None:
        """Say in the store what came of a version. A disk that fails is logged and stops nothing."""
        try:
            await trio.to_thread.run_sync(lambda: self.store().mark(version, outcome, message))
        except (OSError, SQLAlchemyError) as error:
            self.log.error("the audit log cannot be written", error=str(error))

    # --- watching ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at the change that settles from time to time; asleep while there is none."""
        while True:
            if self.watch is None:
                self._news = trio.Event()
                await self._news.wait()
            else:
                await trio.sleep(limits.SETTLE_LOOK_SECONDS)
                await self._look()

    async def _look(self) -> None:
        watch = self.watch
        if (
            watch is None
            or watch.settling.state(trio.current_time()) is ProbationState.SETTLING
            or self.force.edge.draining
        ):
            return  # an edge that stops ends calls itself, which is nobody's fault
        async with self.force.changing:
            if self.watch is not watch:
                return  # an operator was quicker
            state = watch.settling.state(trio.current_time())
            if state is ProbationState.WORSE and watch.take_back:
                await self._take_back(watch)
            elif state is ProbationState.SETTLED or trio.current_time() >= watch.settling.ends:
                message = watch.settling.words
                self.end("settled", message)
                await self.mark(watch.version, Outcome.SETTLED, message)
                self.log.info("policy settled", version=watch.version, calls=message)

    async def _take_back(self, watch: WatchedChange) -> None:
        """Put the policy of before in force again, first of all, and then write it back."""
        settling = watch.settling
        words, rise = settling.words, settling.rise
        message = f"taken back by the edge: {words}, {rise:.0f} percent points more than expected"
        written, running = watch.before.text, self.force.policy.text
        self.force.record(
            Decision(
                trio.current_time(), Reason.POLICY, stage="change", limit=settling.settings.failure_rise,
                value=round(rise, 1), detail=f"version {watch.version} is taken back: {words}",
            )
        )  # fmt: skip
        self.swap(watch.before, watch.version_before, f"version {watch.version_before} is in force again")
        self.end("rolled-back", message)
        self.log.error("policy taken back", version=watch.version, calls=words, rise=round(rise, 1))
        entry = PolicyLogEntry(
            datetime.now(UTC), watch.before.file, "", "edge", Outcome.RESTORED,
            f"the text of version {watch.version_before}, in the place of version {watch.version}", written,
            why=f"version {watch.version} made calls fail", of=watch.version_before,
        )  # fmt: skip
        await self.mark(watch.version, Outcome.ROLLED_BACK, message)
        try:
            kept, _ = await trio.to_thread.run_sync(lambda: keep(self.store(), entry, running))
            self.version = kept.version
        except (OSError, SQLAlchemyError) as error:
            self.log.error("the policy file still has what was taken back", version=watch.version, error=str(error))
