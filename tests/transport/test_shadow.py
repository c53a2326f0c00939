"""A shadow policy of a running edge: callers get the same responses, and the metric counts the differences."""

from __future__ import annotations

from pathlib import Path

from support.running import at, policy_text, running
from support.ua import Ua, UdpWire

from edgesbc.policy.load import parse_policy


async def test_a_shadow_policy_is_counted_and_changes_nothing(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        strict = policy_text(tmp_path, [f"sip:{bob.address}"], more='[screen.acl]\ndeny = ["127.0.0.0/8"]')
        app.active.shadow(parse_policy(strict, "strict.toml"))
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        await calling.send("INVITE")
        await bob.answer(await bob.request("INVITE"), 486, tag="b")
        await alice.response(486)
        shadow = app.edge.shadow_policy
        assert shadow is not None
        example = shadow.examples("pass", "acl-denied")[0]
        assert (example.source, example.listener) == (str(alice.address), "public-udp")
        assert 'edgesbc_shadow_differences_total{live="pass",other="acl-denied"}' in app.metrics.render().decode()
        assert app.edge.pipeline.counts == {}
        app.active.shadow(None)
        assert app.edge.shadow_policy is None
