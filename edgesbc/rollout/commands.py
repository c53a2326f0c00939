"""Changes of the policy that operators order over the control socket. What is in force is the watcher's affair."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.control.server import Command
from edgesbc.inventory.databases import without_passwords
from edgesbc.policy.diff import PolicyChange, needs_restart, summary
from edgesbc.policy.model import ChangeSettings, Policy
from edgesbc.rollout.policy_history import Kept, name_of, read_change, target_of
from edgesbc.rollout.rollout_monitor import RolloutMonitor
from edgesbc.store.destination_source import DestinationSource
from edgesbc.store.policy_log import Outcome, PolicyLogEntry

__all__ = ["PolicyCommands"]


class PolicyCommands:
    """Answers ``policy running``, ``policy apply``, ``policy rollback`` and ``policy settling``."""

    def __init__(self, watcher: RolloutMonitor) -> None:
        self._watcher = watcher
        self._force = watcher.force

    @property
    def commands(self) -> Mapping[str, Command]:
        """By the name that they are asked for by."""
        return {
            "policy running": self._running,
            "policy apply": self._apply,
            "policy rollback": self._rollback,
            "policy settling": self._settling,
        }

    def _running(self, asked: ControlRequest) -> dict[str, Any]:
        """The policy in force: its text, its file and its version."""
        policy = self._force.policy
        return {"file": policy.file, "text": policy.text, "version": self._watcher.version}

    async def _apply(self, asked: ControlRequest) -> dict[str, Any]:
        """``text`` and ``why``; where given ``settle``, ``rollback`` and ``accept_restart``."""
        text, why, settle = asked.text("text"), _why(asked), _settle(asked)
        self._refuse_while_settling()
        async with self._force.changing:
            self._refuse_while_settling()  # somebody may have been quicker
            who = await trio.to_thread.run_sync(name_of, asked.uid)
            try:
                policy, changes = await trio.to_thread.run_sync(read_change, text, self._force.policy)
                feeder = await self._force.prepare(policy)
            except PolicyErrors as errors:
                await self._note_refusal(text, who, why, str(errors))
                return _mistakes(errors)
            waits = [each.sentence for each in changes if each.restart]
            if waits and asked.arguments.get("accept_restart") is not True:
                return {"waits": waits, **_told(changes)}
            if text == self._force.policy.text:
                return {"version": self._watcher.version, "unchanged": True}
            settings = policy.change if settle is None else attrs.evolve(policy.change, settle=settle)
            if not changes:  # comments and the like: nothing that calls could suffer from
                settings = attrs.evolve(settings, settle=0.0)
            take_back = asked.arguments.get("rollback") is not False
            return await self._put_in_force(policy, feeder, changes, who, why, settings, take_back)

    async def _put_in_force(
        self,
        policy: Policy,
        feeder: DestinationSource,
        changes: list[PolicyChange],
        who: str,
        why: str,
        settings: ChangeSettings,
        take_back: bool,
    ) -> dict[str, Any]:
        message = "it settles" if settings.settle else "not watched"
        entry, aside = await self._keep(
            policy.text, who, Outcome.APPLIED, message=message, why=why, summary=summary(changes)
        )
        self._watcher.apply(policy, feeder, entry, settings, take_back)
        waits = needs_restart(changes)
        self._watcher.log.info("policy applied", version=entry.version, who=who, why=why, needs_restart=waits)
        return {
            "version": entry.version, "set_aside": aside, "settle": settings.settle, "needs_restart": waits,
            **_told(changes),
        }  # fmt: skip

    async def _rollback(self, asked: ControlRequest) -> dict[str, Any]:
        """``why`` and, where given, the version ``to``; without it, the one before."""
        why, to = _why(asked), asked.arguments.get("to")
        if to is not None and (type(to) is not int or not 0 < to < 2**31):
            raise CommandRefused(f"expected the number of a version as to, found {to!r}")
        async with self._force.changing:
            running, left = self._force.policy, self._watcher.version
            who = await trio.to_thread.run_sync(name_of, asked.uid)
            try:
                target = await trio.to_thread.run_sync(lambda: target_of(self._watcher.store(), left, to))
                policy, changes = await trio.to_thread.run_sync(read_change, target.text, running)
                feeder = await self._force.prepare(policy)
            except LookupError as error:
                raise CommandRefused(str(error)) from None
            except (OSError, SQLAlchemyError) as error:
                raise CommandRefused(f"nothing is changed: {error}") from None
            except PolicyErrors as errors:
                return _mistakes(errors)
            if target.text == running.text:
                raise CommandRefused(f"the text of version {target.version} is in force already")
            message = f"the text of version {target.version}, in the place of version {left}"
            entry, aside = await self._keep(
                target.text, who, Outcome.RESTORED, message, why, summary(changes), target.version
            )
            self._watcher.end("rolled-back", f"taken back by {who}: {why}")
            detail = f"version {target.version} is in force again, by {who}: {why}"
            self._watcher.swap(policy, entry.version, detail, feeder)
            await self._watcher.mark(left, Outcome.ROLLED_BACK, f"taken back by {who}: {why}")
            self._watcher.log.info("policy rolled back", version=entry.version, of=target.version, who=who, why=why)
            return {
                "version": entry.version, "of": target.version, "left": left, "set_aside": aside,
                "needs_restart": needs_restart(changes), **_told(changes),
            }  # fmt: skip

    def _settling(self, asked: ControlRequest) -> dict[str, Any]:
        """Where the change with ``version`` stands; without one, the last."""
        watch = self._watcher.last
        version = asked.arguments.get("version")
        if watch is None or (version is not None and version != watch.version):
            raise CommandRefused("nothing of it is watched; see `edgesbc policy log`")
        return {
            "version": watch.version, "who": watch.who, "why": watch.why, "state": watch.state,
            "message": watch.message, **watch.settling.as_json(trio.current_time()),
        }  # fmt: skip

    def _refuse_while_settling(self) -> None:
        watch = self._watcher.watch
        if watch is not None:
            left = max(watch.settling.ends - trio.current_time(), 0.0)
            raise CommandRefused(
                f"version {watch.version} by {watch.who} ({watch.why}) settles for another {left:.0f} s; wait for it,"
                " or take it back with `edgesbc policy rollback`"
            )

    async def _keep(
        self, text: str, who: str, outcome: Outcome, message: str, why: str, summary: str, of: int | None = None
    ) -> Kept:
        file = self._force.policy.file
        if not file:
            raise CommandRefused("the edge runs from no file, so that a restart would not know of a change")
        try:
            return await self._watcher.keep(
                PolicyLogEntry(
                    datetime.now(UTC), file, "", who, outcome, message, text, why=why, summary=summary, of=of
                )
            )
        except OSError as error:
            raise CommandRefused(f"nothing is changed: {error}") from None

    async def _note_refusal(self, text: str, who: str, why: str, mistakes: str) -> None:
        """A disk that fails keeps nobody from learning of mistakes."""
        file = self._force.policy.file
        log = self._watcher.log
        log.error("policy refused, the old one goes on", who=who, error=mistakes)
        try:
            await trio.to_thread.run_sync(
                lambda: self._watcher.store().append(file, without_passwords(text), who, Outcome.REFUSED, mistakes, why)
            )
        except (OSError, SQLAlchemyError) as error:
            log.error("the audit log cannot be written", error=str(error))


def _mistakes(errors: PolicyErrors) -> dict[str, Any]:
    return {"mistakes": [{"key": each.key, "message": each.message} for each in errors.errors]}


def _told(changes: list[PolicyChange]) -> dict[str, Any]:
    """The sentences of ``changes``, bounded."""
    shown = changes[: limits.CHANGES_SHOWN]
    return {"changes": [each.sentence for each in shown], "left_out": len(changes) - len(shown)}


def _why(asked: ControlRequest) -> str:
    why = asked.text("why").strip()
    if not why or len(why) > limits.CHANGE_WHY_CHARS:
        raise CommandRefused(f"expected a reason of 1 to {limits.CHANGE_WHY_CHARS} characters as why, found {len(why)}")
    return why


def _settle(asked: ControlRequest) -> float | None:
    value = asked.arguments.get("settle")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limits.SETTLE_SECONDS:
        raise CommandRefused(f"expected 0 to {limits.SETTLE_SECONDS:g} seconds as settle, found {value!r}")
    return float(value)
