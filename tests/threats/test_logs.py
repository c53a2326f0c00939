"""THREATS 29: CR, LF, NUL and escape sequences, for header fields, logs and HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.running import at, edge_process, free_port, listen, nothing_left, policy_text, running, until
from support.stream_listeners import text
from support.ua import Ua, UdpWire

from edgesbc.base.address import Source

ESCAPED = "100%0d%0aX-Evil:%201%00%1b%5b2J%0a"
"""A user part. Unescaped, it has line ends with a second header field, a NUL, and an escape sequence for terminals."""
CALL_IDS = (
    'x"<script>alert(1)</script>\\n\\u001b[2J@a', "x\\\\r\\\\n{}[]:/?()@a", "a" * 4000 + "@a", "'OR'1--`id`~(id)@a",
)  # fmt: skip
RAW = (
    b"\x1b[2J\x1b]0;owned\x07", b"a\r\n2026-01-01 error fake record=1", b"a\nfake", b"a\rfake", b"a\0b",
    b"a\xc2\x85b", b"a\xe2\x80\xa8b", b"a\xe2\x80\xaeb", b"a\xef\xbb\xbfb", b"a\xff\xfeb", b"a\x9b2Jb",
)  # fmt: skip


async def test_29_an_escape_is_never_decoded_into_a_header_field(tmp_path: Path) -> None:
    """In To, Refer-To, Reason or Subject it is forwarded unchanged, in one line; no route takes it in a Request-URI."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}")) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        extra = (
            f"Refer-To: <sip:{ESCAPED}@a?X-Evil=1%0d%0aX-Evil:1>",
            f'Reason: SIP;text="{ESCAPED}"',
            f"Subject: {ESCAPED}",
        )
        await alice.dialog(f"sip:{ESCAPED}@{at(app, 'public-udp')}").send("INVITE", extra=extra)
        await alice.response(404)
        assert not any(re.match(rb"(?i)\s*x-evil", line) for line in alice.heard[-1].split(b"\r\n"))
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        calling.remote = f"<sip:{ESCAPED}@{at(app, 'public-udp')}>"
        await calling.send("INVITE", extra=extra)
        invite = await bob.request("INVITE")
        lines = bob.heard[-1].split(b"\r\n")
        assert not any(re.match(rb"(?i)\s*x-evil", line) for line in lines)
        assert sum(ESCAPED.encode() in line for line in lines) == 4  # To, and the three
        assert re.search(rb"[\0-\x09\x0b\x0c\x0e-\x1f\x7f]", bob.heard[-1]) is None
        await bob.answer(invite, 486, tag="b", extra=(f"Error-Info: <sip:{ESCAPED}@a>", f"Subject: {ESCAPED}"))
        await alice.response(486)
        assert not any(re.match(rb"(?i)\s*x-evil", line) for line in alice.heard[-1].split(b"\r\n"))
        await bob.request("ACK")
        await nothing_left(app)


@pytest.mark.parametrize("form", ["json", "console"])
async def test_29_a_log_record_is_one_line_without_control_characters(tmp_path: Path, form: str) -> None:
    """Text of a peer, from Call-ID, method, User-Agent and others, is in log and HTTP escaped, or not at all."""
    port, http = free_port(), free_port()
    listeners = [
        listen("public", "udp", f"127.0.0.1:{port}", "public-udp"), listen("core", "udp", "127.0.0.2:0", "core-udp"),
    ]  # fmt: skip
    policy = policy_text(tmp_path, ["sip:127.0.0.11:9"], listeners, http=f"127.0.0.1:{http}", trunks=["127.0.0.1"])
    async with (
        edge_process(tmp_path, policy, http, "--log-format", form, "--log-level", "debug") as edge,
        Ua(await UdpWire.open(peer=Source("127.0.0.1", port))) as alice,
        Ua(await UdpWire.open("127.0.0.66", peer=Source("127.0.0.1", port))) as scanner,
    ):
        uri = f"sip:1@127.0.0.1:{port}"
        for number, call_id in enumerate(CALL_IDS):
            dialog = (scanner if number == 0 else alice).dialog(uri)
            dialog.call_id = call_id
            method = ("OPTIONS", "MESSAGE", "BYE", "X-`|~")[number]
            await dialog.send(method, extra=(f"User-Agent: friendly-scanner {ESCAPED}",) if number == 0 else ())
        for raw in RAW:
            for name in (b"User-Agent: ", b"Call-ID: ", b"From: ", b"CSeq: ", b"X-"):
                data = alice.dialog(uri).build("MESSAGE").replace(b"Max-Forwards", name + raw + b"\r\nMax-Forwards", 1)
                await alice.wire.send(data)
            await alice.wire.send(b"MESSAGE" + raw + alice.dialog(uri).build("MESSAGE")[7:])
        await edge.comes_to("edgesbc_malformed_total", 20)
        await edge.comes_to('edgesbc_screened_total{stage="scanner"}', 1)
        shown = [(await edge.get(path))[1] for path in ("/metrics", "/healthz", "/readyz")]
        await until(lambda: "no-dialog" in log(tmp_path) or "scanner" in log(tmp_path))
        written = (tmp_path / "edge.log").read_bytes()
        not_found = await edge.get("/nothing%0d%0aX-Evil:1")
    for page in (*shown, not_found[1]):
        assert not re.search(r"<script|owned|Evil|fake|[\0-\x09\x0b-\x1f\x7f-\x9f]", page), page[:300]
    lines = written.decode("utf-8").split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.isprintable(), repr(line)
        if form == "json":
            assert json.loads(line)["event"]
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT[0-9:.]+Z (debug|info|warning|error) ", line), line
    assert sum("decision" in line for line in lines) >= 3
    assert "<script>" in written.decode(), "the Call-ID of the scanner is in the log"


def log(folder: Path) -> str:
    return (folder / "edge.log").read_text()
