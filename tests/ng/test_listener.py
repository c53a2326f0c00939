"""``edgesbc media`` at its sockets: who may control it, junk, streams, and what it says when it cannot start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from support.containment import unfailing
from support.media import sdp
from support.media_process import media_process
from support.ng import NgHarness
from support.running import until

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.cli import main
from edgesbc.ng.bencode import decode, encode
from edgesbc.ng.listener import NgListener, open_ng_socket, open_ng_unix_socket

OFFER = {"call_id": "c", "from_tag": "a", "sdp": sdp("127.0.0.1"), "direction": ["pub", "priv"]}


async def test_a_call_over_udp_and_over_the_unix_socket(tmp_path: Path) -> None:
    async with media_process(tmp_path) as media:
        offered = await media.peer.ask("offer", **OFFER)
        assert "c=IN IP4 127.0.0.2" in offered["sdp"]
        assert media.unix is not None
        async with await trio.open_unix_socket(media.unix) as stream:
            command = {"command": "answer", "call-id": "c", "from-tag": "a", "to-tag": "b", "sdp": sdp("127.0.0.2")}
            data = encode(command) + encode({"command": "list"})
            await stream.send_all(data[:50])
            await stream.send_all(data[50:])
            received = b""
            while b"callsl" not in received:
                received += await stream.receive_some()
        assert b"c=IN IP4 127.0.0.1" in received
        await media.peer.ask("delete", call_id="c", from_tag="a")
        assert await media.sessions() == 0
        assert media.unix.stat().st_mode & 0o777 == 0o660
        media.process.terminate()
        assert await media.process.wait() == 0
        assert not media.unix.exists()


async def test_junk_on_the_port_gets_no_reply_and_a_counter(tmp_path: Path) -> None:
    async with media_process(tmp_path) as media:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
            junk.connect(media.address)
            for data in (b"", b"\x80\x00" + bytes(170), b"x" * 60_000, b"\x00\x01\x00\x00!\x12\xa4B" + bytes(12)):
                junk.send(data)
            junk.send(b"1 junk")
            junk.settimeout(20)
            cookie, _, rest = junk.recv(4_096).partition(b" ")
            assert (cookie, decode(rest)["result"]) == (b"1", "error")
        await media.peer.ask("offer", **OFFER)
        statistics = (await media.peer.ask("statistics"))["statistics"]
        assert statistics["controlstatistics"]["totaljunkcount"] == 5
        assert statistics["currentstatistics"]["sessionstotal"] == 1


async def test_only_those_who_are_allowed_control_it() -> None:
    harness = NgHarness()
    sock = open_ng_socket(Source("127.0.0.1", 0))
    containment = unfailing()
    async with trio.open_nursery() as nursery:
        with sock:
            listener = NgListener(harness.server, [sock], None, ["127.0.0.5/32"], containment)
            await nursery.start(listener.run)
            for host, answered in (("127.0.0.1", False), ("127.0.0.5", True)):
                with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as client:
                    await client.bind((host, 0))
                    await client.sendto(b"1 d7:command4:pinge", sock.getsockname())
                    if answered:
                        with trio.fail_after(20):
                            assert await client.recv(100) == b"1 d6:result4:ponge"
            assert harness.server.counts["any", "refused"] == 1
            assert harness.server.counts["ping", "ok"] == 1
            nursery.cancel_scope.cancel()


async def test_a_delayed_delete_ends_the_session_without_another_command(
    autojump_clock: trio.testing.MockClock,
) -> None:
    harness = NgHarness()
    with open_ng_socket(Source("127.0.0.1", 0)) as sock:
        listener = NgListener(harness.server, [sock], None, ["127.0.0.0/8"], unfailing())
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            address = ("127.0.0.1", 9)
            offered = {key.replace("_", "-"): value for key, value in OFFER.items()} | {"sdp": sdp("198.51.100.7")}
            deleted = {"command": "delete", "call-id": "c", "from-tag": "a", "delete-delay": 30}
            listener.receive(sock, b"1 " + encode({"command": "offer", **offered}), address)
            listener.receive(sock, b"2 " + encode(deleted), address)
            assert len(harness.server) == 1
            await trio.sleep(31)
            assert len(harness.server) == 0
            nursery.cancel_scope.cancel()


async def test_streams_are_bounded_in_number_and_silence(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    harness, path = NgHarness(), tmp_path / "ng.sock"
    with open_ng_unix_socket(path) as sock:
        async with trio.open_nursery() as nursery:
            await nursery.start(NgListener(harness.server, [], sock, [], unfailing()).run)
            streams = [await trio.open_unix_socket(path) for _ in range(limits.NG_STREAMS + 1)]
            assert await streams[-1].receive_some() == b""
            for stream in streams[:-1]:
                assert await stream.receive_some() == b""  # silent for too long
            async with await trio.open_unix_socket(path) as other:
                await other.send_all(b"GET / HTTP/1.1\r\n\r\n")
                assert await other.receive_some() == b""
            assert harness.server.counts["any", "junk"] == 1
            for stream in streams:
                await stream.aclose()
            nursery.cancel_scope.cancel()


async def test_a_socket_that_nobody_listens_at_is_replaced_and_any_other_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "ng.sock"
    open_ng_unix_socket(path).close()
    with open_ng_unix_socket(path), pytest.raises(OSError):
        open_ng_unix_socket(path)
    path.unlink()
    path.write_text("kept")
    with pytest.raises(OSError):
        open_ng_unix_socket(path)
    assert path.read_text() == "kept"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ng", "127.0.0.1:2223"], "--interface"),
        (["--interface", "127.0.0.1"], "expected --ng ADDRESS:PORT or --unix PATH"),
        (["--ng", "0.0.0.0:2223", "--interface", "127.0.0.1"], "expected --allow PREFIX"),
        (["--ng", "nowhere", "--interface", "127.0.0.1"], "nowhere"),
        (["--ng", "127.0.0.1:2223", "--interface", "pub/x"], "expected NAME/ADDRESS"),
        (["--ng", "127.0.0.1:2223", "--interface", "127.0.0.1", "--ports", "5-1"], "FIRST-LAST"),
        (["--ng", "127.0.0.1:2223", "--interface", "127.0.0.1", "--allow", "10.0.0.0/99"], "10.0.0.0/99"),
        (["--ng", "127.0.0.1:2223", "--interface", "127.0.0.1", "--private", "priv"], "no interface is called 'priv'"),
    ],
)
def test_mistakes_on_the_command_line_say_what_was_expected(options: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["media", *options])
    assert result.exit_code == 2
    assert words in result.output.replace("\n", " ")


@pytest.mark.parametrize("interface", ["192.0.2.77", "127.0.0.1"])
async def test_an_address_that_cannot_be_bound_is_named(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        at = f"127.0.0.1:{port}" if interface == "127.0.0.1" else "127.0.0.1:0"
        command = [sys.executable, "-m", "edgesbc", "media", "--ng", at, "--interface", interface]
        done = await trio.run_process(command, check=False, capture_stderr=True, stdin=b"")
    assert done.returncode == 2
    assert f"cannot bind {interface}:".encode() in done.stderr
    assert b"Traceback" not in done.stderr


async def test_its_metrics_count_commands(tmp_path: Path) -> None:
    from support.running import EdgeProcess, free_port

    http = free_port()
    async with media_process(tmp_path, "--http", f"127.0.0.1:{http}") as media:
        await media.peer.ask("offer", **OFFER)
        await media.peer.ask("nonsense")
        seen = EdgeProcess(tmp_path, http, media.process)
        await until(lambda: media.process.poll() is None)
        assert await seen.metric('edgesbc_ng_commands_total{command="offer"}') == 1
        assert await seen.metric('edgesbc_ng_commands_total{command="other"}') == 1
        assert await seen.metric("edgesbc_media_sessions") == 1


def test_help_teaches_with_examples() -> None:
    done = subprocess.run([sys.executable, "-m", "edgesbc", "media", "--help"], capture_output=True, check=True)
    for word in (b"rtpengine_sock", b"--private priv", b"docs/reference/ng.md"):
        assert word in done.stdout
