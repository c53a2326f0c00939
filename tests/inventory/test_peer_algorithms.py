"""What weights give with each algorithm. The numbers for Kamailio are those that Kamailio 5.6.3 gave when counted."""

from __future__ import annotations

import pytest

from edgesbc.dispatch.algorithm_names import ALGORITHM_NAMES
from edgesbc.inventory.peer_algorithms import KAMAILIO, PEER_ALGORITHMS, Weights, place
from edgesbc.inventory.tables import read_rows


def kamailio_shares(*rows: str, algorithm: int) -> list[int]:
    """Calls of a hundred for each row, written as ``[FLAGS|][PRIORITY||]ATTRIBUTES``; standby and disabled rows 0."""
    listed = []
    for number, row in enumerate(rows, 1):
        flags, priority, attributes = row.split("|")
        listed.append(
            {
                "id": number, "setid": 1, "destination": f"sip:10.0.0.{number}", "flags": int(flags or 0),
                "priority": int(priority or 0), "attrs": attributes,
            }
        )  # fmt: skip
    groups = read_rows(listed, "kamailio-dispatcher", "t", ["1"], {}, algorithms={"1": algorithm})
    return [0 if one.disabled or one.priority else one.weight for one in groups.members["1"]]


@pytest.mark.parametrize(
    ("rows", "percents", "relative"),
    [
        (["||weight=80", "||weight=20"], [80, 20], [0, 100]),
        (["||weight=80;rweight=20", "||weight=20;rweight=80"], [80, 20], [20, 80]),
        (["||weight=0", "||weight=0", "||weight=0"], [0, 0, 100], [0, 0, 100]),
        (["||weight=60", "||weight=60", "||weight=60"], [0, 40, 60], [0, 0, 100]),
        (["||weight=30", "||weight=20"], [80, 20], [0, 100]),
        (["||weight=0", "||weight=50", "||weight=50"], [0, 50, 50], [0, 0, 100]),
        (["||weight=50", "||weight=50", "||weight=0"], [0, 0, 100], [0, 0, 100]),
        (["||weight=50", "||weight=50", "||weight=150"], [0, 0, 100], [0, 0, 100]),
        (["||rweight=10", "||rweight=10", "||rweight=10"], [0, 0, 100], [34, 33, 33]),
        (["||rweight=1", "||rweight=100"], [0, 100], [0, 100]),
        (["||rweight=1", "||rweight=100", "||rweight=100"], [0, 0, 100], [0, 51, 49]),
        (["||weight=30", "4||weight=40", "||weight=30"], [70, 0, 30], [0, 0, 100]),
        (["||rweight=30", "4||rweight=40", "||rweight=30"], [0, 0, 100], [50, 0, 50]),
        (["||", "||", "||"], [0, 0, 100], [0, 0, 100]),
        (["||rweight=50", "||", "||rweight=50"], [0, 0, 100], [50, 0, 50]),
        (["|5|weight=10", "|9|weight=90", "|1|weight=50"], [10, 90, 0], [0, 100, 0]),
        (["||rweight=30", "||rweight=40", "4||rweight=30"], [0, 100, 0], [43, 57, 0]),
        (["||rweight=5"], [100], [100]),
    ],
)
def test_weights_of_kamailio(rows: list[str], percents: list[int], relative: list[int]) -> None:
    assert kamailio_shares(*rows, algorithm=9) == percents
    assert kamailio_shares(*rows, algorithm=11) == relative


@pytest.mark.parametrize("algorithm", [number for number, peer in KAMAILIO.items() if number not in (9, 11)])
def test_other_algorithms_of_kamailio_use_no_weights(algorithm: int) -> None:
    assert kamailio_shares("||weight=80;rweight=3", "||weight=0", "||", algorithm=algorithm) == [1, 1, 1]


def opensips_shares(weights: list[int], algorithm: int) -> list[tuple[int, int]]:
    """The rank and weight of each row; priorities do not matter."""
    rows = [(index % 2, Weights(weight, None, "weight", False, kamailio=False)) for index, weight in enumerate(weights)]
    return list(map(tuple, place(rows, PEER_ALGORITHMS["opensips-dispatcher"][algorithm], lambda index, text: None)))


@pytest.mark.parametrize("algorithm", [0, 1, 2, 3, 5, 6])
def test_hashes_and_random_of_opensips_go_by_weight_and_evenly_where_all_are_0(algorithm: int) -> None:
    assert opensips_shares([70, 30], algorithm) == [(0, 70), (0, 30)]
    assert opensips_shares([0, 0, 0], algorithm) == [(0, 1), (0, 1), (0, 1)]
    assert opensips_shares([70, 0, 30], algorithm) == [(0, 70), (1, 1), (0, 30)]


def test_round_robin_of_opensips_gives_each_its_weight_and_at_least_one() -> None:
    assert opensips_shares([3, 1, 0], 4) == [(0, 3), (0, 1), (0, 1)]


def test_first_entry_of_opensips_goes_by_priority() -> None:
    assert opensips_shares([9, 9, 0], 8) == [(0, 1), (1, 1), (0, 1)]


def test_every_counterpart_is_an_algorithm_of_this_edge() -> None:
    for algorithms in PEER_ALGORITHMS.values():
        for peer in algorithms.values():
            assert set(peer.algorithms) <= set(ALGORITHM_NAMES)
