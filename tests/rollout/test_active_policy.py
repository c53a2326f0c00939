"""The policy in force is replaced by one with destinations from a database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.databases import OURS, SQLITE
from support.running import policy_text, running

from edgesbc.app import App
from edgesbc.base.errors import PolicyErrors
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import Policy
from edgesbc.rollout import active_policy

ONE, OTHER = "sip:127.0.0.11:9", "sip:127.0.0.12:9"


def uris(app: App) -> list[str]:
    return [member.settings.uri for member in app.edge.dispatcher.members()]


def from_a_database(folder: Path, *rows: str) -> Policy:
    """A policy whose only set is that of a database with ``rows``."""
    with closing(sqlite3.connect(folder / "state" / "destinations.sqlite")) as connection:
        connection.execute(OURS.format(**SQLITE))
        for uri in rows:
            connection.execute("insert into destinations (set_name, uri) values ('pbx', ?)", (uri,))
        connection.commit()
    text = policy_text(folder, [], more='[[database]]\nname = "main"\n')
    return parse_policy(text.replace("members = []", 'database = "main"'), str(folder / "policy.toml"))


async def test_the_members_of_a_new_database_are_in_force_with_its_policy(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        policy = from_a_database(tmp_path, OTHER)
        source = await app.active.prepare(policy)
        assert uris(app) == [ONE], "nothing has changed yet"
        app.active.adopt(app.active.assemble(policy, source))
        assert uris(app) == [OTHER]
        assert app.not_ready() == {}


async def test_a_policy_that_would_leave_a_set_without_members_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        with pytest.raises(PolicyErrors) as refused:
            await app.active.prepare(from_a_database(tmp_path))
        (error,) = refused.value.errors
        assert error.key == "destinations[0].database"
        assert uris(app) == [ONE]


async def test_the_wait_for_new_connections_is_that_of_the_policy_in_force(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        assert app.edge.parts.device_flows.wait == 10.0
        text = policy_text(tmp_path, [ONE], more="[registrations]\nreconnect_wait = 3\n")
        policy = parse_policy(text, str(tmp_path / "policy.toml"))
        assert app.active.adopt(app.active.assemble(policy)) == []
        assert app.edge.parts.device_flows.wait == 3.0


@pytest.mark.parametrize("part", ["Pipeline", "routing_of", "header_rules_of"])
async def test_a_fault_while_a_policy_is_adopted_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The parts that can fail are made before the first is in force; then the same policy is adopted."""

    def fail(*arguments: object) -> None:
        raise MemoryError

    async with running(tmp_path, policy_text(tmp_path, [ONE])) as app:
        before, source, pipeline = app.policy, app.active.source, app.edge.pipeline
        policy = parse_policy(policy_text(tmp_path, [OTHER], trunks=["127.0.0.5"]), str(tmp_path / "policy.toml"))
        with monkeypatch.context() as patch:
            patch.setattr(active_policy, part, fail)
            with pytest.raises(MemoryError):
                app.active.adopt(app.active.assemble(policy))
        assert uris(app) == [ONE]
        assert app.policy is before
        assert app.active.source is source
        assert app.edge.pipeline is pipeline
        app.active.adopt(app.active.assemble(policy))
        assert uris(app) == [OTHER]
        assert list(app.edge.pipeline.standings.trunks) == ["t0"]


async def test_a_change_that_cannot_be_put_together_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the policy file nor the log of policies has it: after a restart the old one would be in force too."""

    def fail(*arguments: object) -> None:
        raise MemoryError

    before = policy_text(tmp_path, [ONE])
    async with running(tmp_path, before) as app:
        version = app.rollout.version
        with monkeypatch.context() as patch:
            patch.setattr(active_policy, "routing_of", fail)
            with pytest.raises(MemoryError):
                await app.policies.apply(policy_text(tmp_path, [OTHER]), by="test", why="another destination")
        assert (tmp_path / "policy.toml").read_text() == before
        assert [entry.version for entry in await app.policies.log()] == [version]
        assert uris(app) == [ONE]
        await app.policies.apply(policy_text(tmp_path, [OTHER]), by="test", why="another destination")
        assert uris(app) == [OTHER]
