"""The algorithms of Kamailio and OpenSIPS: their counterparts, and the shares that their weights give."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["KAMAILIO", "OPENSIPS", "PEER_ALGORITHMS", "PeerAlgorithm", "Placed", "Weights", "place"]


class WeightRule(enum.Enum):
    """How the weights of a set become shares."""

    EVEN = "they are not used"
    PERCENT = "calls of a hundred; Kamailio's weight"
    RELATIVE = "shares of their sum, rounded down to percents; Kamailio's rweight"
    POSITIVE = "shares of their sum; 0 is none, and all 0 is even"
    AT_LEAST_ONE = "shares of their sum, where 0 is 1"


class PeerAlgorithm(NamedTuple):
    """An algorithm of ``ds_select_dst``: names of the counterparts here, the best first, and what it hashes over.

    ``ordered``: it goes by priority there too; otherwise priorities only order the list. ``last_first``: it uses the
    last of the rows with one priority first.
    """

    algorithms: tuple[str, ...]
    weights: WeightRule = WeightRule.EVEN
    hash_on: str = "call-id"
    ordered: bool = False
    last_first: bool = False
    note: str = ""


_AUTH = "5 (hash over the user that authorizes) has no counterpart; from-uri is nearest"
_LATENCY = "13 takes latencies off priorities there, and has no exact counterpart; latency is nearest"

KAMAILIO: Mapping[int, PeerAlgorithm] = {
    0: PeerAlgorithm(("hash",), hash_on="call-id"),
    1: PeerAlgorithm(("hash",), hash_on="from-uri"),
    2: PeerAlgorithm(("hash",), hash_on="to-uri"),
    3: PeerAlgorithm(("hash",), hash_on="request-user"),
    4: PeerAlgorithm(("round-robin", "weighted")),
    5: PeerAlgorithm(("hash",), hash_on="from-uri", note=_AUTH),
    6: PeerAlgorithm(("random", "weighted")),
    8: PeerAlgorithm(("priority",), ordered=True, last_first=True),
    9: PeerAlgorithm(("weighted",), WeightRule.PERCENT),
    10: PeerAlgorithm(("fewest-calls",)),
    11: PeerAlgorithm(("weighted",), WeightRule.RELATIVE),
    12: PeerAlgorithm(("broadcast",)),
    13: PeerAlgorithm(("latency",), ordered=True, note=_LATENCY),
}
"""By the number that Kamailio's ``ds_select_dst`` is given."""

OPENSIPS: Mapping[int, PeerAlgorithm] = {
    0: PeerAlgorithm(("hash",), WeightRule.POSITIVE, "call-id"),
    1: PeerAlgorithm(("hash",), WeightRule.POSITIVE, "from-uri"),
    2: PeerAlgorithm(("hash",), WeightRule.POSITIVE, "to-uri"),
    3: PeerAlgorithm(("hash",), WeightRule.POSITIVE, "request-user"),
    4: PeerAlgorithm(("weighted",), WeightRule.AT_LEAST_ONE),
    5: PeerAlgorithm(("hash",), WeightRule.POSITIVE, "from-uri", note=_AUTH),
    6: PeerAlgorithm(("weighted",), WeightRule.POSITIVE),
    8: PeerAlgorithm(("priority",), ordered=True),
}
"""By the number that ``ds_select_dst`` of OpenSIPS is given."""

PEER_ALGORITHMS: Mapping[str, Mapping[int, PeerAlgorithm]] = {
    "kamailio-dispatcher": KAMAILIO,
    "opensips-dispatcher": OPENSIPS,
}
"""By the schema of the table."""

_HUNDRED = 100


class Weights(NamedTuple):
    """The weights in a row, None where they are not written, and its column. ``disabled``: its member gets no calls."""

    weight: int | None
    rweight: int | None
    column: str
    disabled: bool
    kamailio: bool


class Placed(NamedTuple):
    """What a row gets: ``rank`` orders members, lower first, and ``weight`` is its share among those of its rank."""

    rank: int
    weight: int


Remark = Callable[[int, str], None]
"""Takes the index of a row and a note about it."""


def place(rows: Sequence[tuple[int, Weights]], peer: PeerAlgorithm | None, remark: Remark) -> list[Placed]:
    """The rank and weight of each row, given as its own rank and its weights.

    ``peer`` is the algorithm that the rows were written for; None: not known, so that weights hold within a priority.
    """
    if peer is None:
        return _by_priority(rows, remark)
    rule = peer.weights
    if rule is WeightRule.PERCENT or rule is WeightRule.RELATIVE:
        return _hundredths(rows, rule, remark)
    weights = [weights.weight for _, weights in rows]
    if rule is WeightRule.EVEN:
        return [Placed(rank if peer.ordered else 0, 1) for rank, _ in rows]
    if rule is WeightRule.AT_LEAST_ONE:
        return [Placed(0, 1 if weight is None else weight or 1) for weight in weights]
    shares = [1 if weight is None else weight for weight in weights]
    return [Placed(0, share) for share in shares] if all(shares) else _with_standby(rows, shares, remark)


def _with_standby(rows: Sequence[tuple[int, Weights]], shares: Sequence[int], remark: Remark) -> list[Placed]:
    """Rows with a share first; those without one are used where no other can take the call, or all evenly."""
    if not any(shares):
        remark(0, "all weights are 0, so that all are used evenly")
        return [Placed(0, 1) for _ in rows]
    for index, share in enumerate(shares):
        if not share:
            remark(index, "a weight of 0 is used only where no other can take the call")
    return [Placed(0, share) if share else Placed(1, 1) for share in shares]


# --- without a known algorithm -------------------------------------------------------------------------------


def _by_priority(rows: Sequence[tuple[int, Weights]], remark: Remark) -> list[Placed]:
    shares = [_chosen(index, weights, remark) for index, (_, weights) in enumerate(rows)]
    weighted = {rank for (rank, _), share in zip(rows, shares, strict=True) if share}
    placed = []
    for index, ((rank, _), share) in enumerate(zip(rows, shares, strict=True)):
        if share:
            placed.append(Placed(2 * rank, share))
        elif rank in weighted:
            remark(index, "a weight of 0 is used only where no other of its priority can take the call")
            placed.append(Placed(2 * rank + 1, 1))
        else:
            remark(index, "all weights of its priority are 0, so that all are used evenly")
            placed.append(Placed(2 * rank, 1))
    return placed


def _chosen(index: int, weights: Weights, remark: Remark) -> int:
    """The weight of a row: ``weight``, or ``rweight`` where that is all it has; 1 if it has none."""
    weight, rweight = weights.weight, weights.rweight
    if weight is not None and rweight is not None and weight != rweight:
        remark(index, f"weight={weight} is taken; with peer_algorithm = 11 of its set rweight={rweight} would be")
    chosen = rweight if weight is None else weight
    if weights.kamailio and chosen is not None and chosen > _HUNDRED:
        remark(index, f"a weight of {chosen} is ignored in Kamailio, where 100 is the largest")
    return 1 if chosen is None else chosen


# --- Kamailio's hundred places -------------------------------------------------------------------------------


def _hundredths(rows: Sequence[tuple[int, Weights]], rule: WeightRule, remark: Remark) -> list[Placed]:
    """The places of each row among a hundred, as ``dp_init_weights`` and ``dp_init_relative_weights`` fill them."""
    # The order of Kamailio's list: the highest priority first, and within one the last row first.
    order = sorted(range(len(rows)), key=lambda index: (rows[index][0], -index))
    percent = rule is WeightRule.PERCENT
    name = "weight" if percent else "rweight"
    written = [weights.weight if percent else weights.rweight for _, weights in rows]
    values = [weight if weight is not None and 1 <= weight <= _HUNDRED else 0 for weight in written]
    disabled = [weights.disabled for _, weights in rows]
    fill = _percents if percent else _relative
    places = fill([values[index] for index in order], [disabled[index] for index in order])
    slots = dict(zip(order, places, strict=True))
    total = sum(values)
    for index, value in enumerate(written):
        exact = value == slots[index] if percent else (value or 0) * _HUNDRED == slots[index] * total
        if not exact and not disabled[index]:
            text = f"{name} is not written" if value is None else f"{name}={value}"
            remark(index, f"{text}, and it gets {slots[index]} of 100 calls, as in Kamailio")
    return [Placed(0, slots[index]) if slots[index] else Placed(1, 1) for index in range(len(rows))]


def _percents(values: list[int], disabled: list[bool]) -> list[int]:
    """Places by weight until a hundred are filled, and the rest to the last row. All to the first if it has no weight.

    The places of a disabled row go to the next one that is not.
    """
    places = [0] * len(values)
    if values[0] == 0:
        places[0] = _HUNDRED
    else:
        left = _HUNDRED
        for index, value in enumerate(values):
            places[index] = min(value, left)
            left -= places[index]
        places[-1] += left
    return _passed_on(places, disabled)


def _relative(values: list[int], disabled: list[bool]) -> list[int]:
    """Places by part of the sum, rounded down, and the rest to the last row that has any."""
    places = [0] * len(values)
    active = [0 if disabled[index] else value for index, value in enumerate(values)]
    total = sum(active)
    if len(values) < 2 or not total:
        places[0] = _HUNDRED
    else:
        places = [value * _HUNDRED // total for value in active]
        filled = [index for index, count in enumerate(places) if count]
        places[filled[-1] if filled else -1] += _HUNDRED - sum(places)
    return _passed_on(places, disabled)


def _passed_on(places: list[int], disabled: list[bool]) -> list[int]:
    count = len(places)
    if all(disabled):
        return places
    for index in range(count):
        if disabled[index] and places[index]:
            heir = next(other % count for other in range(index + 1, index + count) if not disabled[other % count])
            places[heir] += places[index]
            places[index] = 0
    return places
