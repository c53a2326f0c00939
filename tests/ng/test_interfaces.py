"""Interfaces by name."""

import pytest

from edgesbc.base.address import Zone
from edgesbc.ng.interfaces import interfaces_by_name, interfaces_by_zone, parse_interface

PORTS = (30000, 39999)


def named(*texts, private=()):
    return interfaces_by_name(map(parse_interface, texts), PORTS, private)


def test_names_addresses_and_what_is_shown():
    interfaces = named("pub/10.0.0.5!203.0.113.5", "pub/2001:db8::5", "priv/10.0.0.6", private=["priv"])
    assert list(interfaces) == ["pub", "priv"]
    first, second = interfaces["pub"]
    assert (first.address, first.advertise, first.family) == ("10.0.0.5", "203.0.113.5", "IP4")
    assert (second.address, second.family) == ("2001:db8::5", "IP6")
    assert not first.trusted
    assert first.refused == {"2001:db8::5", "10.0.0.6"}
    (private,) = interfaces["priv"]
    assert private.trusted
    assert private.zone is Zone.CORE


def test_without_a_name_it_is_the_default():
    interfaces = named("[2001:db8::5]")
    assert list(interfaces) == ["default"]
    assert interfaces_by_zone(interfaces)[Zone.CORE] == interfaces["default"]


@pytest.mark.parametrize(
    ("texts", "private", "word"),
    [
        (["pub/x"], [], "found 'pub/x'"), (["pub/0.0.0.0"], [], "0.0.0.0"), (["/10.0.0.1"], [], "name"),
        (["a b/10.0.0.1"], [], "name"), (["pub/10.0.0.1!"], [], "ADVERTISED"),
        (["pub/10.0.0.1!2001:db8::1"], [], "one family"), (["pub/10.0.0.1!224.0.0.1"], [], "224.0.0.1"),
        (["pub/10.0.0.1", "pub/10.0.0.2"], [], "each family"), (["pub/10.0.0.1"], ["priv"], "'priv'"),
        ([], [], "found 0"),
        ([f"n{number}/10.0.0.{number}" for number in range(1, 40)], [], "39"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(texts, private, word):
    with pytest.raises(ValueError) as caught:
        named(*texts, private=private)
    assert word in str(caught.value)
