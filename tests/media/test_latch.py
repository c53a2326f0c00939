import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.latch import (
    NO_TARGET,
    AddressScope,
    Latch,
    MediaTarget,
    build_interfaces,
    judge_target,
    scope_of,
)

RANGE = (30000, 39999)
EDGE = build_interfaces({Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}, RANGE, denied=["10.0.0.0/8"])
LOCAL = build_interfaces({Zone.PUBLIC: "127.0.0.1", Zone.CORE: "127.0.0.1"}, RANGE)
SIX = build_interfaces({Zone.PUBLIC: "2001:db8::1", Zone.CORE: "fd00::1"}, RANGE)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.9.9.9", AddressScope.LOOPBACK),
        ("::1", AddressScope.LOOPBACK),
        ("10.1.2.3", AddressScope.PRIVATE),
        ("100.64.0.1", AddressScope.PRIVATE),
        ("fd12::1", AddressScope.PRIVATE),
        ("198.51.100.1", AddressScope.GLOBAL),
        ("2001:db8::1", AddressScope.GLOBAL),
        ("0.0.0.0", AddressScope.NEVER),
        ("0.1.2.3", AddressScope.NEVER),
        ("::", AddressScope.NEVER),
        ("224.0.0.1", AddressScope.NEVER),
        ("255.255.255.255", AddressScope.NEVER),
        ("ff02::1", AddressScope.NEVER),
        ("::ffff:127.0.0.1", AddressScope.NEVER),
        ("0:0:0:0:0:ffff:7f00:1", AddressScope.NEVER),
        ("::127.0.0.1", AddressScope.NEVER),
        ("64:ff9b::7f00:1", AddressScope.NEVER),
        ("64:ff9b:1::7f00:1", AddressScope.NEVER),
        ("::ffff:0:127.0.0.1", AddressScope.NEVER),
        ("2002:7f00:1::1", AddressScope.NEVER),
        ("2001:0:7f00:1::1", AddressScope.NEVER),
        ("fe80::1%eth0", AddressScope.NEVER),
        ("example.com", AddressScope.NEVER),
        ],
)  # fmt: skip
def test_scopes(host, scope):
    assert scope_of(host) is scope


@pytest.mark.parametrize(
    ("interfaces", "host", "port"),
    [
        (EDGE, "127.0.0.1", 4000), (EDGE, "10.0.0.1", 4000), (EDGE, "10.0.0.11", 4000),
        (EDGE, "0.0.0.0", 4000), (EDGE, "239.1.1.1", 4000), (EDGE, "255.255.255.255", 4000),
        (EDGE, "::ffff:127.0.0.1", 4000), (EDGE, "2001:db8::1", 4000), (EDGE, "localhost", 4000),
        (EDGE, "2130706433", 4000), (EDGE, "127.1", 4000), (EDGE, "203.0.113.10", 30000),
        (EDGE, "203.0.113.10", 39999), (EDGE, "203.0.113.10", 5060),
        (EDGE, "198.51.100.1", limits.MEDIA_PORT_LOWEST - 1),
        (SIX, "::1", 4000), (SIX, "::ffff:198.51.100.1", 4000), (SIX, "fd00::1", 4000),
    ],
)  # fmt: skip
def test_addresses_that_a_public_description_may_not_name(interfaces, host, port):
    with pytest.raises(WireError) as error:
        judge_target(interfaces[Zone.PUBLIC][0], host, port)
    assert error.value.status_hint == 488


def test_the_address_in_the_description_is_learned_from_and_sent_to():
    for received in ("", "198.51.100.7", "192.168.1.1"):
        target = judge_target(EDGE[Zone.PUBLIC][0], "198.51.100.1", 4000, received)
        assert target.send_to == Source("198.51.100.1", 4000)
        assert target.learn_from == {"198.51.100.1"}


def test_behind_a_nat_only_the_source_of_signalling_is_learned_and_nothing_sent_before():
    target = judge_target(EDGE[Zone.PUBLIC][0], "192.168.1.5", 4000, "198.51.100.7")
    assert target.send_to is None
    assert target.learn_from == {"198.51.100.7"}


def test_a_private_address_in_the_public_zone_is_not_sent_to_before_a_packet_came():
    assert judge_target(EDGE[Zone.PUBLIC][0], "192.168.1.5", 4000).send_to is None


@pytest.mark.parametrize("host", ["10.0.0.1", "10.0.0.11", "10.255.255.255"])
@pytest.mark.parametrize("received", ["198.51.100.7", "192.168.1.5"])
def test_an_address_of_the_inside_is_refused_although_the_network_of_a_peer_behind_a_nat_may_have_it(host, received):
    """Also where the edge itself is behind a one-to-one NAT."""
    translated = build_interfaces(
        {Zone.PUBLIC: "172.31.0.5", Zone.CORE: "10.0.0.1"}, RANGE, {Zone.PUBLIC: "203.0.113.10"}, ["10.0.0.0/8"]
    )
    for interfaces in (EDGE, translated):
        with pytest.raises(WireError) as error:
            judge_target(interfaces[Zone.PUBLIC][0], host, 4000, received)
        assert error.value.status_hint == 488


@pytest.mark.parametrize("host", ["172.16.0.1", "192.168.1.5", "100.64.0.9"])
def test_behind_a_nat_any_other_private_address_of_the_peer_is_accepted_and_no_target(host):
    target = judge_target(EDGE[Zone.PUBLIC][0], host, 4000, "198.51.100.7")
    assert (target.send_to, target.learn_from) == (None, {"198.51.100.7"})


def test_behind_an_advertised_address_private_addresses_are_no_targets():
    translated = build_interfaces(
        {Zone.PUBLIC: "172.31.0.5", Zone.CORE: "10.0.0.1"}, RANGE, {Zone.PUBLIC: "203.0.113.10"}, ["10.0.0.0/8"]
    )[Zone.PUBLIC][0]
    for received in ("", "172.31.0.9", "198.51.100.7"):
        assert judge_target(translated, "172.31.0.9", 4000, received).send_to is None
    assert judge_target(translated, "172.31.0.9", 4000, "172.31.0.8").learn_from == {"172.31.0.8"}
    for host in ("127.0.0.1", "172.31.0.5", "203.0.113.10", "10.0.0.11"):
        with pytest.raises(WireError):
            judge_target(translated, host, 4000)


def test_loopback_is_no_target_where_another_address_is_advertised():
    advertised = build_interfaces(dict.fromkeys(Zone, "127.0.0.1"), RANGE, {Zone.PUBLIC: "203.0.113.10"})
    with pytest.raises(WireError):
        judge_target(advertised[Zone.PUBLIC][0], "127.0.0.9", 4000)


def test_what_is_inside_now_is_asked_for_each_description():
    inside = set()
    interfaces = build_interfaces(
        {Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}, RANGE, inside=inside.__contains__
    )
    for host in ("198.51.100.20", "10.0.0.11"):
        judge_target(interfaces[Zone.PUBLIC][0], host, 4000)
        inside.add(host)
        with pytest.raises(WireError):
            judge_target(interfaces[Zone.PUBLIC][0], host, 4000)
        judge_target(interfaces[Zone.CORE][0], host, 4000)
    with pytest.raises(WireError):  # the source of signalling, which would be learned from
        judge_target(interfaces[Zone.PUBLIC][0], "192.168.1.5", 4000, "198.51.100.20")


def test_two_private_addresses_may_be_one_site():
    target = judge_target(EDGE[Zone.CORE][0], "10.0.0.11", 4000, "10.0.0.12")
    assert target.send_to == Source("10.0.0.11", 4000)
    assert target.learn_from == {"10.0.0.11", "10.0.0.12"}


def test_the_core_may_use_low_ports():
    assert judge_target(EDGE[Zone.CORE][0], "10.0.0.11", 1000).send_to == Source("10.0.0.11", 1000)


def test_media_is_not_bound_to_a_wildcard():
    with pytest.raises(ValueError, match="cannot be bound"):
        build_interfaces({Zone.PUBLIC: "0.0.0.0"}, RANGE)


BOTH = build_interfaces(
    {Zone.PUBLIC: ("203.0.113.10", "2001:db8::1"), Zone.CORE: ("10.0.0.1", "fd00::1")},
    RANGE,
    {Zone.PUBLIC: "203.0.113.99"},
    denied=["10.0.0.0/8", "fd00::/8"],
)


def test_a_zone_has_an_interface_of_each_family():
    assert [interface.family for interface in BOTH[Zone.PUBLIC]] == ["IP4", "IP6"]
    assert [interface.advertise for interface in BOTH[Zone.PUBLIC]] == ["203.0.113.99", "2001:db8::1"]
    for addresses in (("203.0.113.10", "203.0.113.11"), ("2001:db8::1", "2001:db8::2")):
        with pytest.raises(ValueError, match="one media address of each family for the public side"):
            build_interfaces({Zone.PUBLIC: addresses}, RANGE)


@pytest.mark.parametrize("host", ["203.0.113.10", "10.0.0.1", "10.0.0.11", "2001:db8::1", "fd00::1", "fd00::11"])
def test_no_interface_relays_to_addresses_of_the_edge_or_inside_of_its_family(host):
    for interface in BOTH[Zone.PUBLIC]:
        with pytest.raises(WireError):
            judge_target(interface, host, 4000)


@pytest.mark.parametrize(("host", "received"), [("198.51.100.1", "2001:db8:1::7"), ("2001:db8:1::7", "198.51.100.1")])
def test_signalling_may_come_over_the_other_family(host, received):
    (interface,) = (interface for interface in BOTH[Zone.PUBLIC] if (interface.family == "IP6") is (":" in host))
    target = judge_target(interface, host, 4000, received)
    assert (target.send_to, target.learn_from) == (Source(host, 4000), {host})


def test_behind_a_nat_nothing_can_be_learned_from_a_message_over_the_other_family():
    with pytest.raises(WireError, match="over the other address family") as error:
        judge_target(BOTH[Zone.PUBLIC][0], "192.168.1.5", 4000, "2001:db8:1::7")
    assert error.value.status_hint == 488
    # Servers inside, and phones of one private site, have the address that they name.
    for interface in (BOTH[Zone.CORE][0], LOCAL[Zone.PUBLIC][0]):
        target = judge_target(interface, "192.168.1.5", 4000, "fd00:1::11")
        assert (target.send_to, target.learn_from) == (Source("192.168.1.5", 4000), {"192.168.1.5"})
    with pytest.raises(WireError, match="belongs to the inside"):
        judge_target(BOTH[Zone.PUBLIC][0], "10.0.0.11", 4000, "2001:db8:1::7")


A, A2, B = Source("192.0.2.1", 4000), Source("192.0.2.1", 4002), Source("192.0.2.2", 4000)
TARGET_A = MediaTarget(A, A, frozenset({"192.0.2.1"}))
TARGET_A2 = MediaTarget(A2, A2, frozenset({"192.0.2.1"}))
A3 = Source("192.0.2.1", 4004)
TARGET_A3 = MediaTarget(A3, A3, frozenset({"192.0.2.1"}))
TARGET_B = MediaTarget(B, B, frozenset({"192.0.2.2"}))


def test_the_first_packet_from_the_right_address_locks():
    latch = Latch()
    latch.set_target(TARGET_A)
    assert latch.destination == A
    assert not latch.admit(B, 0.0)
    assert latch.admit(A, 0.0)
    assert latch.destination == A
    assert latch.firm
    assert not latch.admit(A2, 0.0)
    assert not latch.admit(B, 0.0)
    assert not latch.admit(A2, 1e6)


LATER = limits.MEDIA_SIGNALLED_SECONDS


def test_another_port_is_taken_after_the_signalled_one_was_silent_and_given_back_when_it_speaks():
    latch = Latch()
    latch.set_target(TARGET_A)
    assert not latch.admit(A2, 5.0)
    assert not latch.admit(A2, 5.0 + LATER * 0.9)
    assert latch.admit(A2, 5.0 + LATER)
    assert latch.destination == A2
    assert not latch.firm
    assert not latch.admit(B, 6.0)
    assert not latch.admit(A3, 6.0)
    assert latch.admit(A2, 7.0)
    assert latch.admit(A, 8.0)
    assert (latch.destination, latch.firm) == (A, True)
    assert not latch.admit(A2, 9.0)


def test_the_signalled_port_is_taken_while_another_one_waits():
    latch = Latch()
    latch.set_target(TARGET_A)
    assert not latch.admit(A2, 5.0)
    assert latch.admit(A, 5.0 + LATER * 0.5)
    assert not latch.admit(A2, 99.0)


def test_behind_a_nat_the_signalled_port_of_the_translated_address_comes_first():
    latch = Latch()
    latch.set_target(judge_target(EDGE[Zone.PUBLIC][0], "192.168.1.5", 4000, "192.0.2.1"))
    assert not latch.admit(A2, 0.0)
    assert latch.admit(A2, LATER)
    assert latch.admit(A, LATER)
    assert latch.firm


def test_after_a_hold_a_peer_at_another_port_is_admitted_at_once():
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A2, 0.0)
    latch.admit(A2, LATER)
    latch.set_target(NO_TARGET)
    latch.set_target(TARGET_A)
    assert not latch.admit(A3, 10.0)
    assert latch.admit(A2, 10.0)
    assert not latch.firm


def test_no_source_is_admitted_without_a_target():
    latch = Latch()
    assert not latch.admit(A, 0.0)
    assert latch.destination is None


def test_the_same_description_again_changes_nothing():
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A, 0.0)
    assert not latch.set_target(TARGET_A)
    assert latch.peer == A


def test_a_new_target_unlocks_and_late_packets_of_the_previous_peer_do_not_lock():
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A, 0.0)
    assert latch.set_target(TARGET_A2)
    assert latch.peer is None
    assert not latch.admit(A, 0.0)
    assert latch.admit(A2, 0.0)


def test_a_peer_that_stays_at_its_old_port_is_admitted_after_the_stale_packets():
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A, 0.0)
    latch.set_target(TARGET_A2)
    admitted = [latch.admit(A, 0.0) for _ in range(limits.MEDIA_STALE_PACKETS + 1)]
    assert not any(admitted)  # after the former packets, it waits for the signalled port
    assert latch.admit(A, LATER)


@pytest.mark.parametrize("between", [TARGET_B, NO_TARGET])
def test_late_packets_do_not_lock_after_several_targets_without_packets(between):
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A, 0.0)
    latch.set_target(TARGET_A3)  # no packet comes from this target
    latch.set_target(between)
    latch.set_target(TARGET_A2)
    assert not latch.admit(A, 0.0)
    assert latch.admit(A2, 0.0)


def test_a_target_that_is_restored_before_any_packet_admits_the_same_peer():
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A, 0.0)
    latch.set_target(TARGET_A2)
    latch.set_target(TARGET_A)
    assert latch.admit(A, 0.0)


def test_after_a_hold_the_same_peer_is_admitted_at_once():
    latch = Latch()
    latch.set_target(TARGET_A)
    latch.admit(A, 0.0)
    assert latch.set_target(NO_TARGET)
    assert not latch.admit(A, 0.0)
    latch.set_target(TARGET_A)
    assert latch.admit(A, 0.0)


@pytest.mark.parametrize("port", [30001, 5004])
def test_a_server_of_the_private_side_may_name_the_address_of_the_relay_there(port):
    """A proxy inside sends a call out again, or the server runs on this machine."""
    target = judge_target(EDGE[Zone.CORE][0], "10.0.0.1", port, "10.0.0.11")
    assert target.send_to == Source("10.0.0.1", port)


def test_on_loopback_peers_share_the_address_and_the_range():
    assert judge_target(LOCAL[Zone.PUBLIC][0], "127.0.0.1", 30001).send_to == Source("127.0.0.1", 30001)


# --- a description that is repeated -------------------------------------------------------------------


def locked(target, *sources):
    """A latch that is locked to the last of these sources, by packets at the times 0, 1 and so on."""
    latch = Latch()
    latch.set_target(target)
    for number, source in enumerate(sources):
        latch.admit(source, float(number))
    return latch


def test_a_repeated_description_lets_another_port_take_the_place_of_a_peer_that_is_silent():
    latch = locked(TARGET_A, A)
    assert latch.reopen()
    assert (latch.peer, latch.destination, latch.firm) == (A, A, False)
    assert not latch.admit(B, 10.0)
    assert not latch.admit(A2, 10.0)
    assert latch.destination == A, "it is sent to until another source is learned"
    assert latch.admit(A2, 10.0 + 2 * LATER)
    assert (latch.destination, latch.open) == (A2, False)
    assert not latch.admit(A3, 99.0)


@pytest.mark.parametrize("sources", [(A,), (A2, A2)], ids=["signalled port", "other port"])
def test_the_known_peer_ends_the_new_learning_with_its_next_packet(sources):
    latch = locked(TARGET_A, *sources)
    peer, was_firm = latch.peer, latch.firm
    assert latch.reopen()
    assert not latch.admit(A3, 10.0)
    assert latch.admit(peer, 10.0 + LATER / 2)
    assert (latch.peer, latch.firm, latch.open) == (peer, was_firm, False)
    assert not latch.admit(A3, 10.0 + 2 * LATER)


def test_the_signalled_port_comes_first_when_the_peer_is_learned_again():
    latch = locked(TARGET_A, A2, A2)
    assert latch.reopen()
    assert latch.admit(A, 10.0)
    assert (latch.peer, latch.firm) == (A, True)
    assert not latch.admit(A2, 99.0)


def test_without_a_peer_a_repeated_description_changes_nothing():
    latch = Latch()
    latch.set_target(TARGET_A)
    assert not latch.admit(A2, 5.0)
    assert not latch.reopen()
    assert latch.admit(A2, 5.0 + LATER)


def test_another_description_ends_the_learning_again():
    latch = locked(TARGET_A, A)
    latch.reopen()
    latch.set_target(TARGET_B)
    assert not latch.open
    assert not latch.admit(A, 10.0)
    assert latch.admit(B, 10.0)


# --- modes ----------------------------------------------------------------------------------------------

SILENCE = limits.MEDIA_ROAM_SECONDS


def roaming(target=TARGET_A):
    return target.with_latch(LatchMode.ROAMING)


def test_another_port_of_a_silent_peer_is_followed_when_it_roams():
    latch = locked(roaming(), A)
    assert latch.admit(A, 10.0)
    assert not latch.admit(A2, 10.0 + SILENCE * 0.9)
    assert latch.destination == A
    assert latch.admit(A2, 10.0 + SILENCE)
    assert latch.destination == A2
    assert not latch.admit(A3, 10.0 + SILENCE * 1.9)
    assert latch.admit(A2, 20.0)
    assert not latch.admit(A3, 20.5)
    assert latch.admit(A3, 20.0 + SILENCE)
    assert latch.destination == A3
    assert not latch.firm


def test_another_address_is_never_followed():
    latch = locked(roaming(), A)
    assert not latch.admit(B, 1e6)
    both = MediaTarget(A, A, frozenset({A.host, B.host}))
    latch = locked(roaming(both), A)
    assert not latch.admit(B, 1e6), "the port of that number at the other expected address"
    assert not latch.admit(B._replace(port=4002), 1e6)
    assert latch.destination == A


def test_the_signalled_port_takes_its_place_back_at_once():
    latch = locked(roaming(), A)
    assert latch.admit(A2, 10.0)
    assert latch.admit(A, 10.1)
    assert latch.destination == A
    assert not latch.admit(A2, 10.2)


def test_the_peer_moves_a_bounded_number_of_times_until_its_description_is_repeated():
    latch = locked(roaming(), A)
    now = 10.0
    ports = (A2, A3)
    for number in range(limits.MEDIA_ROAMS):
        assert latch.admit(ports[number % 2], now)
        now += SILENCE
    at = latch.peer
    other = next(source for source in ports if source != at)
    assert not latch.admit(other, now + 1e6)
    assert latch.admit(at, now + 1e6)
    latch.reopen()
    assert latch.admit(at, now + 1e6)
    assert latch.admit(other, now + 2e6)


def test_a_peer_that_another_relay_had_learned_is_not_silent_from_the_start():
    latch = Latch()
    latch.set_target(roaming())
    latch.restore(A2, False, 50.0)
    assert not latch.admit(A3, 50.0 + SILENCE / 2)
    assert latch.admit(A3, 50.0 + SILENCE)


def test_what_is_sent_goes_to_the_signalled_port_whatever_the_source_is():
    latch = locked(TARGET_A.with_latch(LatchMode.SYMMETRIC_OFF), A2, A2)
    assert latch.peer == A2
    assert latch.destination == A
    assert not latch.firm
    assert not latch.admit(A3, 99.0)
    assert not latch.admit(B, 99.0)
    assert latch.admit(A, 99.0)
    assert (latch.destination, latch.firm) == (A, True)


def test_the_other_expected_address_is_received_from_and_not_sent_to():
    both = MediaTarget(A, A, frozenset({A.host, B.host}))
    latch = locked(both.with_latch(LatchMode.SYMMETRIC_OFF), B)
    assert (latch.peer, latch.destination, latch.firm) == (B, A, False)


def test_an_address_that_nothing_is_sent_to_is_strict_instead():
    behind_nat = judge_target(EDGE[Zone.PUBLIC][0], "192.168.1.5", 4000, "192.0.2.1")
    assert behind_nat.with_latch(LatchMode.SYMMETRIC_OFF).latch is LatchMode.STRICT
    assert behind_nat.with_latch(LatchMode.ROAMING).latch is LatchMode.ROAMING
    assert NO_TARGET.with_latch(LatchMode.ROAMING) == NO_TARGET


def test_each_family_has_its_advertised_address_and_public_peers_name_none_of_them():
    interfaces = build_interfaces(
        {Zone.PUBLIC: ["172.31.0.5", "2001:db8::5"], Zone.CORE: ["10.0.0.1"]},
        RANGE,
        {Zone.PUBLIC: ["2001:db8:9::1", "203.0.113.10"], Zone.CORE: "192.168.7.7"},
    )
    assert [one.advertise for one in interfaces[Zone.PUBLIC]] == ["203.0.113.10", "2001:db8:9::1"]
    assert [one.advertise for one in interfaces[Zone.CORE]] == ["192.168.7.7"]
    for host in ("203.0.113.10", "192.168.7.7", "10.0.0.1"):
        with pytest.raises(WireError):
            judge_target(interfaces[Zone.PUBLIC][0], host, 4000, "198.51.100.7")
