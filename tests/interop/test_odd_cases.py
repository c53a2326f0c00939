"""Real sipp on both sides of one edge, for what is legal and rare, and for what goes wrong: the stories of ``odd/``."""

from __future__ import annotations

from collections import Counter

import pytest
from interop.odd import dialogs, endings, network, refusals, wording
from support.peers import needs
from support.remains import Left
from support.stories import NEVER, Story, Told, run

# Those that take long begin first.
STORIES = (*network.STORIES, *endings.STORIES, *dialogs.STORIES, *wording.STORIES, *refusals.STORIES)

pytestmark = needs("sipp")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Told], tuple[Left, Left]]:
    """All stories, told at the same time: first those of IPv4, then those of IPv6."""
    folder = tmp_path_factory.mktemp("odd")
    (told, left), (told_by_six, left_by_six) = (run(folder, STORIES, six) for six in (False, True))
    return told | told_by_six, (left, left_by_six)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_story_goes_as_it_is_told(ended: tuple[dict[str, Told], object], story: Story) -> None:
    told = ended[0][story.name]
    assert told.caller.status == 0, f"{story.proves}: {told.caller.errors}"
    for steps, side in zip(story.called, told.called, strict=True):
        if steps is NEVER:
            assert side.received == [], story.proves
        else:
            assert side.status == 0, f"{story.proves}: {side.errors}"
    story.check(told)


def test_nothing_is_left(ended: tuple[object, tuple[Left, Left]]) -> None:
    """No call, lease, media or transaction is there when all timers have run, and they had nothing more to say."""
    for left in ended[1]:
        assert left.calls == ()
        assert left.said == ()
        assert not any(left.alive.values()), left.alive
    counted: Counter[str] = sum((left.outcomes for left in ended[1]), Counter())
    assert counted == sum((Counter(story.ends.split() * story.calls) for story in STORIES), Counter())


def test_each_story_has_a_name_of_its_own() -> None:
    assert len({story.name for story in STORIES}) == len(STORIES)
