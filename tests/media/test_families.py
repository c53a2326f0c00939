"""Sessions in zones that have media addresses of both families (RFC 6157)."""

from __future__ import annotations

import pytest
from support.media import TableHarness, answer, offer, sdp

from edgesbc.base.address import Source, Zone, family_of
from edgesbc.media.commands import MediaError, Rollback
from edgesbc.media.latch import build_interfaces
from edgesbc.media.session_table import SessionTable
from edgesbc.sdp.session import SessionDescription

OWN = {
    (Zone.PUBLIC, "IP4"): "203.0.113.10",
    (Zone.PUBLIC, "IP6"): "2001:db8:f::10",
    (Zone.CORE, "IP4"): "10.0.0.1",
    (Zone.CORE, "IP6"): "fd00::1",
}
PEERS = {
    (Zone.PUBLIC, "IP4"): "198.51.100.7",
    (Zone.PUBLIC, "IP6"): "2001:db8:1::7",
    (Zone.CORE, "IP4"): "10.0.0.11",
    (Zone.CORE, "IP6"): "fd00::11",
}
BOTH, IPV4, IPV6 = ("IP4", "IP6"), ("IP4",), ("IP6",)
VIDEO = "m=video 4002 RTP/AVP 99\r\n"


def harness_with(public: tuple[str, ...] = BOTH, core: tuple[str, ...] = BOTH, **options: object) -> TableHarness:
    families = {Zone.PUBLIC: public, Zone.CORE: core}
    addresses = {zone: [OWN[zone, family] for family in of_zone] for zone, of_zone in families.items()}
    return TableHarness(addresses=addresses, **options)


def shown(description: SessionDescription) -> str:
    """The address in ``c=`` of the first section, which is of the family that the line says."""
    connection = description.connection_of(description.media[0])
    assert connection is not None
    assert connection.family == family_of(connection.address) == description.origin.family
    return connection.address


def reason(harness: TableHarness, command: object) -> str:
    reply = harness.table.receive(command, 0.0)  # type: ignore[arg-type]
    assert isinstance(reply, MediaError)
    assert reply.status == 488
    return reply.reason


@pytest.mark.parametrize("offerer_zone", list(Zone))
@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("others", [BOTH, IPV4, IPV6])
@pytest.mark.parametrize("wanted", ["", *BOTH])
def test_the_family_of_each_side(offerer_zone: Zone, family: str, others: tuple[str, ...], wanted: str) -> None:
    """The offerer has that of its description; the other side that of its address, if its zone has it, else the same
    one, or the only one. It stays through offers of either side."""
    other_zone = offerer_zone.other
    harness = harness_with(*((BOTH, others) if offerer_zone is Zone.PUBLIC else (others, BOTH)))
    expected = others[0] if len(others) == 1 else wanted or family
    near, far = PEERS[offerer_zone, family], PEERS[other_zone, expected]
    offered = harness.ok(offer("c", "a", sdp(near), offerer_zone, received_from=near, answerer_family=wanted))
    assert shown(offered) == OWN[other_zone, expected]
    answered = harness.ok(answer("c", "a", "b", sdp(far, 5000), received_from=far))
    assert shown(answered) == OWN[offerer_zone, family]
    to_far, to_near = harness.facing(other_zone, offered), harness.facing(offerer_zone, answered)
    assert to_far.other is to_near
    assert (to_far.rtp.send_to, to_near.rtp.send_to) == (Source(far, 5000), Source(near, 4000))
    # Re-offers of both sides, with a hint that no longer counts, go on with the same ports.
    for tag, other, host, zone in (("a", "b", near, offerer_zone), ("b", "a", far, other_zone)):
        again = harness.ok(offer("c", tag, sdp(host), zone, answerer=other, answerer_family=wanted))
        peer = near if tag == "b" else far
        harness.ok(answer("c", tag, other, sdp(peer)))
        assert shown(again) == OWN[zone.other, family if tag == "b" else expected]
        assert set(harness.ports.open_pairs.values()) == {to_far, to_near}
    harness.delete("c", "a")
    assert not harness.ports.open_pairs


@pytest.mark.parametrize("zone", list(Zone))
def test_an_offer_of_a_family_that_its_zone_has_not(zone: Zone) -> None:
    harness = harness_with(IPV4, IPV4)
    before = harness.targets()
    assert (
        reason(harness, offer("c", "a", sdp(PEERS[zone, "IP6"]), zone))
        == "expected a media address of IPv4, found one of IPv6"
    )
    # Not even where a further section is of the other family: a call with video alone is not what was meant.
    mixed = sdp(PEERS[zone, "IP6"], more=f"{VIDEO}c=IN IP4 {PEERS[zone, 'IP4']}\r\n")
    assert "found one of IPv6" in reason(harness, offer("c", "a", mixed, zone))
    assert harness.targets() == before == {}


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("zone", list(Zone))
def test_an_answer_has_the_family_that_was_offered(zone: Zone, family: str) -> None:
    harness = harness_with()
    other = "IP6" if family == "IP4" else "IP4"
    harness.ok(offer("c", "a", sdp(PEERS[zone, family]), zone))
    before = harness.targets()
    for text in (
        sdp(PEERS[zone.other, other]),
        sdp(PEERS[zone.other, family], audio=f"a=rtcp:5000 IN {other} {PEERS[zone.other, other]}\r\n"),
    ):
        assert "expected a media address of" in reason(harness, answer("c", "a", "b", text))
        assert harness.targets() == before
    harness.ok(answer("c", "a", "b", sdp(PEERS[zone.other, family])))


def test_sections_of_another_family_than_the_first_are_rejected() -> None:
    harness = harness_with()
    near4, near6 = PEERS[Zone.PUBLIC, "IP4"], PEERS[Zone.PUBLIC, "IP6"]
    offered = harness.ok(offer("c", "a", sdp(near6, more=f"{VIDEO}c=IN IP4 {near4}\r\n")))
    assert [media.port != 0 for media in offered.media] == [True, False]
    assert shown(offered) == OWN[Zone.CORE, "IP6"]
    # An answer that has the rejected section all the same changes nothing of it.
    answered = harness.ok(answer("c", "a", "b", sdp(PEERS[Zone.CORE, "IP6"], more=VIDEO)))
    assert [media.port != 0 for media in answered.media] == [True, False]
    assert len(harness.ports.open_pairs) == 2
    # In an answer such a section would be in use for its sender: it is no usable answer.
    harness.ok(offer("d", "a", sdp(near4, more=VIDEO)))
    far4, far6 = PEERS[Zone.CORE, "IP4"], PEERS[Zone.CORE, "IP6"]
    mixed = sdp(far4, more=f"{VIDEO}c=IN IP6 {far6}\r\n")
    assert "found one of IPv6" in reason(harness, answer("d", "a", "b", mixed))


@pytest.mark.parametrize("core", [BOTH, IPV4])
def test_a_reinvite_that_changes_the_family_has_new_ports_and_the_other_side_its_family(core: tuple[str, ...]) -> None:
    harness = harness_with(core=core)
    near4, near6, far = PEERS[Zone.PUBLIC, "IP4"], PEERS[Zone.PUBLIC, "IP6"], PEERS[Zone.CORE, "IP4"]
    harness.ok(offer("c", "a", sdp(near4)))
    harness.ok(answer("c", "a", "b", sdp(far)))
    before = harness.targets()
    offered = harness.ok(offer("c", "a", sdp(near6), answerer="b"))
    assert shown(offered) == OWN[Zone.CORE, "IP4"]
    assert len(harness.ports.open_pairs) == 4
    assert harness.targets().items() >= before.items()  # what is agreed goes on until the answer
    harness.table.receive(Rollback("c", "a"), 0.0)
    assert harness.targets() == before
    offered = harness.ok(offer("c", "a", sdp(near6), answerer="b"))
    answered = harness.ok(answer("c", "a", "b", sdp(far, 5000)))
    assert shown(answered) == OWN[Zone.PUBLIC, "IP6"]
    assert harness.facing(Zone.PUBLIC, answered).rtp.send_to == Source(near6, 4000)
    assert harness.facing(Zone.CORE, offered).rtp.send_to == Source(far, 5000)
    assert len(harness.ports.open_pairs) == 2
    # The other side's offers are sent in the new family, whatever address its requests go to.
    offered = harness.ok(offer("c", "b", sdp(far), Zone.CORE, answerer="a", answerer_family="IP4"))
    assert shown(offered) == OWN[Zone.PUBLIC, "IP6"]


@pytest.mark.parametrize("hold", ["0.0.0.0", "::"])
def test_hold_keeps_the_family_and_the_ports(hold: str) -> None:
    """0.0.0.0 is what RFC 2543 says, in whichever family the call is."""
    harness = harness_with()
    near, far = PEERS[Zone.PUBLIC, "IP6"], PEERS[Zone.CORE, "IP4"]
    harness.ok(offer("c", "a", sdp(near), answerer_family="IP4"))
    answered = harness.ok(answer("c", "a", "b", sdp(far)))
    pairs = set(harness.ports.open_pairs.values())
    held = harness.ok(offer("c", "a", sdp(hold), answerer="b"))
    assert shown(held) == "0.0.0.0"
    assert harness.ok(answer("c", "a", "b", sdp(far))) == answered
    assert set(harness.ports.open_pairs.values()) == pairs


@pytest.mark.parametrize("family", BOTH)
def test_a_first_offer_on_hold_has_the_family_of_its_message(family: str) -> None:
    harness = harness_with(core=IPV4)
    near, far = PEERS[Zone.PUBLIC, family], PEERS[Zone.CORE, "IP4"]
    harness.ok(offer("c", "a", sdp("0.0.0.0"), received_from=near))
    assert shown(harness.ok(answer("c", "a", "b", sdp(far)))) == OWN[Zone.PUBLIC, family]


def test_an_offer_in_the_answer_to_an_invite_without_one() -> None:
    harness = harness_with(core=IPV4)
    far, near = PEERS[Zone.CORE, "IP4"], PEERS[Zone.PUBLIC, "IP6"]
    offered = harness.ok(offer("c", "b", sdp(far), Zone.CORE, answerer="a", answerer_family="IP6"))
    assert shown(offered) == OWN[Zone.PUBLIC, "IP6"]
    assert shown(harness.ok(answer("c", "b", "a", sdp(near)))) == OWN[Zone.CORE, "IP4"]
    assert harness.facing(Zone.PUBLIC, offered).rtp.send_to == Source(near, 4000)


@pytest.mark.parametrize("family", BOTH)
def test_flooding_one_family_leaves_the_reserve_of_both(family: str) -> None:
    """A tenth of the ports at each address is kept, not of all together."""
    harness = harness_with(ports=(30000, 30039), last=30039)  # 20 pairs at each address
    other = "IP6" if family == "IP4" else "IP4"
    near = PEERS[Zone.PUBLIC, family]
    for number in range(18):
        harness.ok(offer(f"{number}", "a", sdp(near), reserved=False))
    harness.refused(offer("18", "a", sdp(near), reserved=False), 503)
    harness.ok(offer("18", "a", sdp(near)))
    harness.ok(offer("0", "a", sdp(near), reserved=False))  # it has its ports
    harness.refused(offer("0", "a", sdp(near, more=VIDEO), reserved=False), 503)
    harness.ok(offer("x", "a", sdp(PEERS[Zone.PUBLIC, other]), reserved=False))
    for number in range(19):
        harness.delete(f"{number}", "a")
    harness.delete("x", "a")
    assert set(harness.table._reserve._pairs.values()) == {0}


def test_most_sections_at_once() -> None:
    """Each takes a pair of ports in both zones; interfaces on one address share its ports."""
    for public, core, most in (
        (("192.0.2.1", "2001:db8::1"), "10.0.0.1", 20),
        (("192.0.2.1", "2001:db8::1"), ("10.0.0.1", "fd00::1"), 40),
        (("127.0.0.1", "::1"), ("127.0.0.1", "::1"), 20),
        (("127.0.0.1", "::1"), "::1", 20),
        ("127.0.0.1", "127.0.0.1", 10),
    ):
        interfaces = build_interfaces({Zone.PUBLIC: public, Zone.CORE: core}, (30000, 30039))
        table = SessionTable(TableHarness().ports, interfaces)
        assert table._reserve.unreserved == most - most // 10
