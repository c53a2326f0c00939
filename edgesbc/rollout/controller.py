"""Changes the policy of a running edge: apply, rollback and reload, one at a time, and the probation after apply.

:class:`~edgesbc.rollout.rollout.Rollout` has the states of a change and the table of its transitions; this module
carries out each transition. :class:`~edgesbc.rollout.active_policy.ActivePolicy` swaps policies on the edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.errors import PolicyErrors
from edgesbc.base.log import Log
from edgesbc.base.reasons import Reason
from edgesbc.control.protocol import CommandRefused
from edgesbc.policy.diff import PolicyChange, differences, needs_restart, summary
from edgesbc.policy.load import load_policy, parse_policy
from edgesbc.policy.model import Policy
from edgesbc.rollout.active_policy import ActivePolicy, AssembledPolicy
from edgesbc.rollout.policy_history import PolicyHistory, StoredVersion, new_entry
from edgesbc.rollout.policy_reading import in_thread
from edgesbc.rollout.probation import Probation, ProbationVerdict
from edgesbc.rollout.results import Applied, ReloadResult, RestartNeeded, RolledBack, Unchanged
from edgesbc.rollout.rollout import Rollout, RolloutEvent
from edgesbc.store.destination_source import DestinationSource
from edgesbc.store.policy_log import Outcome

__all__ = ["RolloutController"]


class RolloutController:
    """Changes the policy of one edge. :attr:`version` is the number of the policy in force in the log of policies; 0:
    it has none.

    ``record`` takes decisions; ``log`` has ``info`` and ``error``. A change waits for the one before it to be complete.
    """

    def __init__(self, active: ActivePolicy, record: Callable[[Decision], None], log: Log) -> None:
        self.active = active
        self.version = 0
        self.current: Rollout | None = None
        """The change that put the policy in force there; None: it is from the start, a reload or a revert."""
        self.watched: Rollout | None = None
        """The last change that had a probation."""
        self.last: Rollout | None = None
        """The last change that was prepared, in any state."""
        self.history = PolicyHistory(active.policy.file, active.policy.edge.state_dir, log)
        self._record = record
        self._log = log
        self._changing = trio.Lock()
        self._swapped_at = -math.inf
        self._probation_begins = trio.Event()

    @property
    def on_probation(self) -> Rollout | None:
        """The change in force, while it is on probation."""
        return self.current if self.current is not None and self.current.on_probation else None

    async def start(self) -> None:
        """Enter the policy of the start in the log."""
        self.version = await self.history.note_in_force(self.active.policy, Outcome.STARTED, "")

    # --- apply -------------------------------------------------------------------------------------------

    async def apply(
        self,
        text: str,
        *,
        author: str,
        reason: str,
        settle: float | None = None,
        reverts: bool = True,
        accept_restart: bool = False,
    ) -> Applied | Unchanged:
        """Put ``text`` in force as the text of the policy file; paths in it are relative to that file's folder.

        It is on probation for ``settle`` seconds (None: as its ``[change]`` says), and with ``reverts`` taken back when
        calls fail. Raises :class:`PolicyErrors`, :class:`RestartNeeded` unless ``accept_restart``, and
        :class:`CommandRefused`; nothing has changed then.
        """
        self._refuse_on_probation()
        async with self._changing:
            self._refuse_on_probation()  # another may have been applied while this one waited
            try:
                policy, changes, source = await self._prepare(text)
            except PolicyErrors as errors:
                self._log.error("policy refused, the old one goes on", who=author, error=str(errors))
                await self.history.note_refused(text, author, reason, str(errors))
                raise
            except TimeoutError as error:
                raise CommandRefused(f"nothing is changed: {error}") from None
            if not accept_restart and any(change.restart for change in changes):
                raise RestartNeeded(changes)
            if text == self.active.policy.text:
                return Unchanged(self.version)
            settings = policy.change if settle is None else attrs.evolve(policy.change, settle=settle)
            if not changes:  # a comment: no call can fail by it
                settings = attrs.evolve(settings, settle=0.0)
            rollout = Rollout(policy, author, reason, self.active.policy, self.version, settings, reverts)
            message = "it settles" if settings.settle else "not watched"
            parts = self.active.assemble(policy, source)
            stored = await self._store(rollout, Outcome.APPLIED, message, summary(changes))
            self._put_in_force(rollout, parts, f"version {stored.version} by {author} is in force: {reason}")
            waiting = needs_restart(changes)
            self._log.info("policy applied", version=stored.version, who=author, why=reason, needs_restart=waiting)
            return Applied(stored.version, stored.set_aside, settings.settle, waiting, changes)

    async def _prepare(self, text: str) -> tuple[Policy, list[PolicyChange], DestinationSource]:
        """Read ``text``, compare it, and read its databases. Raises :class:`PolicyErrors`, and ``TimeoutError`` where a
        file that it names cannot be read."""
        running = self.active.policy

        def read() -> tuple[Policy, list[PolicyChange]]:
            policy = parse_policy(text, running.file)
            return policy, differences(running, policy)

        policy, changes = await in_thread(read, "the policy, or a file that it names")
        return policy, changes, await self.active.prepare(policy)

    def _refuse_on_probation(self) -> None:
        rollout = self.on_probation
        if rollout is not None and rollout.probation is not None:
            left = max(rollout.probation.ends - trio.current_time(), 0.0)
            raise CommandRefused(
                f"version {rollout.version} by {rollout.author} ({rollout.reason}) settles for another {left:.0f} s;"
                " wait for it, or take it back with `edgesbc policy rollback`"
            )

    async def _store(
        self, rollout: Rollout, outcome: Outcome, message: str, summary: str, of: int | None = None
    ) -> StoredVersion:
        """Enter a prepared change in the log and the policy file; where that fails, it is abandoned.

        Raises :class:`CommandRefused`.
        """
        self.last = rollout
        try:
            if not self.history.file:
                raise CommandRefused("the edge runs from no file, so that a restart would not know of a change")
            entry = new_entry(rollout.policy, rollout.author, outcome, message, rollout.reason, summary, of)
            stored = await self.history.store(entry, self.active.policy.text)
        except CommandRefused as refused:
            rollout.advance(RolloutEvent.FAILED, str(refused))
            raise
        except OSError as error:
            rollout.advance(RolloutEvent.FAILED, str(error))
            raise CommandRefused(f"nothing is changed: {error}") from None
        rollout.version = stored.version
        return stored

    def _put_in_force(self, rollout: Rollout, parts: AssembledPolicy, detail: str) -> None:
        """Swap a prepared change in, and begin its probation where it has one. No other task runs meanwhile."""
        swapped_before = self._swapped_at
        self._swap(parts, rollout.version, detail)
        self.current = rollout
        if not rollout.settings.settle:
            rollout.advance(RolloutEvent.UNWATCHED)
            return
        rollout.probation = Probation(rollout.settings, self.active.attempts, self._swapped_at, swapped_before)
        rollout.advance(RolloutEvent.WATCHED)
        self.active.count_refusals_of(rollout.previous)
        self.watched = rollout
        self._probation_begins.set()

    def _swap(self, parts: AssembledPolicy, version: int, detail: str) -> None:
        """Put a policy in force between two messages."""
        now = trio.current_time()
        self.active.attempts.start_slice(now)
        self.active.adopt(parts)
        self.version = version
        self._swapped_at = now
        self._record(Decision(now, Reason.POLICY, stage="change", detail=detail))

    def _leave(self, event: RolloutEvent, message: str) -> None:
        """End the change in force by ``event``, because another policy takes its place."""
        rollout, self.current = self.current, None
        if rollout is not None:
            self._end_probation(rollout, event, message)

    def _end_probation(self, rollout: Rollout, event: RolloutEvent, message: str) -> None:
        rollout.advance(event, message)
        self.active.count_refusals_of(None)

    # --- rollback ----------------------------------------------------------------------------------------

    async def rollback(self, *, author: str, reason: str, to: int | None = None) -> RolledBack:
        """Put the text of version ``to`` in force again (None: of the one before), without probation.

        Raises :class:`PolicyErrors` where that text has mistakes for this edge, and :class:`CommandRefused`; nothing
        has changed then.
        """
        async with self._changing:
            left = self.version
            try:
                target = await self.history.target(left, to)
                policy, changes, source = await self._prepare(target.text)
            except LookupError as error:
                raise CommandRefused(str(error)) from None
            except (OSError, SQLAlchemyError) as error:
                raise CommandRefused(f"nothing is changed: {error}") from None
            if target.text == self.active.policy.text:
                raise CommandRefused(f"the text of version {target.version} is in force already")
            unwatched = attrs.evolve(policy.change, settle=0.0)
            rollout = Rollout(policy, author, reason, self.active.policy, left, unwatched)
            message = f"the text of version {target.version}, in the place of version {left}"
            parts = self.active.assemble(policy, source)
            stored = await self._store(rollout, Outcome.RESTORED, message, summary(changes), target.version)
            taken_back = f"taken back by {author}: {reason}"
            self._leave(RolloutEvent.ROLLED_BACK, taken_back)
            detail = f"version {target.version} is in force again, by {author}: {reason}"
            self._put_in_force(rollout, parts, detail)
            await self.history.mark(left, Outcome.ROLLED_BACK, taken_back)
            self._log.info("policy rolled back", version=stored.version, of=target.version, who=author, why=reason)
            waiting = needs_restart(changes)
            return RolledBack(stored.version, target.version, left, stored.set_aside, waiting, changes)

    # --- reload ------------------------------------------------------------------------------------------

    async def reload(self, reload_certificates: Callable[[], None]) -> ReloadResult:
        """Read the policy file and the certificates again. A file with mistakes changes nothing.

        ``reload_certificates`` raises ``OSError`` where they cannot be used.
        """
        async with self._changing:  # requests to reload take effect in their order
            active = self.active
            try:
                policy = await in_thread(lambda: load_policy(active.policy.file), active.policy.file)
                source = await active.prepare(policy)
                reload_certificates()
            except (PolicyErrors, OSError) as error:
                mistakes = str(error).splitlines()
                for line in mistakes:
                    self._log.error("policy refused, the old one goes on", error=line)
                if not isinstance(error, TimeoutError):  # its text cannot be read for the log either
                    await self.history.note_refused_file(str(error))
                return ReloadResult(mistakes)
            another = policy.text != active.policy.text
            waiting = active.adopt(active.assemble(policy, source))
            message = f"needs a restart: {', '.join(waiting)}" if waiting else ""
            version = await self.history.note_in_force(active.policy, Outcome.RELOADED, message)
            if another:  # the same text, read again for its certificates, stays on probation
                await self._supersede(version)
            self._log.info("policy reloaded", needs_restart=waiting)
            return ReloadResult([], waiting, source.problems())

    async def _supersede(self, version: int) -> None:
        """The text of the policy file has taken the place of the change in force."""
        rollout, self.current = self.current, None
        self.version = version
        self._swapped_at = trio.current_time()
        if rollout is not None and rollout.probation is not None and rollout.on_probation:
            message = f"watched no longer: the policy file was read again; {rollout.probation.summary}"
            await self.history.mark(rollout.version, Outcome.APPLIED, message)
            self._end_probation(rollout, RolloutEvent.RELOADED, message)

    # --- probation ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Judge the change that is on probation from time to time, until cancelled; without one, sleep."""
        while True:
            if self.on_probation is None:
                self._probation_begins = trio.Event()
                await self._probation_begins.wait()
            else:
                await trio.sleep(limits.SETTLE_LOOK_SECONDS)
                await self._judge()

    async def _judge(self) -> None:
        rollout = self.on_probation
        if rollout is None or rollout.probation is None or self.active.edge.draining:
            return  # an edge that drains ends calls itself, which is no evidence against the policy
        probation = rollout.probation
        if probation.judge(trio.current_time()) is ProbationVerdict.OPEN:
            return
        async with self._changing:
            if self.on_probation is not rollout:
                return  # a rollback or a reload came first
            now = trio.current_time()
            verdict = probation.judge(now)
            if verdict is ProbationVerdict.FAILED and rollout.reverts:
                await self._revert(rollout, probation)
            elif verdict is ProbationVerdict.PASSED or now >= probation.ends:
                message = probation.summary
                # Logged before it is announced: a command that waits for the outcome reads the log next.
                await self.history.mark(rollout.version, Outcome.SETTLED, message)
                self._end_probation(rollout, RolloutEvent.TIME_OVER, message)
                self._log.info("policy settled", version=rollout.version, calls=message)

    async def _revert(self, rollout: Rollout, probation: Probation) -> None:
        """Put the policy before in force again, at once, and only then write it back."""
        counts, rise = probation.summary, probation.rise
        message = f"taken back by the edge: {counts}, {rise:.0f} percent points more than expected"
        in_file = self.active.policy.text
        before, number = rollout.previous, rollout.previous_version
        self._record(
            Decision(
                trio.current_time(), Reason.POLICY, stage="change", limit=rollout.settings.failure_rise,
                value=round(rise, 1), detail=f"version {rollout.version} is taken back: {counts}",
            )
        )  # fmt: skip
        self._swap(self.active.assemble(before), number, f"version {number} is in force again")
        self._leave(RolloutEvent.CALLS_FAIL, message)
        self._log.error("policy taken back", version=rollout.version, calls=counts, rise=round(rise, 1))
        await self.history.mark(rollout.version, Outcome.ROLLED_BACK, message)
        text_of = f"the text of version {number}, in the place of version {rollout.version}"
        reason = f"version {rollout.version} made calls fail"
        try:
            stored = await self.history.store(
                new_entry(before, "edge", Outcome.RESTORED, text_of, reason, of=number), in_file
            )
            self.version = stored.version
        except OSError as error:
            self._log.error("the policy file still has what was taken back", version=rollout.version, error=str(error))
