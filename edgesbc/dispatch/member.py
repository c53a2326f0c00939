"""A member of a destination set at run time: its address, load and health."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Protocol

from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.connection_backoff import ConnectionBackoff, ConnectionKey
from edgesbc.dispatch.health import AdminState, Evidence, Health, MemberState
from edgesbc.dispatch.settings import HealthSettings, MemberSettings
from edgesbc.sip.server_uri import ResolvedAddress

__all__ = ["LoadObserver", "Member", "MemberKey", "member_key"]

MemberKey = tuple[str, str, Source, Transport]
"""Set, URI and address."""

_SMOOTHING = 0.2
"""Weight of the newest response in the smoothed time: about the last ten count."""


class LoadObserver(Protocol):
    """The interface for changes of a member: the algorithm that selects among the members of its priority."""

    def load_changed(self, member: Member, calls: int) -> None:
        """``member`` has ``calls`` more calls than before; the number may be negative."""

    def usable_changed(self) -> None:
        """A member became usable, or is no longer usable."""


class Member:
    """One destination at one address.

    ``key`` is its identity over reloads: set, URI and address; ``seed`` is a digest of its name, for ``hash``.
    ``load`` is the number of live leases, ``used`` the number of them that hold each named resource. ``usable`` is
    whether administrative state and health allow new calls. ``due`` and ``queued`` belong to the deadlines of the
    health monitor; ``probe`` is the serial number of the pending probe, 0 for none, ``probed`` the time it was sent.
    ``latency`` is the smoothed time to respond in seconds, None before the first response. ``failures`` counts
    failures by their evidence; ``failure`` describes the last one, which was at ``failed``. ``algorithm`` is called
    when load or usability change. ``host`` is the name that has the address, "" for the one in the URI. ``backoff``
    says whether connections to it fail; None over UDP.
    """

    __slots__ = (
        "admin_state", "algorithm", "backoff", "due", "failed", "failure", "failures", "health", "host", "key",
        "latency", "load", "name", "priority", "probe", "probed", "queued", "removed", "resting_until", "seed",
        "set_name", "settings", "starts", "target", "transport", "usable", "used", "weight",
    )  # fmt: skip

    def __init__(
        self,
        set_name: str,
        settings: MemberSettings,
        health: HealthSettings,
        target: ResolvedAddress,
        share: float = 1.0,
    ) -> None:
        """``share`` is the part of the member's weight that this address of its host name has, 0 to 1."""
        self.set_name = set_name
        self.target: Source = target.source
        self.transport: Transport = target.transport
        self.key: MemberKey = member_key(set_name, settings, target)
        literal = settings.target is not None
        over = "" if target.transport is Transport.UDP else f" over {target.transport}"
        self.name: str = settings.uri if literal else f"{settings.uri} at {target.source}{over}"
        self.seed = int.from_bytes(blake2b(self.name.encode(), digest_size=8).digest())
        self.health = Health(health)
        self.admin_state = AdminState.DISABLED if settings.disabled else AdminState.ENABLED
        self.load = 0
        self.used: dict[str, int] = {}
        self.latency: float | None = None
        self.failures = dict.fromkeys(Evidence, 0)
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
        self.backoff: ConnectionBackoff | None = None
        self.host = target.host
        self.settings = settings
        self.starts: deque[float] = deque(maxlen=_length(settings))
        self.priority = (settings.priority, target.priority)
        self.weight = settings.weight * share

    def adopt(self, settings: MemberSettings, health: HealthSettings, target: ResolvedAddress, share: float) -> None:
        """Replace the settings, for the same URI and address; load and health stay."""
        if settings.disabled is not self.settings.disabled:
            self.admin_state = AdminState.DISABLED if settings.disabled else AdminState.ENABLED
        self.settings = settings
        self.health.settings = health
        self.host = target.host
        self.priority = (settings.priority, target.priority)
        self.weight = settings.weight * share
        if self.starts.maxlen != (length := _length(settings)):
            self.starts = deque(self.starts, maxlen=length)

    @property
    def state(self) -> MemberState:
        return self.health.state if self.admin_state is AdminState.ENABLED else self.admin_state.value

    @property
    def tls_name(self) -> str:
        """The name that its certificate must have: ``tls_name`` of the policy, or the host of its URI."""
        return self.settings.tls_name or self.settings.server_uri.host

    @property
    def connection(self) -> ConnectionKey | None:
        """What a connection to it is to reach; None over UDP."""
        if not self.transport.reliable:
            return None
        return self.target, self.transport, self.tls_name if self.transport.secure else ""

    def rests(self, now: float) -> bool:
        """Whether calls use other members, where there are any: it has asked for that, or connections to it fail."""
        backoff = self.backoff
        return self.resting_until > now or (backoff is not None and backoff.avoided(now))

    def has_room(self, now: float, needs: tuple[str, ...] = ()) -> bool:
        """Whether one more call at ``now`` keeps within ``max_calls``, ``max_cps`` and the resources that it needs."""
        settings = self.settings
        if settings.max_calls is not None and self.load >= settings.max_calls:
            return False
        for name in needs:
            if self.used.get(name, 0) >= settings.resources.get(name, 0):
                return False
        if settings.max_cps is None:
            return True
        starts = self.starts
        # Exact: never more than `length` calls in any length / max_cps seconds.
        length = starts.maxlen or 1
        return len(starts) < length or now - starts[0] >= length / settings.max_cps

    def take(self, needs: tuple[str, ...], calls: int) -> None:
        """Add ``calls``, which may be negative, to the load and to the use of each resource in ``needs``."""
        self.load += calls
        for name in needs:
            self.used[name] = self.used.get(name, 0) + calls
        if self.algorithm is not None:
            self.algorithm.load_changed(self, calls)

    def answered_after(self, seconds: float) -> None:
        """The member took ``seconds`` to respond to a probe or a call."""
        before = self.latency
        self.latency = seconds if before is None else before + _SMOOTHING * (seconds - before)

    def __repr__(self) -> str:
        return f"Member({self.set_name!r}, {self.name!r}, {self.state}, load={self.load})"


def member_key(set_name: str, settings: MemberSettings, target: ResolvedAddress) -> MemberKey:
    """The identity of a member over reloads."""
    return set_name, settings.uri, target[0], target[1]


def _length(settings: MemberSettings) -> int:
    """The number of start times of calls that are kept for ``max_cps``."""
    return 1 if settings.max_cps is None else max(1, int(settings.max_cps))
