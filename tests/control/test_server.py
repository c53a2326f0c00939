"""The control socket by real connections: access, hostile and slow clients, and what a crash leaves behind."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from support.containment import collecting, unfailing
from support.running import until

from edgesbc.base import limits
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import (
    CommandRefused,
    Commands,
    ControlRequest,
    answer_line,
    read_answer,
    read_request,
    request_line,
)
from edgesbc.control.server import serve_control


def _refuse(request: ControlRequest) -> None:
    raise CommandRefused(f"not {request.text('what')}")


def _fail(_: ControlRequest) -> None:
    raise OSError("the disk is on fire")


async def _later(request: ControlRequest) -> object:
    await trio.lowlevel.checkpoint()
    return dict(request.arguments)


COMMANDS: Commands = {
    "say": lambda request: request.text("what"),
    "later": _later,
    "who": lambda request: request.uid,
    "refuse": _refuse,
    "fail": _fail,
    "unsayable": lambda _: object(),
    "too-much": lambda _: "x" * limits.CONTROL_ANSWER_BYTES,
    "much": lambda _: "x" * (limits.CONTROL_ANSWER_BYTES // 2),
}
FAULTS: list[str] = []


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Path]:
    FAULTS.clear()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, COMMANDS, collecting(FAULTS), nursery)
        yield path
        nursery.cancel_scope.cancel()


async def answer_of(path: Path, command: str, **arguments: Any) -> Any:
    return await trio.to_thread.run_sync(ask, path, ControlRequest(command, arguments), 10)


async def raw(path: Path, data: bytes, end: bool = True) -> bytes:
    """Everything that the server sends back for ``data``."""
    with trio.fail_after(10):
        stream = await trio.open_unix_socket(str(path))
        async with stream:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            answer = b""
            try:
                async for more in stream:
                    answer += more
            except trio.BrokenResourceError:
                pass  # the server closed the connection while some bytes were unread
            return answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def test_a_request_is_answered(path: Path) -> None:
    async with served(path):
        assert await answer_of(path, "say", what="a\n\u2028é") == "a\n\u2028é"
        assert await answer_of(path, "later", number=1, list=[None, True]) == {"number": 1, "list": [None, True]}
        assert len(await answer_of(path, "much")) == limits.CONTROL_ANSWER_BYTES // 2
    assert FAULTS == []


async def test_the_user_of_a_request_comes_from_the_kernel(path: Path) -> None:
    async with served(path):
        assert await answer_of(path, "who", uid=os.getuid() + 1) == os.getuid()
        assert "error" in json.loads(await raw(path, b'{"command": "who", "uid": 7}\n'))


async def test_a_refusal_has_its_reason(path: Path) -> None:
    async with served(path):
        for command, arguments, why in (
            ("refuse", {"what": "this"}, "not this"),
            ("refuse", {}, "refuse: expected a text as what"),
            ("refuse", {"what": 1}, "refuse: expected a text as what"),
            ("nothing", {}, "no command of that name; there are fail, later"),
            ("too-much", {}, "the answer is longer than"),
        ):
            with pytest.raises(CommandRefused, match=why):
                await answer_of(path, command, **arguments)
        with pytest.raises(CommandRefused, match="the question is longer than"):
            await answer_of(path, "say", what="x" * limits.CONTROL_QUESTION_BYTES)
    assert FAULTS == []


@pytest.mark.parametrize("command", ["fail", "unsayable"])
async def test_a_command_that_fails_gets_an_error_and_the_edge_runs_on(path: Path, command: str) -> None:
    async with served(path):
        with pytest.raises(CommandRefused, match="the edge failed on this question") as refused:
            await answer_of(path, command)
        assert "fire" not in str(refused.value)
        assert len(FAULTS) == 1
        assert FAULTS[0].startswith(f"control {command} ")
        assert await answer_of(path, "say", what="still here") == "still here"


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"GET /why HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\xff\xfe\n",
        b"[]\n",
        b"{}\n",
        b'{"command": 1}\n',
        b'{"command": "say", "arguments": []}\n',
        b'{"command": "say", "more": 1}\n',
        b"[" * 10_000 + b"\n",
        b'{"command": "say"',
        b"",
        b"x" * (limits.CONTROL_QUESTION_BYTES + 1),
    ],
)
async def test_garbage_is_refused_in_a_line(path: Path, data: bytes) -> None:
    async with served(path):
        answer = await raw(path, data)
        assert answer.endswith(b"\n")
        assert list(json.loads(answer)) == ["error"]
        assert await answer_of(path, "say", what="still here") == "still here"
    assert FAULTS == []


async def test_only_the_first_request_of_a_connection_is_answered(path: Path) -> None:
    async with served(path):
        line = request_line(ControlRequest("say", {"what": "once"}))
        assert (await raw(path, line + line, end=False)).count(b"\n") == 1


async def test_the_socket_is_for_its_user_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        async with served(path):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(before)


async def test_nothing_is_left_at_the_end(path: Path) -> None:
    async with served(path):
        assert os.listdir(path.parent) == ["control.sock"]
    assert os.listdir(path.parent) == []
    async with served(path):
        assert await answer_of(path, "say", what="again") == "again"


async def test_a_server_whose_socket_was_removed_ends_without_an_error(path: Path) -> None:
    async with served(path):
        os.unlink(path)


async def test_a_socket_that_a_crash_left_is_replaced(path: Path) -> None:
    crashed = f"import os, socket; socket.socket(socket.AF_UNIX).bind({str(path)!r}); os._exit(9)"
    await trio.run_process([sys.executable, "-c", crashed], check=False)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    with pytest.raises(NoAnswer, match="Connection refused"):
        await answer_of(path, "say", what="x")
    async with served(path):
        assert await answer_of(path, "say", what="x") == "x"


async def test_a_second_edge_does_not_take_the_socket_of_one_that_lives(path: Path) -> None:
    async with served(path), trio.open_nursery() as nursery:
        with trio.fail_after(10), pytest.raises(OSError, match="another edge that runs has this folder"):
            await serve_control(path, COMMANDS, unfailing(), nursery)
        assert await answer_of(path, "say", what="mine") == "mine"


async def test_a_file_that_is_no_socket_is_not_removed(path: Path) -> None:
    os.mkfifo(path)
    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError, match="is not a socket"):
            await serve_control(path, COMMANDS, unfailing(), nursery)
    assert stat.S_ISFIFO(os.stat(path).st_mode)


async def test_a_folder_may_have_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    async with served(folder / "control.sock") as path:
        assert await answer_of(path, "say", what="far") == "far"
    assert list(folder.iterdir()) == []


# --- slow peers, and many of them --------------------------------------------------------------------------


async def open_connection(path: Path, data: bytes = b"") -> trio.SocketStream:
    stream = await trio.open_unix_socket(str(path))
    await stream.send_all(data)
    return stream


async def test_a_client_that_sends_no_request_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_SECONDS", 0.2)
    async with served(path):
        for data in (b"", b'{"command": "say"'):
            assert b"no question came within" in await raw(path, data, end=False)


async def test_a_client_that_does_not_read_is_disconnected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_SECONDS", 0.2)
    async with served(path):
        stream = await open_connection(path, request_line(ControlRequest("much")))
        async with stream:

            async def closed() -> bool:
                return bool(stream.socket.fileno()) and _hung_up(stream)

            await until(closed)
        assert await answer_of(path, "say", what="still here") == "still here"


def _hung_up(stream: trio.SocketStream) -> bool:
    """Whether the other side has closed, without reading anything of what it sent."""
    try:
        os.write(stream.socket.fileno(), b" ")
    except BrokenPipeError:
        return True
    return False


async def test_the_number_of_connections_is_bounded(path: Path) -> None:
    async with served(path):
        silent = [await open_connection(path) for _ in range(limits.CONTROL_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CommandRefused, match="too many ask at once"):
            await answer_of(path, "say", what="x")
        await silent.pop().aclose()

        async def free() -> bool:
            try:
                return bool(await answer_of(path, "say", what="x") == "x")
            except CommandRefused:
                return False

        await until(free)
        for stream in silent:
            await stream.aclose()


async def test_cancelled_it_ends_with_connections_open(path: Path) -> None:
    with trio.fail_after(10):
        async with served(path):
            streams = [await open_connection(path), await open_connection(path, request_line(ControlRequest("much")))]
            await trio.testing.wait_all_tasks_blocked()
    for stream in streams:
        await stream.aclose()


# --- the client --------------------------------------------------------------------------------------------


def test_without_a_server_the_socket_is_named(path: Path) -> None:
    with pytest.raises(NoAnswer, match=f"no edge answers at {path}: No such file"):
        ask(path, ControlRequest("say"))
    with pytest.raises(NoAnswer, match="No such file"):
        ask(path.parent / "none" / "control.sock", ControlRequest("say"))


@contextmanager
def imposter(path: Path, answer: bytes) -> Iterator[None]:
    """Another program that listens at ``path``, sends ``answer`` to the first client, and ends."""
    code = f"""
import socket, sys
answer = sys.stdin.buffer.read()
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind({str(path)!r})
    listening.listen()
    print("there", flush=True)
    stream, _ = listening.accept()
    stream.recv(65536)
    try:
        stream.sendall(answer)
    except OSError:
        pass
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(answer)
            process.stdin.close()
            assert process.stdout.readline() == b"there\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (b"", NoAnswer, "went away"),
        (b'{"result": 1}', NoAnswer, "went away"),
        (b"what?\n", CommandRefused, "expected a line with one JSON object"),
        (b"{}\n", CommandRefused, "no result"),
        (b"x" * (limits.CONTROL_ANSWER_BYTES + 200_000), NoAnswer, "its answer is longer than"),
    ],
    ids=["nothing", "half", "garbage", "empty", "endless"],
)
def test_an_invalid_answer_is_refused(path: Path, answer: bytes, error: type[Exception], why: str) -> None:
    with imposter(path, answer), pytest.raises(error, match=why):
        ask(path, ControlRequest("say"), 10)


def test_a_server_that_does_not_answer_is_given_up(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(NoAnswer, match=f"no answer from {path} within 0.2 s"):
            ask(path, ControlRequest("say"), 0.2)


# --- the protocol ------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=20), JSON, max_size=3))
def test_a_request_is_one_line_and_is_read_back(command: str, arguments: dict[str, Any]) -> None:
    line = request_line(ControlRequest(command, arguments))
    assert line.index(b"\n") == len(line) - 1
    assert read_request(line) == ControlRequest(command, arguments)


@given(JSON)
def test_an_answer_is_one_line_and_is_read_back(result: Any) -> None:
    line = answer_line(result)
    assert line.index(b"\n") == len(line) - 1
    assert read_answer(line) == result


@given(st.binary(max_size=200))
def test_bytes_are_a_request_or_refused(line: bytes) -> None:
    try:
        read_request(line)
    except CommandRefused:
        pass
