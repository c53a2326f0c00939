"""Deadlines against a simple model: a dict from item to the time at which it is due."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base.deadlines import Deadlines


class Item:
    def __init__(self) -> None:
        self.due: float | None = None
        self.queued: float | None = None


TIMES = st.integers(0, 20).map(float)
STEPS = st.one_of(
    st.tuples(st.just("schedule"), st.integers(0, 3), st.one_of(st.none(), TIMES)),
    st.tuples(st.just("pop"), st.just(0), TIMES),
    st.tuples(st.just("next"), st.just(0), st.none()),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_pop_due_agrees_with_the_model(steps: list[tuple[str, int, float | None]]) -> None:
    heap, items = Deadlines[Item](), [Item() for _ in range(4)]
    wanted: dict[Item, float] = {}
    for step, number, when in steps:
        if step == "schedule":
            heap.schedule(items[number], when)
            wanted.pop(items[number], None)
            if when is not None:
                wanted[items[number]] = when
        elif step == "pop":
            assert when is not None
            woken = list(heap.pop_due(when))
            due = {item for item, at in wanted.items() if at <= when}
            assert len(woken) == len(due)
            assert set(woken) == due
            assert all(item.due is None for item in woken)
            wanted = {item: at for item, at in wanted.items() if at > when}
        earliest = heap.next()
        if wanted:
            assert earliest is not None
            assert earliest <= min(wanted.values())
        assert {item: item.due for item in items if item.due is not None} == wanted


def test_items_are_popped_in_the_order_of_their_deadlines() -> None:
    heap, items = Deadlines[Item](), [Item() for _ in range(5)]
    for item, when in zip(items, [3.0, 1.0, 5.0, 2.0, 4.0], strict=True):
        heap.schedule(item, when)
    assert [items.index(item) for item in heap.pop_due(4.5)] == [1, 3, 0, 4]
    assert heap.next() == 5.0


def test_a_deadline_at_now_is_due() -> None:
    heap, item = Deadlines[Item](), Item()
    heap.schedule(item, 1.0)
    assert list(heap.pop_due(0.999)) == []
    assert list(heap.pop_due(1.0)) == [item]
    assert list(heap.pop_due(1.0)) == []


def test_an_item_may_be_scheduled_again_while_it_is_popped() -> None:
    heap, item = Deadlines[Item](), Item()
    heap.schedule(item, 1.0)
    rounds = 0
    for woken in heap.pop_due(3.0):
        rounds += 1
        heap.schedule(woken, 1.0 + rounds)
    assert rounds == 3
    assert item.due == 4.0


def test_a_deadline_that_moves_later_is_queued_once() -> None:
    heap, item = Deadlines[Item](), Item()
    for when in range(1, 1000):
        heap.schedule(item, float(when))
    assert len(heap) == 1
    assert list(heap.pop_due(998.0)) == []
    assert list(heap.pop_due(999.0)) == [item]


def test_next_ignores_a_cancelled_deadline() -> None:
    heap, item = Deadlines[Item](), Item()
    heap.schedule(item, 1.0)
    heap.schedule(item, None)
    assert heap.next() is None
    assert len(heap) == 0
    heap.schedule(item, 2.0)
    assert heap.next() == 2.0
