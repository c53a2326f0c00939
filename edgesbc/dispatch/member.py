"""A member of a set while the edge runs: where it is, how much it carries, how it is. Decides nothing."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Protocol

from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.health import AdminState, Evidence, Health, MemberState
from edgesbc.dispatch.settings import HealthSettings, MemberSettings
from edgesbc.sip.server_uri import ResolvedAddress

__all__ = ["LoadObserver", "Member", "MemberKey", "member_key"]

MemberKey = tuple[str, str, Source, Transport]
"""Set, URI and address."""

_SMOOTHING = 0.2
"""Weight of the newest answer in the smoothed time: about the last ten count."""


class LoadObserver(Protocol):
    """What a member tells of changes: the algorithm that selects among the members of its priority."""

    def loaded(self, member: Member, calls: int) -> None:
        """``member`` has ``calls`` more calls than before; the number may be negative."""

    def restate(self) -> None:
        """A member became usable, or is no longer usable."""


class Member:
    """One destination at one address, and what is known of it.

    ``key`` is its identity over reloads: set, URI and address; ``seed`` is what ``hash`` makes of its name.
    ``load`` is the number of live leases, ``used`` how
    many of them hold each named resource. ``usable`` is whether order and health let it take calls. ``due`` and
    ``queued`` belong to the deadlines of its watch; ``probe`` is the serial number of the probe on its way, 0 for
    none, ``probed`` when that went out. ``latency`` is its smoothed time to answer in seconds, None while nothing was
    heard. ``failures`` counts what spoke against it, by where that came from; ``failure`` was the last of it, at
    ``failed``. ``algorithm`` is told of changes.
    """

    __slots__ = (
        "algorithm", "due", "failed", "failure", "failures", "health", "key", "latency", "load", "name", "order",
        "priority", "probe", "probed", "queued", "removed", "resting_until", "seed", "set_name", "settings", "starts",
        "target", "transport", "usable", "used", "weight",
    )  # fmt: skip

    def __init__(
        self,
        set_name: str,
        settings: MemberSettings,
        health: HealthSettings,
        target: ResolvedAddress,
        share: float = 1.0,
    ) -> None:
        """``share`` is the part of the weight that this address of a name has."""
        self.set_name = set_name
        self.target: Source = target.source
        self.transport: Transport = target.transport
        self.key: MemberKey = member_key(set_name, settings, target)
        literal = settings.target is not None
        over = "" if target.transport is Transport.UDP else f" over {target.transport}"
        self.name: str = settings.uri if literal else f"{settings.uri} at {target.source}{over}"
        self.seed = int.from_bytes(blake2b(self.name.encode(), digest_size=8).digest())
        self.health = Health(health)
        self.order = AdminState.DISABLED if settings.disabled else AdminState.ENABLED
        self.load = 0
        self.used: dict[str, int] = {}
        self.latency: float | None = None
        self.failures = {Evidence.PROBE: 0, Evidence.TRAFFIC: 0}
        self.failure = ""
        self.failed: float | None = None
        self.resting_until = 0.0
        self.usable = False
        self.removed = False
        self.probe = 0
        self.probed = 0.0
        self.due: float | None = None
        self.queued: float | None = None
        self.algorithm: LoadObserver | None = None
        self.settings = settings
        self.starts: deque[float] = deque(maxlen=_length(settings))
        self.priority = (settings.priority, target.priority)
        self.weight = settings.weight * share

    def adopt(self, settings: MemberSettings, health: HealthSettings, target: ResolvedAddress, share: float) -> None:
        """Take new settings for the same URI and address; load and health stay."""
        if settings.disabled is not self.settings.disabled:
            self.order = AdminState.DISABLED if settings.disabled else AdminState.ENABLED
        self.settings = settings
        self.health.settings = health
        self.priority = (settings.priority, target.priority)
        self.weight = settings.weight * share
        if self.starts.maxlen != (length := _length(settings)):
            self.starts = deque(self.starts, maxlen=length)

    @property
    def state(self) -> MemberState:
        return self.order.value or self.health.state

    @property
    def tls_name(self) -> str:
        """The name that its certificate has to carry: the one that the policy gives, or the host of its URI."""
        return self.settings.tls_name or self.settings.place.host

    def has_room(self, now: float, needs: tuple[str, ...] = ()) -> bool:
        """Whether one more call starting ``now`` keeps within ``max_calls``, ``max_cps`` and the resources it needs."""
        settings = self.settings
        if settings.max_calls is not None and self.load >= settings.max_calls:
            return False
        for name in needs:
            if self.used.get(name, 0) >= settings.resources.get(name, 0):
                return False
        if settings.max_cps is None:
            return True
        starts = self.starts
        # Exact: never more than len calls in any len/max_cps seconds.
        length = starts.maxlen or 1
        return len(starts) < length or now - starts[0] >= length / settings.max_cps

    def take(self, needs: tuple[str, ...], calls: int) -> None:
        """Count ``calls`` more, or fewer; what uses a resource is counted there too."""
        self.load += calls
        for name in needs:
            self.used[name] = self.used.get(name, 0) + calls
        if self.algorithm is not None:
            self.algorithm.loaded(self, calls)

    def answered_after(self, seconds: float) -> None:
        """It took so long to answer a probe, or a call."""
        before = self.latency
        self.latency = seconds if before is None else before + _SMOOTHING * (seconds - before)

    def __repr__(self) -> str:
        return f"Member({self.set_name!r}, {self.name!r}, {self.state}, load={self.load})"


def member_key(set_name: str, settings: MemberSettings, target: ResolvedAddress) -> MemberKey:
    """What makes a member the same one over a reload."""
    return set_name, settings.uri, target[0], target[1]


def _length(settings: MemberSettings) -> int:
    """How many starts of calls are remembered for ``max_cps``."""
    return 1 if settings.max_cps is None else max(1, int(settings.max_cps))
