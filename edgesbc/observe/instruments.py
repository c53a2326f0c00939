"""The list of all metrics of the edge, by name, with the counters and functions that they are read from."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from edgesbc.base.counts import Counts
from edgesbc.dispatch.health import MemberState
from edgesbc.dispatch.member import Member
from edgesbc.media.quality import QualityHistograms
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.observe.metrics import Metrics, Read
from edgesbc.signalling.edge import Edge

__all__ = [
    "instrument_edge",
    "instrument_faults",
    "instrument_kernel_filters",
    "instrument_media",
    "instrument_ng",
    "instrument_rtpengines",
]


class _MemberGauges(Mapping[tuple[str, ...], Read]):
    """One gauge for each present member for which ``read`` gives a value; members change with the policy.

    ``extra_labels`` gives the values of labels other than set and member.
    """

    def __init__(
        self,
        edge: Edge,
        read: Callable[[Member], float | None],
        extra_labels: Callable[[Member], tuple[str, ...]] = lambda member: (),
    ) -> None:
        self._edge = edge
        self._read = read
        self._extra_labels = extra_labels

    def _present(self) -> dict[tuple[str, ...], Read]:
        values = ((member, self._read(member)) for member in self._edge.dispatcher.members())
        return {
            (member.set_name, member.name, *self._extra_labels(member)): partial(float, value)
            for member, value in values
            if value is not None
        }

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())

    def __getitem__(self, key: tuple[str, ...]) -> Read:
        return self._present()[key]

    def items(self) -> ItemsView[tuple[str, ...], Read]:
        """All at once: by the mapping's own ``items``, a scrape would search all members for each member."""
        return self._present().items()


class _MemberFailures(Counts):
    """Failures of the present members, by kind of evidence."""

    __slots__ = ("_edge",)

    def __init__(self, edge: Edge) -> None:
        super().__init__()
        self._edge = edge

    def _present(self) -> dict[tuple[str, ...], int]:
        return {
            (member.set_name, member.name, kind.value): count
            for member in self._edge.dispatcher.members()
            for kind, count in member.failures.items()
            if count
        }

    def __len__(self) -> int:
        return len(self._present())

    def items(self):  # type: ignore[no-untyped-def]
        return self._present().items()


class _SingleCounter(Counts):
    """A counter without labels, whose value is read from a function."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], int]) -> None:
        super().__init__({(): 0})
        self._read = read

    def items(self):  # type: ignore[no-untyped-def]
        self[()] = self._read()
        return super().items()


class _ReadCounts(Mapping[tuple[str, ...], int]):
    """Counters that are read from a function."""

    def __init__(self, read: Callable[[], Counts]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __getitem__(self, labels: tuple[str, ...]) -> int:
        return self._read()[labels]


def instrument_edge(metrics: Metrics, edge: Edge) -> None:
    """The metrics of signalling."""
    counters = edge.counters
    metrics.counter(
        "requests", "Requests taken in, retransmissions not counted.", ("listener", "method"), counters.requests
    )
    metrics.counter("responses", "Answers sent.", ("zone", "class"), counters.responses)
    metrics.counter("calls_ended", "Calls by what became of their set-up.", ("outcome",), counters.outcomes)
    metrics.gauge("calls", "Calls alive.", lambda: edge.calls)
    metrics.gauge("transactions", "Transactions alive.", lambda: edge.transactions)
    metrics.gauge("connections", "Connections open.", lambda: edge.connections)
    metrics.histogram("set_up_seconds", "From a call's INVITE to its 200.", counters.set_up)
    metrics.counter("malformed", "Messages that could not be read.", (), counters.malformed)
    metrics.counter(
        "retransmissions",
        "Requests and final answers sent again because nothing came.",
        (),
        _SingleCounter(lambda: edge.retransmissions),
    )
    metrics.counter("screened", "Refused by screening.", ("stage", "reason"), counters.screened)
    metrics.counter("screened_shadow", "Would have been refused.", ("stage", "reason"), counters.screened_shadow)
    metrics.counter(
        "shadow_differences",
        "Messages that a policy beside the live one would have judged otherwise.",
        ("live", "other"),
        counters.shadow_differences,
    )
    metrics.gauge("penalties", "Sources under a penalty.", lambda: len(edge.pipeline.penalties))
    metrics.gauge("lag_seconds", "By how much the edge is late of late.", lambda: edge.lag)
    metrics.gauge("draining", "1 while new calls are refused because the edge stops.", lambda: edge.draining)
    _instrument_destinations(metrics, edge)


def _instrument_destinations(metrics: Metrics, edge: Edge) -> None:
    labels = ("set", "member")
    up = _MemberGauges(edge, lambda member: member.state in (MemberState.ACTIVE, MemberState.TRYING))
    metrics.gauge("destination_up", "1 while a destination takes calls.", up, labels)
    state = _MemberGauges(edge, lambda member: 1, lambda member: (member.state.value,))
    metrics.gauge("destination_state", "1 for the state that a destination is in.", state, (*labels, "state"))
    metrics.gauge("destination_calls", "Live leases.", _MemberGauges(edge, lambda member: member.load), labels)
    max_calls = _MemberGauges(edge, lambda member: member.settings.max_calls)
    metrics.gauge("destination_max_calls", "Calls that a destination may have at once.", max_calls, labels)
    answer = _MemberGauges(edge, lambda member: member.latency)
    metrics.gauge("destination_answer_seconds", "How long a destination takes to answer, smoothed.", answer, labels)
    failures = _MemberFailures(edge)
    metrics.counter("destination_failures", "What spoke against a destination.", (*labels, "kind"), failures)


def instrument_kernel_filters(
    metrics: Metrics, filters: Iterable[tuple[str, str]], state: Callable[[tuple[str, str]], tuple[str, int]]
) -> None:
    """The metrics of the kernel filters of public UDP listeners.

    ``filters`` are pairs of a listener and a filter, which is ``steering`` or ``penalties``. ``state`` returns for a
    pair ``kernel`` or ``user``, depending on where the filtering is done, and the number of sources that did not fit
    into the kernel's program.
    """
    modes: dict[tuple[str, ...], Read] = {}
    left_out: dict[tuple[str, ...], Read] = {}
    for key in filters:
        modes[key] = partial(_in_kernel, state, key)
        left_out[key] = partial(_left_out, state, key)
    labels = ("listener", "lane")
    metrics.gauge("lane_mode", "1 where the kernel steers trusted sources or drops penalised ones.", modes, labels)
    metrics.gauge("lane_left_out", "Sources that the kernel's program has no room for.", left_out, labels)


def _in_kernel(state: Callable[[tuple[str, str]], tuple[str, int]], key: tuple[str, str]) -> float:
    return state(key)[0] == "kernel"


def _left_out(state: Callable[[tuple[str, str]], tuple[str, int]], key: tuple[str, str]) -> float:
    return state(key)[1]


def instrument_faults(metrics: Metrics, faults: Counts, records_lost: Callable[[], int]) -> None:
    """The metrics of what went wrong within the edge, and of its log."""
    metrics.counter("faults", "Internal errors that were contained.", ("kind",), faults)
    metrics.counter("log_records_lost", "Log records that could not be written.", (), _SingleCounter(records_lost))


def instrument_media(
    metrics: Metrics,
    sessions: Read,
    ports: Read,
    paths: Callable[[], Counts],
    dropped: Callable[[], Counts],
    moves: Callable[[], int],
    quality: QualityHistograms,
) -> None:
    """The metrics of the media plane."""
    metrics.gauge("media_sessions", "Calls with media anchored.", sessions)
    metrics.gauge("media_ports", "Ports in use.", ports)
    metrics.counter("media_packets", "Packets received from peers.", (), _SingleCounter(lambda: sum(paths().values())))
    metrics.counter("media_path", "Packets received from peers, by their path.", ("path",), _ReadCounts(paths))
    metrics.counter("media_dropped", "Packets not relayed.", ("reason",), _ReadCounts(dropped))
    metrics.counter("media_latch_moves", "Peers whose latch roams that got another port.", (), _SingleCounter(moves))
    for name, help, histograms in (
        ("media_reported_loss_ratio", "Share of lost packets.", quality.loss),
        ("media_reported_jitter_seconds", "Interarrival jitter.", quality.jitter),
        ("media_round_trip_seconds", "From the relay to a side and back.", quality.round_trip),
        ("media_estimated_mos", "Mean opinion score (ITU-T G.107).", quality.score),
    ):
        metrics.histogram(name, f"{help} As RTCP of one side told of one media section.", histograms, ("zone",))


def instrument_ng(metrics: Metrics, commands: Counts) -> None:
    """The metrics of an NG server."""
    metrics.counter("ng_commands", "Commands of the NG protocol.", ("command", "outcome"), commands)


class RtpengineFigures(Protocol):
    """What rtpengines are asked for."""

    @property
    def counts(self) -> Counts:
        """Commands by (rtpengine, outcome)."""

    def is_up(self, engine: int) -> bool:
        """Whether the rtpengine of that number replies."""

    def sessions_at(self, engine: int) -> int:
        """Number of sessions there."""


def instrument_rtpengines(metrics: Metrics, settings: Sequence[RtpengineSettings], engines: RtpengineFigures) -> None:
    """The metrics of the rtpengines that relay the media."""
    numbers = {(str(one.address),): number for number, one in enumerate(settings)}
    up: dict[tuple[str, ...], Read]
    sessions: dict[tuple[str, ...], Read]
    up = {labels: partial(_is_up, engines, number) for labels, number in numbers.items()}
    sessions = {labels: partial(_sessions_at, engines, number) for labels, number in numbers.items()}
    metrics.gauge("rtpengine_up", "Whether it replies.", up, ("rtpengine",))
    metrics.gauge("rtpengine_sessions", "Calls with media there.", sessions, ("rtpengine",))
    metrics.counter("rtpengine_commands", "Commands of the NG protocol.", ("rtpengine", "outcome"), engines.counts)


def _is_up(engines: RtpengineFigures, number: int) -> float:
    return float(engines.is_up(number))


def _sessions_at(engines: RtpengineFigures, number: int) -> float:
    return float(engines.sessions_at(number))
