"""sipsak asks the edge that runs the policy for trunks, moved to free ports."""

from __future__ import annotations

import re
from pathlib import Path

import trio
from support.peers import needs, taken
from support.running import edge_process, free_port

POLICY = Path(__file__).parent.parent.parent / "policies" / "trunk.toml"


@needs("sipsak")
async def test_options_to_the_trunk_policy_is_answered_200(tmp_path: Path) -> None:
    http = free_port(datagrams=False)
    # sipsak writes no more than four digits of a port into the Request-URI
    udp = next(port for port in range(6060, 9999) if not taken("127.0.0.1", port, datagrams=True))
    text = POLICY.read_text()
    text = text.replace("[edge]", f'[edge]\nstate_dir = "{tmp_path / "state"}"', 1)
    text = re.sub(r'bind = "127\.0\.0\.1:5060"', f'bind = "127.0.0.1:{udp}"', text)
    text = text.replace("127.0.0.2:5060", f"127.0.0.2:{free_port('127.0.0.2')}")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{http}")
    async with edge_process(tmp_path, text, http):
        command = ["sipsak", "-v", "-s", f"sip:ping@127.0.0.1:{udp}"]
        with trio.fail_after(20):
            asked = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
        assert asked.returncode == 0, (asked.stdout + asked.stderr).decode()
        assert b"200 OK" in asked.stdout
