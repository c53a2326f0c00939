"""A member of a set while the edge runs: where it is, how much it carries, how it is. Decides nothing."""

from __future__ import annotations

from collections import deque

from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.health import Health, Order, State
from edgesbc.dispatch.place import place_of
from edgesbc.dispatch.sets import HealthSettings, MemberSettings
from edgesbc.sip.uri import Uri, parse_uri

__all__ = ["Member"]


class Member:
    """One destination and what is known of it.

    ``load`` is the number of live leases. ``due`` and ``queued`` belong to the dispatcher's deadlines;
    ``probe`` is the serial number of the probe on its way, 0 for none.
    """

    __slots__ = (
        "due", "health", "load", "name", "order", "probe", "queued", "removed", "set_name", "settings",
        "starts", "target", "transport", "uri",
    )  # fmt: skip

    def __init__(self, set_name: str, settings: MemberSettings, health: HealthSettings) -> None:
        self.set_name = set_name
        self.name: str = settings.uri
        self.uri: Uri = parse_uri(settings.uri)
        target = place_of(settings.uri).target
        assert target is not None  # noqa: S101
        self.target: Source = target.source
        self.transport: Transport = target.transport
        self.health = Health(health)
        self.order = Order.ENABLED
        self.load = 0
        self.removed = False
        self.probe = 0
        self.due: float | None = None
        self.queued: float | None = None
        self.settings = settings
        self.starts: deque[float] = deque()
        self.adopt(settings, health)

    def adopt(self, settings: MemberSettings, health: HealthSettings) -> None:
        """Take new settings for the same URI; load and health stay."""
        self.settings = settings
        self.health.settings = health
        self.starts = deque(self.starts, maxlen=max(1, int(settings.max_cps or 1)))

    @property
    def state(self) -> State:
        return self.order.value or self.health.state

    def has_room(self, now: float) -> bool:
        """Whether one more call starting ``now`` keeps within ``max_calls`` and ``max_cps``."""
        settings = self.settings
        if settings.max_calls is not None and self.load >= settings.max_calls:
            return False
        if settings.max_cps is None:
            return True
        starts = self.starts
        # Exact: never more than len calls in any len/max_cps seconds.
        length = starts.maxlen or 1
        return len(starts) < length or now - starts[0] >= length / settings.max_cps

    def __repr__(self) -> str:
        return f"Member({self.set_name!r}, {self.name!r}, {self.state}, load={self.load})"
