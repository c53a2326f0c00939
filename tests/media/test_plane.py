import random

import pytest
import trio
from support.containment import unfailing
from support.media import answer, offer

from edgesbc.base.address import Zone
from edgesbc.media.commands import Delete, Establish, MediaError, MediaReply, MediaTimeout
from edgesbc.media.plane import MediaPlane
from edgesbc.sdp.session import parse_session

RTP = b"\x80\x00" + bytes(170)
LOOPBACK = dict.fromkeys(Zone, "127.0.0.1")


def described(host, port):
    return f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"


def set_up(plane, a=("127.0.0.5", 4000), b=("127.0.0.6", 4000)):
    """A call; the RTP ports for ``a`` and ``b``."""
    ports = []
    for command in (offer("c", "a", described(*a)), answer("c", "a", "b", described(*b))):
        reply = plane.carry_out(command)
        assert isinstance(reply, MediaReply), reply
        ports.append(parse_session(reply.sdp).media[0].port)
    return ports[1], ports[0]


async def test_relays_both_ways_and_closes_every_port(nursery):
    plane = MediaPlane(LOOPBACK, (20500, 20599), containment=unfailing())
    await nursery.start(plane.run)
    a, b = (trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(2))
    with a, b, trio.fail_after(10):
        await a.bind(("127.0.0.5", 0))
        await b.bind(("127.0.0.6", 0))
        for_a, for_b = set_up(plane, a.getsockname(), b.getsockname())
        for n in range(20):
            await a.sendto(RTP + bytes([n]), ("127.0.0.1", for_a))
            assert await b.recv(2048) == RTP + bytes([n])
            await b.sendto(RTP + bytes([n]), ("127.0.0.1", for_b))
            assert await a.recv(2048) == RTP + bytes([n])
    assert (plane.sessions, plane.ports_in_use, plane.packets) == (1, 4, 40)
    assert plane.carry_out(Delete("c", "a")) is None
    assert (plane.sessions, plane.ports_in_use, plane.packets) == (0, 0, 40)
    assert not plane.counts


async def test_a_silent_session_is_reported_once(nursery, autojump_clock):
    events = []
    plane = MediaPlane(LOOPBACK, (20500, 20599), events.append, media_timeout=60.0, containment=unfailing())
    await nursery.start(plane.run)
    await trio.sleep(100.0)  # without a session there is no deadline
    set_up(plane)
    plane.carry_out(Establish("c", "a"))
    await trio.sleep(59.0)
    assert events == []
    await trio.sleep(300.0)
    assert events == [MediaTimeout("c", ("a", "b"))]
    assert plane.ports_in_use == 0


async def test_ending_the_plane_closes_every_port():
    plane = MediaPlane(LOOPBACK, (20500, 20599), random=random.Random(3).random, containment=unfailing())
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        set_up(plane)
        assert plane.ports_in_use == 4
        nursery.cancel_scope.cancel()
    assert (plane.sessions, plane.ports_in_use) == (0, 0)
    late = plane.carry_out(offer("d", "a", described("127.0.0.5", 4000)))
    assert isinstance(late, MediaError)
    assert late.status == 503
    assert plane.carry_out(Delete("c", "a")) is None


@pytest.mark.parametrize(
    ("addresses", "ports"),
    [
        (LOOPBACK | {Zone.PUBLIC: "0.0.0.0"}, (20000, 20100)),
        (LOOPBACK | {Zone.PUBLIC: "host"}, (20000, 20100)),
        ({Zone.PUBLIC: "127.0.0.1"}, (20000, 20100)),
        ({}, (20000, 20100)),
        (LOOPBACK, (5, 4)),
    ],
)
def test_addresses_and_ports_that_cannot_be_used(addresses, ports):
    with pytest.raises(ValueError):
        MediaPlane(addresses, ports, containment=unfailing())


async def test_a_busy_plane_relays_every_packet(nursery):
    plane = MediaPlane(LOOPBACK, (20500, 20599), containment=unfailing())
    await nursery.start(plane.run)
    a, b = (trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(2))
    with a, b, trio.fail_after(20):
        await a.bind(("127.0.0.5", 0))
        await b.bind(("127.0.0.6", 0))
        for_a, _ = set_up(plane, a.getsockname(), b.getsockname())
        for n in range(40):
            burst = [RTP + bytes([n, m]) for m in range(50)]
            for data in burst:
                await a.sendto(data, ("127.0.0.1", for_a))
            assert [await b.recv(2048) for _ in burst] == burst
    assert not plane.counts
