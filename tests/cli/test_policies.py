"""``edgesbc policy shadow`` against a running edge."""

from __future__ import annotations

import json
from pathlib import Path

from support.command_line import edgesbc
from support.running import at, policy_text, running
from support.ua import Ua, UdpWire


async def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return await edgesbc("policy", "shadow", *arguments, "--state-dir", str(folder / "state"))


async def test_the_verdicts_of_a_stricter_policy_are_compared_with_the_live_ones(tmp_path: Path) -> None:
    stricter = tmp_path / "stricter.toml"
    stricter.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], more='[screen.method]\npublic = ["REGISTER"]'))
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        assert await run(tmp_path, "show") == (0, "no policy is judged beside the live one\n", "")
        code, output, _ = await run(tmp_path, str(stricter))
        assert (code, "is judged beside the live policy" in output) == (0, True)
        for _ in range(3):
            await alice.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            await alice.response(200)
        code, output, _ = await run(tmp_path, "show")
        assert code == 0
        assert "3 messages judged by both\nverdicts: live pass, other method: 3 messages" in output
        assert f"as from {alice.address} on public-udp, call " in output
        (difference,) = json.loads((await run(tmp_path, "show", "--json"))[1])["differences"]
        assert (difference["live"], difference["other"], difference["count"]) == ("pass", "method", 3)
        assert await run(tmp_path, "off") == (0, "no policy is judged beside the live one\n", "")
        assert app.edge.shadow_policy is None


async def test_a_policy_with_mistakes_is_refused_with_all_of_them(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], more='[screen]\nmode = "maybe"\nstages = ["none"]'))
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        code, _, errors = await run(tmp_path, str(broken))
        assert code == 2
        assert "expected one of enforce, shadow" in errors
        assert "expected stages among" in errors
        assert app.edge.shadow_policy is None
