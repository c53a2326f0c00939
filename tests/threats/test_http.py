"""THREATS 36: the HTTP server, and the effect of peers' texts on the metrics. More tests of the row are in
tests/observe/test_http.py."""

from __future__ import annotations

import random
import re
import string
from pathlib import Path

import pytest
import trio
from support.running import edge_process, free_port, listen, policy_text, running
from support.signalling import CALLER, EdgeHarness
from support.stream_listeners import read_to_end, text
from support.ua import Ua, UdpWire

from edgesbc.base.address import Source
from edgesbc.base.errors import PolicyErrors
from edgesbc.observe.instruments import instrument_edge
from edgesbc.observe.metrics import Metrics
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import ObserveSettings
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.standing import Standings

MESSAGES = 50_000
"""Each has a User-Agent and a method of its own: a hundred thousand different words."""
XSS = '<script>alert(1)</script><img src=x onerror=alert(1)>"}{'


def test_36_http_is_bound_to_loopback_by_default(tmp_path: Path) -> None:
    """It has no authentication, so only loopback is accepted."""
    default = ObserveSettings().http
    assert default is not None
    assert default.host == "127.0.0.1"
    for bind in ("0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"):
        with pytest.raises(PolicyErrors, match="loopback"):
            parse_policy(policy_text(tmp_path, ["sip:127.0.0.11:9"], http=bind), "policy.toml")


async def test_36_a_running_edge_answers_no_name_that_points_to_it(tmp_path: Path) -> None:
    """It checks Host, so that a web page that rebinds its name (DNS rebinding) reads nothing, and accepts only GET."""
    async with running(tmp_path, text(tmp_path)) as app:
        for host, method, status in (
            (b"localhost", b"GET", b"200"), (b"127.0.0.1", b"GET", b"200"), (b"evil.example.net", b"GET", b"421"),
            (b"localhost.evil.example.net", b"GET", b"421"), (b"", b"GET", b"421"), (b"localhost", b"POST", b"405"),
            (b"localhost", b"OPTIONS", b"405"), (b"evil.example.net", b"POST", b"421"),
        ):  # fmt: skip
            stream = await trio.open_tcp_stream("127.0.0.1", app.http_port)
            await stream.send_all(method + b" /metrics HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
            response = await read_to_end(stream)
            await trio.aclose_forcefully(stream)
            assert response.startswith(b"HTTP/1.1 " + status), host
            assert (b"edgesbc_calls" in response) == (status == b"200")
            assert b"access-control-allow" not in response.lower()


def words(count: int, seed: int) -> list[str]:
    """Random words for methods and User-Agents, all different."""
    source = random.Random(seed)
    return ["".join(source.choices(string.ascii_uppercase, k=8)) + str(number) for number in range(count)]


def series(metrics: Metrics) -> set[str]:
    return {line.rpartition(" ")[0] for line in metrics.render().decode().splitlines() if line.startswith("edgesbc_")}


def test_36_a_hundred_thousand_agents_and_methods_add_no_series() -> None:
    """Half of the messages are refused with an answer, half dropped as scanners; ``before`` has series of both."""
    harness, metrics = EdgeHarness(), Metrics()
    instrument_edge(metrics, harness.edge)
    scanner = ScannerSettings(user_agents=("friendly-scanner",))
    stages = ScreenSettings(stages=("scanner", "method"), scanner=scanner, exempt=(CALLER.peer.host,))
    pipeline = Pipeline(stages, Standings(), lambda decision: None, lambda stage, error: None)
    harness.edge.adopt(RoutingTable((), ["pbx"]), pipeline)
    heads = [
        b"@M@ sip:@M@ SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK@M@\r\nf: <sip:@M@>;tag=a\r\nt: <sip:b>\r\ni: @M@\r\n"
        b"CSeq: 1 @M@\r\nUser-Agent: " + agent + b"@M@\r\n\r\n"
        for agent in (b"", b"friendly-scanner")
    ]

    def feed(count: int, seed: int) -> set[str]:
        for number, word in enumerate(words(count, seed)):
            harness.edge.receive(CALLER, heads[number % 2].replace(b"@M@", word.encode()), harness.now)
        return series(metrics)

    before = feed(10, 1)
    assert any("scanner" in name for name in before)
    assert feed(MESSAGES, 2) == before
    assert sum(harness.edge.counters.requests.values()) == MESSAGES + 10
    assert harness.edge.idle


async def test_36_text_of_peers_is_not_in_the_metrics(tmp_path: Path) -> None:
    """No User-Agent, method, Call-ID, user or Subject is in the metrics."""
    port, http = free_port(), free_port()
    listeners = [
        listen("public", "udp", f"127.0.0.1:{port}", "public-udp"), listen("core", "udp", "127.0.0.2:0", "core-udp"),
    ]  # fmt: skip
    policy = policy_text(tmp_path, ["sip:127.0.0.11:9"], listeners, http=f"127.0.0.1:{http}", trunks=["127.0.0.1"])
    async with edge_process(tmp_path, policy, http) as edge:

        async def shown() -> set[str]:
            _, page = await edge.get("/metrics")
            assert "<" not in page
            assert "WORD" not in page
            return {line.rpartition(" ")[0] for line in page.splitlines() if line.startswith("edgesbc_")}

        async def send_messages(count: int) -> None:
            for number in range(count):
                async with Ua(await UdpWire.open(peer=at_edge), f"WORD{number}") as ua:
                    fields = (f"User-Agent: WORD{number} {XSS}", f"Subject: {XSS}")
                    await ua.dialog(f"sip:WORD{number}@{at_edge}").send(f"WORD{number}", extra=fields)
                    await ua.response(405)

        at_edge = Source("127.0.0.1", port)
        await send_messages(3)
        before = await shown()
        await send_messages(300)
        assert await shown() == before
        status, page = await edge.get(f"/{XSS.partition(' ')[0]}")
        assert status == 404
        assert not re.search("<script", page)
