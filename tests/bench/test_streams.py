"""Parts of ``bench streams`` whose faults the report would not show: the client's frames, and the count of answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bench.stream_client import Client, masked_frame
from edgesbc.streams.frames import BINARY, FrameReader
from edgesbc.streams.layer import StreamCounts

ANSWER = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[Client, socket.socket]]:
    """A client, and the peer's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        client = Client("tcp", f"{host}:{port}", "127.0.0.1", 7, None)
        peer, _ = server.accept()
    with client.sock, peer:
        peer.settimeout(10)
        client.sock.settimeout(10)
        yield client, peer


@pytest.mark.parametrize("size", [126, 127, 128, 129, 500, 65_535])
def test_a_masked_frame_is_read_as_its_content(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    reader = FrameReader(StreamCounts())
    assert reader.receive(masked_frame(content, b"\x01\x7f\x80\xff")) == [(BINARY, content)]
    assert reader.error is None


def test_all_requests_have_one_size_and_an_identity_of_their_own(pair: tuple[Client, socket.socket]) -> None:
    client, peer = pair
    requests = []
    for _ in range(3):
        client.send(0.0)
        requests.append(peer.recv(4_096))
    assert len({len(request) for request in requests}) == 1
    for prefix in (b"branch=", b"tag=", b"Call-ID: "):
        assert len({request.partition(prefix)[2][:20] for request in requests}) == 3
    assert all(request.endswith(b"\r\n\r\n") for request in requests)


def test_answers_are_counted_when_they_are_complete(pair: tuple[Client, socket.socket]) -> None:
    client, peer = pair
    for now in (1.0, 2.0, 3.0):
        client.send(now)
    peer.sendall(ANSWER[:20])
    client.receive(4.0)
    assert client.answers == 0
    peer.sendall(ANSWER[20:])
    client.receive(5.0)
    assert client.answers == 1
    peer.sendall(ANSWER + ANSWER)
    client.receive(6.0)
    assert client.answers == 3
    assert client.latencies == [4.0, 4.0, 3.0]


def test_an_answer_of_another_status_is_none(pair: tuple[Client, socket.socket]) -> None:
    client, peer = pair
    client.send(1.0)
    peer.sendall(ANSWER.replace(b"200 OK", b"403 Forbidden"))
    client.receive(2.0)
    assert client.answers == 0
    assert len(client.sent_at) == 1


def test_an_ended_connection_is_an_error(pair: tuple[Client, socket.socket]) -> None:
    client, peer = pair
    peer.close()
    with pytest.raises(OSError, match="closed"):
        client.receive(1.0)
