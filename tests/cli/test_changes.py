"""``edgesbc policy diff``, ``apply`` and ``rollback`` against a running edge."""

from __future__ import annotations

import getpass
import json
import stat
from pathlib import Path

import pytest
import trio
from support.command_line import edgesbc
from support.running import CORE_UDP, PUBLIC_UDP, at, nothing_left, policy_text, running, until
from support.ua import Ua, UdpWire
from support.why import all_sentences

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.store.policy_log import Outcome, PolicyLog

ONE, OTHER = "sip:127.0.0.11:9", "sip:127.0.0.12:9"


async def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return await edgesbc("policy", *arguments, "--state-dir", str(folder / "state"))


def written(folder: Path, text: str) -> str:
    """Write another policy in a folder of its own. Returns its path."""
    file = folder / "elsewhere" / "new.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return str(file)


def outcomes(folder: Path) -> list[Outcome]:
    """The outcomes in the policy log, oldest first."""
    return [entry.outcome for entry in reversed(PolicyLog(folder / "state").entries())]


def members(app: App) -> set[str]:
    return {member.name for member in app.edge.dispatcher.members()}


async def fail(app: App, calls: int) -> None:
    """Place calls that the edge refuses, because no member answers."""
    peer: Source = at(app, "public-udp")
    async with Ua(await UdpWire.open(peer=peer)) as alice:
        for _ in range(calls):
            calling = alice.dialog(f"sip:100@{peer}")
            await calling.send("INVITE")
            await alice.response(503)


async def test_a_change_is_put_in_force_logged_and_written(tmp_path: Path) -> None:
    old, new = policy_text(tmp_path, [ONE]), policy_text(tmp_path, [ONE, OTHER])
    async with running(tmp_path, old) as app:
        (tmp_path / "policy.toml").chmod(0o640)
        (stays,) = app.edge.dispatcher.members()
        code, output, errors = await run(
            tmp_path, "apply", written(tmp_path, new), "--why", "more room", "--settle", "0"
        )
        assert (code, errors) == (0, "")
        assert output == f"set pbx: member {OTHER} is added (priority 1)\nversion 2 is in force\n"
        assert members(app) == {ONE, OTHER}
        assert next(app.edge.dispatcher.members()) is stays, "a member of both keeps health and leases"
        file = tmp_path / "policy.toml"
        assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (new, 0o640)
        first, second = reversed(PolicyLog(tmp_path / "state").entries())
        assert (first.text, first.outcome, first.version) == (old, Outcome.STARTED, 1)
        assert (second.text, second.outcome, second.version) == (new, Outcome.APPLIED, 2)
        assert (second.who, second.why) == (getpass.getuser(), "more room")
        assert second.summary == f"set pbx: member {OTHER} is added (priority 1)"
        assert (await run(tmp_path, "apply", str(file), "--why", "again"))[1] == (
            "nothing changes: version 2 has this text\n"
        )
        assert app.edge.dispatcher.leases == 0


async def test_paths_are_relative_to_the_policy_that_runs(tmp_path: Path) -> None:
    """The list of scanners is in the folder of the running policy, and not in that of the new one."""
    (tmp_path / "mine.toml").write_text('user_agents = ["friendly-scanner"]\n')
    new = policy_text(tmp_path, [ONE], more='[screen.scanner]\nlist = "mine.toml"')
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        code, _, errors = await run(tmp_path, "apply", written(tmp_path, new), "--why", "ours", "--settle", "0")
        assert (code, errors) == (0, "")
        listed = app.policy.screen.scanner.list
        assert listed is not None
        assert listed.user_agents == ("friendly-scanner",)


async def test_all_mistakes_are_printed_and_nothing_changes(tmp_path: Path) -> None:
    text = policy_text(tmp_path, [ONE])
    new = written(tmp_path, text + '\n[change]\nsettle = "long"\nfailure_rise = 0\n')
    async with running(tmp_path, text) as app:
        before = app.edge.pipeline
        code, output, errors = await run(tmp_path, "apply", new, "--why", "try")
        assert (code, output) == (1, "")
        assert f"{new}: change.settle: expected a number, found 'long'" in errors
        assert f"{new}: change.failure_rise: expected more than 0" in errors
        assert "2 mistakes; nothing was changed" in errors
        assert app.edge.pipeline is before
        assert (tmp_path / "policy.toml").read_text() == text
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.REFUSED]


async def test_a_change_that_needs_a_restart_is_refused_unless_accepted(tmp_path: Path) -> None:
    old = policy_text(tmp_path, [ONE])
    new = written(tmp_path, policy_text(tmp_path, [OTHER], edge="grace = 7"))
    async with running(tmp_path, old) as app:
        code, output, errors = await run(tmp_path, "apply", new, "--why", "try")
        assert (code, output) == (1, "")
        assert "[edge]: grace 30 -> 7 (needs a restart)\nnothing was changed" in errors
        assert members(app) == {ONE}
        code, output, _ = await run(tmp_path, "apply", new, "--why", "try", "--accept-restart", "--settle", "0")
        assert code == 0
        assert "needs a restart: edge\nversion 2 is in force" in output
        assert members(app) == {OTHER}
        assert app.policy.edge.grace == 30.0


async def test_without_calls_a_change_settles_and_the_command_waits_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        new = written(tmp_path, policy_text(tmp_path, [OTHER]))
        code, output, errors = await run(tmp_path, "apply", new, "--why", "x", "--settle", "3")
        assert (code, errors, members(app)) == (0, "", {OTHER})
        assert "settling, " in output
        assert output.endswith("version 2 has settled: 0 of 0 calls failed since, 0 of 0 before\n")
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.SETTLED]


async def test_a_second_change_is_refused_while_the_first_settles(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        first = written(tmp_path, policy_text(tmp_path, [OTHER]))
        assert (await run(tmp_path, "apply", first, "--why", "the first", "--no-wait"))[0] == 0
        second = written(tmp_path, policy_text(tmp_path, [ONE, OTHER]))
        code, _, errors = await run(tmp_path, "apply", second, "--why", "the second")
        assert code == 2
        assert f"refuses: version 2 by {getpass.getuser()} (the first) settles for another" in errors
        assert members(app) == {OTHER}


CHANGE = "\n[change]\nsettle = 30\nleast_calls = 4\nfailure_rise = 20\n"


async def test_a_change_after_which_calls_fail_is_rolled_back(tmp_path: Path) -> None:
    """No program listens at port 9: the kernel answers with ICMP, and a call is refused at once."""
    old = policy_text(tmp_path, [ONE], open=["public-udp"], more=CHANGE)
    new = policy_text(tmp_path, [OTHER], open=["public-udp"], more=CHANGE)
    async with running(tmp_path, old) as app, trio.open_nursery() as nursery:
        ended: list[tuple[int, str, str]] = []
        (before,) = app.edge.dispatcher.members()

        async def change() -> None:
            ended.append(await run(tmp_path, "apply", written(tmp_path, new), "--why", "worse"))

        nursery.start_soon(change)
        await until(lambda: members(app) == {OTHER})
        await fail(app, 4)
        await until(lambda: bool(ended))
        ((code, _, errors),) = ended
        assert code == 3
        assert "version 2 is no longer in force: taken back by the edge: 4 of 4 calls failed since" in errors
        assert members(app) == {before.name}
        await until(lambda: len(outcomes(tmp_path)) == 3)
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.ROLLED_BACK, Outcome.RESTORED]
        assert (tmp_path / "policy.toml").read_text() == old
        assert [line for line in all_sentences(app) if "version 2 is taken back: 4 of 4 calls failed" in line]
        assert app.edge.parts.screener.previous_standings is None
        await nothing_left(app)


async def test_with_no_rollback_a_change_stays_in_force(tmp_path: Path) -> None:
    old = policy_text(tmp_path, [ONE], open=["public-udp"], more=CHANGE)
    new = policy_text(tmp_path, [OTHER], open=["public-udp"], more=CHANGE)
    async with running(tmp_path, old) as app:
        arguments = ("--why", "sure", "--no-rollback", "--no-wait", "--settle", "3")
        assert (await run(tmp_path, "apply", written(tmp_path, new), *arguments))[0] == 0
        await fail(app, 4)
        await until(lambda: outcomes(tmp_path) == [Outcome.STARTED, Outcome.SETTLED])
        assert "4 of 4 calls failed since" in PolicyLog(tmp_path / "state").entries()[0].message
        assert members(app) == {OTHER}


async def test_rollback_during_probation_and_after_it(tmp_path: Path) -> None:
    old, new = policy_text(tmp_path, [ONE]), policy_text(tmp_path, [OTHER])
    async with running(tmp_path, old) as app:
        await run(tmp_path, "apply", written(tmp_path, new), "--why", "x", "--no-wait")
        code, output, _ = await run(tmp_path, "rollback", "--why", "complaints")
        assert (code, output.splitlines()[-1]) == (0, "version 3 is in force, with the text of version 1")
        assert members(app) == {ONE}
        assert (tmp_path / "policy.toml").read_text() == old
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.ROLLED_BACK, Outcome.RESTORED]
        code, _, errors = await run(tmp_path, "rollback", "--why", "more")
        assert (code, "there is no earlier version" in errors) == (2, True)
        code, output, _ = await run(tmp_path, "rollback", "--to", "2", "--why", "it was not that")
        assert (code, members(app)) == (0, {OTHER})
        code, _, errors = await run(tmp_path, "rollback", "--to", "77", "--why", "typo")
        assert (code, "there is no version 77" in errors) == (2, True)


async def test_a_reload_of_another_text_ends_the_probation(tmp_path: Path) -> None:
    old, new = policy_text(tmp_path, [ONE]), policy_text(tmp_path, [OTHER])
    async with running(tmp_path, old) as app:
        await run(tmp_path, "apply", written(tmp_path, new), "--why", "x", "--no-wait")
        await app.reload()
        code, _, errors = await run(tmp_path, "apply", written(tmp_path, old), "--why", "y")
        assert (code, "settles for another" in errors) == (2, True), "the same text stays on probation"
        (tmp_path / "policy.toml").write_text(policy_text(tmp_path, [ONE, OTHER]))
        await app.reload()
        assert members(app) == {ONE, OTHER}
        entry = PolicyLog(tmp_path / "state").entry(2)
        assert entry is not None
        assert entry.outcome is Outcome.APPLIED
        assert "watched no longer: the policy file was read again" in entry.message
        assert (await run(tmp_path, "rollback", "--why", "z"))[1].endswith("with the text of version 3\n")


async def test_an_edit_in_the_file_that_was_never_in_force_is_stored(tmp_path: Path) -> None:
    edit = "# half an edit of somebody else\n"
    async with running(tmp_path, policy_text(tmp_path, [ONE])):
        (tmp_path / "policy.toml").write_text(edit)
        new = written(tmp_path, policy_text(tmp_path, [OTHER]))
        code, output, _ = await run(tmp_path, "apply", new, "--why", "x", "--settle", "0")
        assert code == 0
        assert "an edit that was never in force; it is kept as version 2" in output
        assert await run(tmp_path, "show", "2") == (0, edit, "")


async def test_a_file_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        (
            tmp_path / ".policy.toml.new"
        ).mkdir()  # a folder with the name of the new file: root could not write it either
        new = written(tmp_path, policy_text(tmp_path, [OTHER]))
        code, _, errors = await run(tmp_path, "apply", new, "--why", "x")
        assert code == 2
        assert "nothing is changed: " in errors
        assert members(app) == {ONE}
        assert outcomes(tmp_path) == [Outcome.STARTED, Outcome.REFUSED]


async def test_the_length_of_a_reason_is_limited(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])):
        new = written(tmp_path, policy_text(tmp_path, [OTHER]))
        code, _, errors = await run(tmp_path, "apply", new, "--why", "x" * (limits.CHANGE_WHY_CHARS + 1))
        assert (code, "expected a reason of 1 to" in errors) == (2, True)


async def test_diff_against_the_edge_the_store_and_a_file(tmp_path: Path) -> None:
    old = policy_text(tmp_path, [ONE])
    new = written(
        tmp_path, policy_text(tmp_path, [ONE], [PUBLIC_UDP, CORE_UDP], more="[screen.pike]\nremove_latency = 9")
    )
    sentences = [
        "listener public-tcp is removed (needs a restart)",
        "[screen]: pike.remove_latency 120 -> 9",
        "2 changes",
        "needs a restart: listen",
    ]
    async with running(tmp_path, old):
        assert await run(tmp_path, "diff", new) == (0, "\n".join([*sentences, ""]), "")
    code, output, note = await run(tmp_path, "diff", new)
    assert (code, output.splitlines(), note) == (0, sentences, "no edge runs; compared with version 1\n")
    (tmp_path / "old.toml").write_text(old)
    code, output, _ = await run(tmp_path, "diff", new, "--against", str(tmp_path / "old.toml"), "--json")
    listener, latency = json.loads(output)["changes"]
    assert (listener["kind"], listener["section"], listener["restart"]) == ("removed", "listen", True)
    assert (latency["key"], latency["old"], latency["new"], latency["restart"]) == (
        "pike.remove_latency",
        120,
        9,
        False,
    )
    assert await run(tmp_path, "diff", str(tmp_path / "old.toml")) == (
        0,
        "nothing changes\n",
        "no edge runs; compared with version 1\n",
    )


@pytest.mark.parametrize("command", ["diff FOLDER/policy.toml", "log", "show 1", "backup FOLDER/x.tar"])
async def test_without_a_log_the_folder_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "policy.toml").write_text(policy_text(tmp_path, [ONE]))
    code, _, errors = await run(tmp_path, *command.replace("FOLDER", str(tmp_path)).split())
    assert code == 2
    assert str(tmp_path / "state") in errors
    assert not (tmp_path / "state").exists()
