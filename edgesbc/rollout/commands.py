"""The commands about policies: running, apply, rollback, settling, shadow, log and diff.

They check arguments and translate; :class:`~edgesbc.rollout.controller.RolloutController` does the work.
"""

from __future__ import annotations

import pwd
from typing import Any, NotRequired, TypedDict

import trio
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.control.protocol import CommandRefused, Commands, ControlRequest
from edgesbc.policy.diff import PolicyChange, differences
from edgesbc.policy.load import load_policy, parse_policy
from edgesbc.rollout.controller import RolloutController
from edgesbc.rollout.policy_reading import in_thread
from edgesbc.rollout.probation import ProbationAnswer
from edgesbc.rollout.results import Applied, RestartNeeded, RolledBack, Unchanged
from edgesbc.store.policy_log import PolicyLogEntry

__all__ = ["PolicyCommands", "RunningPolicy", "SettlingAnswer", "ShadowAnswer", "ShadowDifference", "ShadowExample"]

_MOST_VERSION = 2**31 - 1


class RunningPolicy(TypedDict):
    """The policy in force. ``version`` is its number in the log of policies; 0: it could not be entered there."""

    file: str
    text: str
    version: int


class SettlingAnswer(ProbationAnswer):
    """The progress of a change: ``state`` is a value of :class:`~edgesbc.rollout.rollout.RolloutState`."""

    version: int
    who: str
    why: str
    state: str
    message: str


class ShadowExample(TypedDict):
    """A message that two policies judge differently; ``time`` in seconds on the clock of the signalling plane."""

    time: float
    source: str
    listener: str
    call_id: str


class ShadowDifference(TypedDict):
    """How often the verdicts of the ``live`` and the ``other`` policy differed in this way, with the last examples."""

    live: str
    other: str
    count: int
    examples: list[ShadowExample]


class ShadowAnswer(TypedDict):
    """``on``: whether a shadow policy judges. The other keys are there while it does: the messages ``judged``, and the
    differences in verdicts and in ``routes`` (destination sets)."""

    on: bool
    judged: NotRequired[int]
    differences: NotRequired[list[ShadowDifference]]
    routes: NotRequired[list[ShadowDifference]]


class PolicyCommands:
    """The commands of one edge about policies: as methods for programs, and as :attr:`table` for the control socket.

    ``by`` names the author of a change in the log of policies, ``why`` the reason, up to ``limits.CHANGE_WHY_CHARS``
    characters. Methods raise :class:`CommandRefused` with a text that says why, and change nothing then.
    """

    def __init__(self, controller: RolloutController) -> None:
        self._controller = controller
        self._active = controller.active

    def running(self) -> RunningPolicy:
        """The policy in force: its text, its file and its version."""
        policy = self._active.policy
        return {"file": policy.file, "text": policy.text, "version": self._controller.version}

    async def diff(self, text: str) -> list[PolicyChange]:
        """What ``text`` would change of the policy in force, as if it were the text of its file.

        Raises :class:`PolicyErrors` with every mistake in it.
        """
        running = self._active.policy
        try:
            return await in_thread(
                lambda: differences(running, parse_policy(text, running.file)), "a file that the policy names"
            )
        except TimeoutError as error:
            raise CommandRefused(str(error)) from None

    async def apply(
        self,
        text: str,
        *,
        by: str,
        why: str,
        settle: float | None = None,
        rollback: bool = True,
        accept_restart: bool = False,
    ) -> Applied | Unchanged:
        """Put ``text`` in force between two messages, and write it into the policy file.

        ``settle``: seconds, 0 to ``limits.SETTLE_SECONDS``, for which failed calls are counted; None: as ``[change]
        settle`` has it. ``rollback``: take it back when too many more calls fail. Raises :class:`PolicyErrors` with
        every mistake, and :class:`RestartNeeded` where something waits for a restart and ``accept_restart`` is false.
        """
        return await self._controller.apply(
            text,
            author=by,
            reason=_reason(why),
            settle=None if settle is None else _settle(settle),
            reverts=rollback,
            accept_restart=accept_restart,
        )

    async def rollback(self, *, by: str, why: str, to: int | None = None) -> RolledBack:
        """Put the text of version ``to`` in force again, or of the version before. Raises :class:`PolicyErrors`."""
        return await self._controller.rollback(author=by, reason=_reason(why), to=None if to is None else _version(to))

    def settling(self, version: int | None = None) -> SettlingAnswer:
        """The probation of the change ``version``; of the last change that had one, where it is None."""
        rollout = self._controller.watched
        if rollout is None or rollout.probation is None or (version is not None and version != rollout.version):
            raise CommandRefused("nothing of it is watched; see `edgesbc policy log`")
        return {
            "version": rollout.version, "who": rollout.author, "why": rollout.reason, "state": rollout.state.value,
            "message": rollout.message, **rollout.probation.as_json(trio.current_time()),
        }  # fmt: skip

    async def log(self, most: int = 20) -> list[PolicyLogEntry]:
        """The newest ``most`` versions without their texts, newest first."""
        try:
            return await self._controller.history.entries(most)
        except (OSError, SQLAlchemyError) as error:
            raise CommandRefused(f"the log of policies cannot be read: {error}") from None

    async def shadow(self, file: str | None) -> ShadowAnswer:
        """Judge each message by the policy in ``file`` as well, without effect; None ends it. See :meth:`shadowed`."""
        try:
            self._active.shadow(None if file is None else await in_thread(lambda: load_policy(file), file))
        except TimeoutError as error:
            raise CommandRefused(str(error)) from None
        except PolicyErrors as errors:
            raise CommandRefused("\n".join(map(str, errors.errors))) from None
        return self.shadowed()

    def shadowed(self) -> ShadowAnswer:
        """The counts of the shadow policy so far."""
        report = self._active.shadow_report()
        if report is None:
            return {"on": False}
        return {
            "on": True, "judged": report["judged"], "differences": report["differences"], "routes": report["routes"],
        }  # fmt: skip

    # --- on the control socket ---------------------------------------------------------------------------

    @property
    def table(self) -> Commands:
        """The commands by their names on the control socket."""
        return {
            "policy running": lambda request: self.running(),
            "policy apply": self._apply,
            "policy rollback": self._rollback,
            "policy settling": lambda request: self.settling(request.arguments.get("version")),
            "policy shadow": self._shadow,
        }

    async def _apply(self, request: ControlRequest) -> dict[str, Any]:
        """``text`` and ``why``; optional ``settle``, ``rollback`` and ``accept_restart``."""
        arguments = request.arguments
        try:
            applied = await self.apply(
                request.text("text"),
                by=await trio.to_thread.run_sync(user_name, request.uid, abandon_on_cancel=True),
                why=request.text("why"),
                settle=arguments.get("settle"),
                rollback=arguments.get("rollback") is not False,
                accept_restart=arguments.get("accept_restart") is True,
            )
        except PolicyErrors as errors:
            return _mistakes(errors)
        except RestartNeeded as needed:
            return {
                "waits": [change.sentence for change in needed.changes if change.restart], **_shown(needed.changes)
            }  # fmt: skip
        if isinstance(applied, Unchanged):
            return {"version": applied.version, "unchanged": True}
        return {
            "version": applied.version, "set_aside": applied.set_aside, "settle": applied.settle,
            "needs_restart": applied.needs_restart, **_shown(applied.changes),
        }  # fmt: skip

    async def _rollback(self, request: ControlRequest) -> dict[str, Any]:
        """``why`` and, optional, the version ``to``."""
        why = request.text("why")
        by = await trio.to_thread.run_sync(user_name, request.uid, abandon_on_cancel=True)
        try:
            done = await self.rollback(by=by, why=why, to=request.arguments.get("to"))
        except PolicyErrors as errors:
            return _mistakes(errors)
        return {
            "version": done.version, "of": done.of, "left": done.left, "set_aside": done.set_aside,
            "needs_restart": done.needs_restart, **_shown(done.changes),
        }  # fmt: skip

    async def _shadow(self, request: ControlRequest) -> ShadowAnswer:
        """``of``: a file, or "off", or "show"."""
        of = request.text("of")
        return self.shadowed() if of == "show" else await self.shadow(None if of == "off" else of)


def user_name(uid: int | None) -> str:
    """The name of a user for the log of policies. Blocks."""
    if uid is None:
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _mistakes(errors: PolicyErrors) -> dict[str, Any]:
    return {"mistakes": [{"key": error.key, "message": error.message} for error in errors.errors]}


def _shown(changes: list[PolicyChange]) -> dict[str, Any]:
    """The sentences of ``changes``, at most ``limits.CHANGES_SHOWN``."""
    shown = changes[: limits.CHANGES_SHOWN]
    return {"changes": [change.sentence for change in shown], "left_out": len(changes) - len(shown)}


def _reason(why: str) -> str:
    reason = why.strip()
    if not reason or len(reason) > limits.CHANGE_WHY_CHARS:
        raise CommandRefused(
            f"expected a reason of 1 to {limits.CHANGE_WHY_CHARS} characters as why, found {len(reason)}"
        )
    return reason


def _settle(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limits.SETTLE_SECONDS:
        raise CommandRefused(f"expected 0 to {limits.SETTLE_SECONDS:g} seconds as settle, found {value!r}")
    return float(value)


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_VERSION:
        raise CommandRefused(f"expected the number of a version as to, found {value!r}")
    return value
