"""``edgesbc policy log``, ``show``, ``backup`` and ``restore``, with a running edge and without one."""

from __future__ import annotations

import json
from pathlib import Path

from support.command_line import edgesbc
from support.running import policy_text, running

from edgesbc.store.policy_log import Outcome, PolicyLog

ONE, OTHER = "sip:127.0.0.11:9", "sip:127.0.0.12:9"


async def run(*arguments: str) -> tuple[int, str, str]:
    return await edgesbc("policy", *arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_log_is_read_without_an_edge(tmp_path: Path) -> None:
    log = PolicyLog(tmp_path)
    log.append("p.toml", "# one\n", "uid 0", Outcome.STARTED)
    log.append("p.toml", "# two\n", "alice", Outcome.SETTLED, "fine", "more \x1b[31mroom", "trunk a is removed")
    code, output, errors = await run("log", "--state-dir", str(tmp_path))
    assert (code, errors) == (0, "")
    second, why, summary, message, first = output.splitlines()
    assert second.split()[0::4] == ["2", "alice"]
    assert (why, summary, message) == (
        "      why: more \\x1b[31mroom",
        "      summary: trunk a is removed",
        "      came of it: fine",
    )
    assert first.split()[3] == "started"
    code, output, _ = await run("log", "--most", "1", "--json", "--state-dir", str(tmp_path))
    (entry,) = json.loads(output)
    assert (entry["version"], entry["outcome"], entry["who"]) == (2, "settled", "alice")
    assert await run("show", "1", "--state-dir", str(tmp_path)) == (0, "# one\n", "")
    assert (await run("show", "3", "--state-dir", str(tmp_path)))[0] == 1


async def test_a_backup_of_a_running_edge_is_restored_when_it_has_ended(tmp_path: Path) -> None:
    file, policy = str(tmp_path / "edge.backup"), str(tmp_path / "policy.toml")
    text = policy_text(tmp_path, [ONE])
    async with running(tmp_path, text):
        code, output, errors = await run("backup", file, "--policy", policy)
        assert (code, errors) == (0, "")
        assert output.startswith(f"policy.toml: {len(text)} bytes\nstate/edgesbc.sqlite: ")
        assert "without the key of the tokens" in output
        code, _, errors = await run("restore", file, "--policy", policy)
        assert (code, "an edge runs from" in errors) == (2, True)
    async with running(tmp_path, policy_text(tmp_path, [OTHER])):
        pass
    code, output, errors = await run("restore", file, "--policy", policy)
    assert (code, errors) == (0, "")
    assert (tmp_path / "policy.toml").read_text() == text
    assert "what was there is now " in output
    assert [entry.version for entry in PolicyLog(tmp_path / "state").entries()] == [1]
    async with running(tmp_path, text) as app:
        assert {member.name for member in app.edge.dispatcher.members()} == {ONE}
    assert [entry.version for entry in PolicyLog(tmp_path / "state").entries()] == [2, 1]


async def test_a_file_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no backup")
    code, output, errors = await run("restore", str(tmp_path / "x"), "--policy", str(tmp_path / "p.toml"))
    assert (code, output) == (2, "")
    assert errors == "edgesbc: nothing was restored: it breaks off in manifest.json\n"
    assert names(tmp_path) == ["x"]
