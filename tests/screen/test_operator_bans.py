"""Bans and exemptions of operators: the longest prefix counts, some end at a time, and their number is bounded."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from edgesbc.base import limits
from edgesbc.screen.operator_bans import OperatorBan, OperatorBans


def ban(prefix: str, until: float | None = None) -> OperatorBan:
    return OperatorBan(prefix, False, 0.0, until, "operator", "abuse")


def exempt(prefix: str) -> OperatorBan:
    return OperatorBan(prefix, True, 0.0, None, "operator", "")


def test_the_longest_prefix_counts() -> None:
    orders = OperatorBans()
    orders.put(ban("192.0.2.0/24"))
    orders.put(exempt("192.0.2.7"))
    matching = [orders.of(host, 1.0) for host in ("192.0.2.1", "192.0.2.7", "198.51.100.1")]
    assert [None if order is None else order.prefix for order in matching] == ["192.0.2.0/24", "192.0.2.7", None]
    assert orders.exempts("192.0.2.7", 1.0)
    assert not orders.exempts("192.0.2.1", 1.0)


def test_a_ban_ends_at_its_time_and_the_wider_exemption_counts_again() -> None:
    orders = OperatorBans(["192.0.2.0/24"])
    orders.put(ban("192.0.2.7/32", until=10.0))
    assert not orders.exempts("192.0.2.7", 9.9)
    assert orders.exempts("192.0.2.7", 10.0)
    assert [order.prefix for order in orders] == ["192.0.2.0/24"]


def test_an_entry_replaces_the_one_for_the_same_prefix_and_can_be_removed() -> None:
    orders = OperatorBans()
    orders.put(ban("192.0.2.7"))
    orders.put(exempt("192.0.2.7/32"))
    assert orders.exempts("192.0.2.7", 0.0)
    before = orders.version
    assert orders.drop("192.0.2.7")
    assert not orders.drop("192.0.2.7")
    assert orders.version == before + 1
    assert not orders


@pytest.mark.parametrize("text", ["192.0.2.0/33", "edge.example", ""])
def test_a_text_that_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        OperatorBans().put(ban(text))


def filled(exemptions: Iterable[str] = ()) -> OperatorBans:
    """As many bans as there may be, the first of them on 192.0.0.0."""
    orders = OperatorBans(exemptions)
    for number in range(limits.OPERATOR_BANS):
        orders.put(ban(f"192.0.{number >> 8}.{number & 255}"))
    return orders


def test_operator_bans_are_bounded() -> None:
    orders = filled()
    orders.put(exempt("192.0.0.0"))
    with pytest.raises(ValueError, match=f"{limits.OPERATOR_BANS} orders"):
        orders.put(ban("198.51.100.1"))


def test_operator_bans_are_copied_and_exemptions_of_the_new_policy_stay() -> None:
    live, other = OperatorBans(["192.0.2.9"]), OperatorBans(["192.0.2.1"])
    for prefix in ("192.0.2.1", "192.0.2.2"):
        live.put(ban(prefix))
    other.copy_from(live)
    assert [(order.prefix, order.exempt) for order in other] == [("192.0.2.1", True), ("192.0.2.2", False)]
    copy = other.of("192.0.2.2", 1.0)
    assert copy is not None
    assert copy is not live.of("192.0.2.2", 1.0)  # each copy has its own counter


def test_a_policy_with_exemptions_takes_over_all_operator_bans() -> None:
    """A reload neither loses a ban nor fails because of it, and the saved file can be read at the next start."""
    previous = filled(exemptions=["203.0.113.1"])
    orders = OperatorBans([f"198.51.100.{number}" for number in range(5)])
    orders.take_over(previous)
    assert orders.version > previous.version
    assert len(list(orders)) == 5 + limits.OPERATOR_BANS
    with pytest.raises(ValueError, match=f"{limits.OPERATOR_BANS} orders already"):
        orders.put(ban("198.51.101.1"))
