"""The policy file read again, as SIGHUP and ``edgesbc reload`` ask for. Watches nothing."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from edgesbc.base.errors import PolicyErrors
from edgesbc.base.log import Log
from edgesbc.policy.load import load_policy
from edgesbc.rollout.active_policy import ActivePolicy
from edgesbc.rollout.rollout_monitor import RolloutMonitor
from edgesbc.store.policy_log import Outcome

__all__ = ["ReloadResult", "reload_policy"]


@attrs.frozen
class ReloadResult:
    """What became of a reload: the mistakes for which it was refused, or the tables that only a restart changes, and
    what is wrong with databases, whose last rows go on."""

    mistakes: list[str]
    needs_restart: list[str] = attrs.field(factory=list)
    databases: list[str] = attrs.field(factory=list)


async def reload_policy(
    force: ActivePolicy, watcher: RolloutMonitor, reload_certificates: Callable[[], None], log: Log
) -> ReloadResult:
    """Read the policy file again. One that has mistakes changes nothing; live calls are never moved."""
    async with force.changing:  # who asks last is heard last, whose ever file was read faster
        try:
            policy = await trio.to_thread.run_sync(load_policy, force.policy.file)
            feeder = await force.prepare(policy)
            reload_certificates()
        except (PolicyErrors, OSError) as error:
            mistakes = str(error).splitlines()
            for line in mistakes:
                log.error("policy refused, the old one goes on", error=line)
            await force.audit(Outcome.REFUSED, str(error))
            return ReloadResult(mistakes)
        another = policy.text != force.policy.text
        kept = force.adopt(policy, feeder)
        version = await force.audit(Outcome.RELOADED, f"needs a restart: {', '.join(kept)}" if kept else "")
        if another:  # the same text, read again for its certificates, is still what settles
            await watcher.replaced(version)
        log.info("policy reloaded", needs_restart=kept)
        return ReloadResult([], kept, feeder.problems())
