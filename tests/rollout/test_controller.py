"""Every transition of a change on a running edge: what is in force, in the policy file and in the log of policies."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from support.databases import OURS, SQLITE
from support.running import edge_process, free_port, policy_text, running, until

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.control.client import ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.rollout.results import Applied, RestartNeeded, Unchanged
from edgesbc.rollout.rollout import RolloutState
from edgesbc.store.policy_log import DATABASE, Outcome, PolicyLog

ONE, OTHER, THIRD = "sip:127.0.0.11:9", "sip:127.0.0.12:9", "sip:127.0.0.13:9"
CHANGE = "\n[change]\nsettle = 300\nleast_calls = 4\nfailure_rise = 20\n"


def text(folder: Path, *members: str, more: str = CHANGE) -> str:
    return policy_text(folder, members, more=more)


async def applied(app: App, text: str, *, settle: float | None = None, rollback: bool = True) -> Applied:
    answer = await app.policies.apply(text, by="alice", why="a try", settle=settle, rollback=rollback)
    assert isinstance(answer, Applied)
    return answer


def members(app: App) -> list[str]:
    return [member.name for member in app.edge.dispatcher.members()]


def in_file(folder: Path) -> str:
    return (folder / "policy.toml").read_text()


def outcomes(folder: Path) -> list[Outcome]:
    """The entries of the log, oldest first."""
    return [entry.outcome for entry in reversed(PolicyLog(folder / "state").entries())]


def state(app: App) -> RolloutState:
    assert app.rollout.last is not None
    return app.rollout.last.state


def calls_fail(app: App, count: int = 4) -> None:
    for _ in range(count):
        app.active.attempts.count_refused(trio.current_time())


# --- prepared --------------------------------------------------------------------------------------------


async def test_a_change_without_probation_is_confirmed_at_once(tmp_path: Path) -> None:
    new = text(tmp_path, OTHER)
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        answer = await applied(app, new, settle=0)
        assert (answer.version, answer.settle, answer.set_aside, answer.needs_restart) == (2, 0, None, [])
        assert (state(app), members(app), in_file(tmp_path)) == (RolloutState.CONFIRMED, [OTHER], new)
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.APPLIED]
        with pytest.raises(CommandRefused, match="nothing of it is watched"):
            app.policies.settling(2)
        assert await app.policies.apply(new, by="alice", why="again") == Unchanged(2)


async def test_a_comment_needs_no_probation(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        answer = await applied(app, text(tmp_path, ONE) + "# the same\n")
        assert (answer.settle, answer.changes, state(app)) == (0, [], RolloutState.CONFIRMED)


async def test_a_change_that_needs_a_restart_is_prepared_only_if_that_is_accepted(tmp_path: Path) -> None:
    new = policy_text(tmp_path, [OTHER], edge="grace = 7")
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        with pytest.raises(RestartNeeded, match="grace 30 -> 7"):
            await applied(app, new)
        assert (app.rollout.last, members(app)) == (None, [ONE])
        answer = await app.policies.apply(new, by="alice", why="x", settle=0, accept_restart=True)
        assert isinstance(answer, Applied)
        assert (answer.needs_restart, members(app), app.policy.edge.grace) == (["edge"], [OTHER], 30.0)


async def test_mistakes_are_raised_and_noted(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        with pytest.raises(PolicyErrors, match=r"change\.settle"):
            await applied(app, text(tmp_path, OTHER, more='[change]\nsettle = "long"'))
        assert (app.rollout.last, members(app)) == (None, [ONE])
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.REFUSED]


async def test_a_database_that_fails_at_prepare_changes_nothing(tmp_path: Path) -> None:
    """The table is missing, so the set would lose its member."""
    new = text(tmp_path, more='[[database]]\nname = "main"\n' + CHANGE).replace("members = []", 'database = "main"')
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        with pytest.raises(PolicyErrors) as refused:
            await applied(app, new)
        (error,) = refused.value.errors
        assert error.key == "destinations[0].database"
        assert (app.rollout.last, members(app), in_file(tmp_path)) == (None, [ONE], text(tmp_path, ONE))
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.REFUSED]
        with closing(sqlite3.connect(tmp_path / "state" / "destinations.sqlite")) as connection:
            connection.execute(OURS.format(**SQLITE))
            connection.execute("insert into destinations (set_name, uri) values ('pbx', ?)", (OTHER,))
            connection.commit()
        await applied(app, new)
        assert members(app) == [OTHER]


@pytest.mark.parametrize("broken", ["file", "log"])
async def test_a_change_whose_policy_file_cannot_be_written_is_abandoned(tmp_path: Path, broken: str) -> None:
    old = text(tmp_path, ONE)
    async with running(tmp_path, old) as app:
        if broken == "file":
            (tmp_path / ".policy.toml.new").mkdir()  # a folder in the place of the new file, which fails for root too
        else:
            (tmp_path / "state" / DATABASE).write_bytes(b"no database" * 100)
        with pytest.raises(CommandRefused, match=r"nothing is changed: .* cannot be written"):
            await applied(app, text(tmp_path, OTHER))
        assert (state(app), members(app), in_file(tmp_path)) == (RolloutState.ABANDONED, [ONE], old)
        assert (app.rollout.version, app.rollout.current) == (1, None)


# --- probation -------------------------------------------------------------------------------------------


async def test_the_status_of_a_change_on_probation(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        calls_fail(app, 3)
        answer = app.policies.settling(2)
        assert (answer["version"], answer["who"], answer["why"], answer["state"]) == (2, "alice", "a try", "settling")
        assert (answer["since"], answer["before"]) == ({"begun": 3, "failed": 3}, {"begun": 0, "failed": 0})
        assert 0 < answer["left"] <= answer["settle"] == 300
        assert app.policies.settling()["version"] == 2, "without a version, the last change"


async def test_a_change_is_confirmed_at_the_end_of_its_probation(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER), settle=0.1)
        while app.policies.settling(2)["state"] == "settling":  # every pass of the loop is checked
            await trio.lowlevel.checkpoint()
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.SETTLED], "logged before it is announced"
        assert (state(app), members(app)) == (RolloutState.CONFIRMED, [OTHER])
        answer = app.policies.settling(2)
        assert (answer["state"], answer["message"]) == ("settled", "0 of 0 calls failed since, 0 of 0 before")
        await applied(app, text(tmp_path, THIRD), settle=0)
        assert app.policies.settling(2)["state"] == "settled", "a later change does not alter it"


async def test_failed_calls_revert_a_change(tmp_path: Path) -> None:
    old = text(tmp_path, ONE)
    async with running(tmp_path, old) as app:
        await applied(app, text(tmp_path, OTHER))
        calls_fail(app)
        await until(lambda: len(outcomes(tmp_path)) == 3)
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.ROLLED_BACK, Outcome.RESTORED]
        await until(lambda: app.rollout.version == 3)
        assert (state(app), members(app), in_file(tmp_path)) == (RolloutState.REVERTED, [ONE], old)
        assert "taken back by the edge: 4 of 4 calls failed since" in app.policies.settling(2)["message"]
        assert app.rollout.current is None
        await applied(app, text(tmp_path, THIRD))
        assert members(app) == [THIRD]


async def test_failed_calls_do_not_revert_a_change_without_automatic_revert(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER), settle=0.5, rollback=False)
        calls_fail(app)
        await until(lambda: state(app) is RolloutState.CONFIRMED)  # the outcome is in the log before
        assert (outcomes(tmp_path), members(app)) == ([Outcome.STARTED, Outcome.SETTLED], [OTHER])


async def test_the_edge_reverts_a_change_even_if_the_policy_file_cannot_be_written(tmp_path: Path) -> None:
    new = text(tmp_path, OTHER)
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, new)
        (tmp_path / ".policy.toml.new").mkdir()
        calls_fail(app)
        await until(lambda: state(app) is RolloutState.REVERTED)
        assert members(app) == [ONE]
        await until(lambda: outcomes(tmp_path) == [Outcome.STARTED, Outcome.ROLLED_BACK, Outcome.REFUSED])
        assert in_file(tmp_path) == new


async def test_an_edge_that_drains_does_not_revert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draining edge ends calls itself, so failed calls say nothing about the policy."""
    looks: list[float] = []
    sleep = trio.sleep

    async def counted(seconds: float) -> None:
        if seconds == limits.SETTLE_LOOK_SECONDS:
            looks.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(limits, "SETTLE_LOOK_SECONDS", 0.021)
    monkeypatch.setattr(trio, "sleep", counted)
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        app.edge.drain()
        calls_fail(app)
        count = len(looks)
        await until(lambda: len(looks) > count + 2)
        assert (state(app), members(app)) == (RolloutState.PROBATION, [OTHER])


async def test_apply_during_probation_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        with pytest.raises(CommandRefused, match=r"version 2 by alice \(a try\) settles for another"):
            await applied(app, text(tmp_path, THIRD))
        assert (state(app), members(app)) == (RolloutState.PROBATION, [OTHER])
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.APPLIED]


async def test_of_two_changes_at_once_the_second_is_refused(tmp_path: Path) -> None:
    """Both pass the first check; the second one waits for the lock and checks again."""
    answers: list[str] = []

    async def apply(member: str) -> None:
        try:
            await applied(app, text(tmp_path, member))
            answers.append("applied")
        except CommandRefused:
            answers.append("refused")

    async with running(tmp_path, text(tmp_path, ONE)) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(apply, OTHER)
            nursery.start_soon(apply, THIRD)
        assert answers == ["applied", "refused"]
        assert state(app) is RolloutState.PROBATION


async def test_rollback_during_probation_reverts_it(tmp_path: Path) -> None:
    old = text(tmp_path, ONE)
    async with running(tmp_path, old) as app:
        await applied(app, text(tmp_path, OTHER))
        probation = app.rollout.last
        done = await app.policies.rollback(by="bob", why="complaints")
        assert (done.version, done.of, done.left) == (3, 1, 2)
        assert probation is not None
        assert (probation.state, probation.message) == (RolloutState.REVERTED, "taken back by bob: complaints")
        assert (state(app), members(app), in_file(tmp_path)) == (RolloutState.CONFIRMED, [ONE], old)
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.ROLLED_BACK, Outcome.RESTORED]
        assert app.rollout.on_probation is None, "a rollback has no probation"


async def test_reload_of_the_same_text_leaves_the_probation(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        assert (await app.reload()).mistakes == []
        assert state(app) is RolloutState.PROBATION
        calls_fail(app)
        await until(lambda: state(app) is RolloutState.REVERTED)


async def test_reload_of_another_text_supersedes_it(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        (tmp_path / "policy.toml").write_text(text(tmp_path, THIRD))
        assert (await app.reload()).mistakes == []
        assert (state(app), members(app)) == (RolloutState.SUPERSEDED, [THIRD])
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.APPLIED, Outcome.RELOADED]
        message = "watched no longer: the policy file was read again; 0 of 0 calls failed since, 0 of 0 before"
        assert (app.policies.settling(2)["state"], app.policies.settling(2)["message"]) == ("replaced", message)
        assert (app.rollout.version, app.rollout.current) == (3, None)
        await applied(app, text(tmp_path, OTHER))


async def test_reload_with_mistakes_leaves_the_probation(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        (tmp_path / "policy.toml").write_text("[edge]\ngraze = 1")
        assert (await app.reload()).mistakes
        assert (state(app), members(app)) == (RolloutState.PROBATION, [OTHER])


async def test_an_edge_that_is_killed_during_probation_starts_with_the_new_text(tmp_path: Path) -> None:
    """The text that was in force is used by the next start, without probation."""
    http = free_port()
    old, new = (policy_text(tmp_path, [uri], http=f"127.0.0.1:{http}", more=CHANGE) for uri in (ONE, OTHER))
    socket = tmp_path / "state" / "control.sock"
    apply = ControlRequest("policy apply", {"text": new, "why": "a try"})
    async with edge_process(tmp_path, old, http) as edge:
        assert (await trio.to_thread.run_sync(ask, socket, apply))["settle"] == 300
        edge.signal(signal.SIGKILL)
        await edge.ended()
        assert in_file(tmp_path) == new
    async with edge_process(tmp_path, in_file(tmp_path), http):
        with pytest.raises(CommandRefused, match="nothing of it is watched"):
            await trio.to_thread.run_sync(ask, socket, ControlRequest("policy settling"))
        running_now = await trio.to_thread.run_sync(ask, socket, ControlRequest("policy running"))
        assert (running_now["text"], running_now["version"]) == (new, 3)
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.APPLIED, Outcome.STARTED]


# --- confirmed -------------------------------------------------------------------------------------------


async def test_rollback_twice_goes_further_back(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER), settle=0)
        confirmed = app.rollout.last
        await applied(app, text(tmp_path, THIRD), settle=0)
        assert (await app.policies.rollback(by="bob", why="one")).of == 2
        assert members(app) == [OTHER]
        assert (await app.policies.rollback(by="bob", why="two")).of == 1
        assert members(app) == [ONE]
        with pytest.raises(CommandRefused, match="there is no earlier version"):
            await app.policies.rollback(by="bob", why="three")
        assert members(app) == [ONE]
        assert confirmed is not None
        assert confirmed.state is RolloutState.CONFIRMED, "version 2 was replaced, and version 3 rolled back"
        assert outcomes(tmp_path) == [
            Outcome.STARTED, Outcome.APPLIED, Outcome.ROLLED_BACK, Outcome.ROLLED_BACK, Outcome.RESTORED,
        ]  # fmt: skip


async def test_rollback_of_a_confirmed_change_reverts_it(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER), settle=0)
        confirmed = app.rollout.last
        await app.policies.rollback(by="bob", why="x", to=1)
        assert confirmed is not None
        assert confirmed.state is RolloutState.REVERTED
        with pytest.raises(CommandRefused, match="the text of version 1 is in force already"):
            await app.policies.rollback(by="bob", why="x", to=1)
        with pytest.raises(CommandRefused, match="there is no version 77"):
            await app.policies.rollback(by="bob", why="x", to=77)


async def test_rollback_where_the_log_is_gone_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        await applied(app, text(tmp_path, OTHER))
        (tmp_path / "state" / DATABASE).write_bytes(b"no database" * 100)
        with pytest.raises(CommandRefused, match="nothing is changed: "):
            await app.policies.rollback(by="bob", why="x")
        assert (state(app), members(app)) == (RolloutState.PROBATION, [OTHER])


# --- beside changes --------------------------------------------------------------------------------------


async def test_diff_and_log_and_shadow(tmp_path: Path) -> None:
    new = text(tmp_path, ONE, OTHER)
    async with running(tmp_path, text(tmp_path, ONE)) as app:
        assert [change.sentence for change in await app.policies.diff(new)] == [
            f"set pbx: member {OTHER} is added (priority 1)"
        ]
        with pytest.raises(PolicyErrors):
            await app.policies.diff("[edge]\ngraze = 1")
        assert app.policies.shadowed() == {"on": False}
        shutil.copy(tmp_path / "policy.toml", tmp_path / "shadow.toml")
        assert (await app.policies.shadow(str(tmp_path / "shadow.toml")))["judged"] == 0
        with pytest.raises(CommandRefused, match=r"gone\.toml: cannot be read"):
            await app.policies.shadow(str(tmp_path / "gone.toml"))
        assert app.policies.shadowed()["on"] is True
        assert await app.policies.shadow(None) == {"on": False}
        await applied(app, new, settle=0)
        assert [(entry.version, entry.who, entry.text) for entry in await app.policies.log(1)] == [(2, "alice", "")]
        assert [entry.version for entry in await app.policies.log()] == [2, 1]
