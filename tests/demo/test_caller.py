"""A caller and a PBX without an edge between them, and a caller with a closed connection or a wrong certificate."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

import edgesbc.demo.pbx
from edgesbc.base.address import Source, Transport
from edgesbc.demo.caller import Caller
from edgesbc.demo.link import open_link
from edgesbc.demo.messages import describe, new_branch
from edgesbc.demo.pbx import Pbx
from edgesbc.sip.build import request, response_to
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message


async def started(nursery: trio.Nursery, name: str = "pbx-1") -> Source:
    return Source("127.0.0.1", await nursery.start(Pbx(name, "127.0.0.1").run))


class Peer:
    """A UDP socket that sends and receives SIP messages."""

    def __init__(self, sock: trio.socket.SocketType, pbx: Source) -> None:
        self.sock = sock
        self.pbx = pbx
        self.here = f"127.0.0.1:{sock.getsockname()[1]}"

    def invite(self, body: bytes = b"") -> bytes:
        via = f"SIP/2.0/UDP {self.here};branch={new_branch()};rport"
        contact, offer = f"<sip:peer@{self.here}>", body or describe("127.0.0.1", 40000)
        return bytes(request("INVITE", "sip:echo@x", via=via, from_="<sip:peer@x>;tag=p", to="<sip:echo@x>",
                             call_id="call", cseq=1, contact=contact, body=offer))  # fmt: skip

    async def send(self, data: bytes) -> None:
        await self.sock.sendto(data, tuple(self.pbx))

    async def until(self, wanted: Callable[[Request | Response], bool]) -> Request | Response:
        with trio.fail_after(10):
            while True:
                message = parse_message(await self.sock.recv(4096))
                if wanted(message):
                    return message


@pytest.fixture
async def peer(nursery: trio.Nursery) -> AsyncIterator[Peer]:
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    with sock:
        await sock.bind(("127.0.0.1", 0))
        yield Peer(sock, await started(nursery))


def status(number: int) -> Callable[[Request | Response], bool]:
    return lambda message: isinstance(message, Response) and message.status == number


async def test_calls_are_answered_and_echoed(nursery: trio.Nursery) -> None:
    pbx = await started(nursery)
    results = []
    async with Caller(Transport.UDP, pbx, "127.0.0.1") as caller, trio.open_nursery() as calls:

        async def call() -> None:
            results.append(await caller.call(packets=5))

        for _ in range(3):
            calls.start_soon(call)
    assert [result.completed for result in results] == [True] * 3
    assert {result.heard for result in results} == {5}
    assert all(result.to_tag.startswith("pbx-1-") for result in results)
    assert len({result.call_id for result in results}) == 3
    assert all(result.set_up is not None and result.problem == "" for result in results)


async def test_a_full_pbx_is_busy_and_the_caller_reports_it(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgesbc.base.limits.DEMO_PBX_CALLS", 0)
    async with Caller(Transport.UDP, await started(nursery), "127.0.0.1") as caller:
        result = await caller.call()
    assert (result.status, result.completed, result.set_up) == (486, False, None)
    assert "486" in result.problem


async def test_a_pbx_answers_a_repeated_invite_as_before(peer: Peer) -> None:
    invite = peer.invite()
    await peer.send(invite)
    first = await peer.until(status(200))
    await peer.send(invite)
    second = await peer.until(status(200))
    assert first.to_tag == second.to_tag


async def test_a_pbx_gives_up_a_call_that_is_never_acknowledged(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edgesbc.demo.pbx, "T1", 0.005)
    await peer.send(peer.invite())
    answer = await peer.until(status(200))
    bye = await peer.until(lambda message: isinstance(message, Request) and message.method == "BYE")
    assert isinstance(bye, Request)
    assert (bye.call_id, bye.from_tag, bye.to_tag) == ("call", answer.to_tag, "p")
    await peer.send(bytes(response_to(bye, 200)))


async def test_a_pbx_refuses_an_offer_without_a_stream(peer: Peer) -> None:
    await peer.send(peer.invite(b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"))
    await peer.until(status(488))


async def test_a_pbx_goes_on_after_malformed_messages(peer: Peer) -> None:
    await peer.send(b"\x00" * 20)
    await peer.send(b"INVITE")
    via = f"SIP/2.0/UDP {peer.here};branch={new_branch()};rport"
    options = request("OPTIONS", "sip:x", via=via, from_="<sip:a@x>;tag=1", to="<sip:x>", call_id="options", cseq=1)
    await peer.send(bytes(options))
    await peer.until(status(200))
    bye = request("BYE", "sip:x", via=via, from_="<sip:a@x>;tag=1", to="<sip:x>;tag=2", call_id="none", cseq=2)
    await peer.send(bytes(bye))
    await peer.until(status(481))


async def test_a_call_fails_when_its_connection_is_closed(nursery: trio.Nursery) -> None:
    async def close_after_first_message(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.aclose()

    (listener,) = await nursery.start(partial(trio.serve_tcp, close_after_first_message, 0, host="127.0.0.1"))
    edge = Source(*listener.socket.getsockname()[:2])
    with trio.fail_after(10):
        async with Caller(Transport.TCP, edge, "127.0.0.1") as caller:
            result = await caller.call()
            again = await caller.call()
    assert result.problem == again.problem == "no final answer to INVITE"
    assert (result.status, result.completed) == (0, False)


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.WSS])
async def test_a_wrong_certificate_is_refused(nursery: trio.Nursery, tmp_path: Path, transport: Transport) -> None:
    right, wrong = trustme.CA(), trustme.CA()
    wrong.cert_pem.write_to_path(tmp_path / "wrong.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    right.issue_cert("127.0.0.1").configure_cert(context)

    async def fail_handshake(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)

    (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, fail_handshake, 0, context, host="127.0.0.1"))
    edge = Source(*listener.transport_listener.socket.getsockname()[:2])
    with pytest.raises(trio.BrokenResourceError) as caught:
        async with Caller(transport, edge, "127.0.0.1", tmp_path / "wrong.pem"):
            pytest.fail("the certificate was accepted")
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_no_listener_at_the_address(nursery: trio.Nursery) -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        edge = Source(*unused.getsockname())
        with pytest.raises(OSError):
            await open_link(nursery, Transport.TCP, edge, "127.0.0.1", None)
