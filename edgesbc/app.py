"""The composition root: builds the planes from a policy, opens their nurseries, and ends them in order.

:func:`edgesbc.serve` is how programs run it, the command line included.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

from edgesbc.base.address import Listener, Zone, host_port
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.base.version import VERSION
from edgesbc.control.bans import BanCommands
from edgesbc.control.destinations import DestinationCommands
from edgesbc.control.lifecycle import DrainStarted, EdgeStatus, LifecycleCommands, ProcessStatus
from edgesbc.control.protocol import Commands
from edgesbc.control.server import serve_control, serve_control_on
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.operator_overrides import OperatorOverrides
from edgesbc.dispatch.settings import with_fallbacks
from edgesbc.kernel_relay.attached import AttachedRelay, attach_relay
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply
from edgesbc.media.latch import build_interfaces
from edgesbc.media.plane import MediaPlane
from edgesbc.media.plane_settings import MediaPlaneSettings
from edgesbc.media.relay import EXPEDITED
from edgesbc.ng.engines import RtpengineMedia
from edgesbc.observe import logs
from edgesbc.observe.decision_feed import DecisionFeed
from edgesbc.observe.http import HttpSources, serve_http
from edgesbc.observe.instruments import (
    instrument_edge,
    instrument_faults,
    instrument_kernel_filters,
    instrument_media,
    instrument_rtpengines,
)
from edgesbc.observe.ledger import Ledger, WhyAnswer
from edgesbc.observe.metrics import Metrics
from edgesbc.policy.certificates import own_certificate
from edgesbc.policy.compile_policy import core_rules_of, header_rules_of, routing_of
from edgesbc.policy.model import CONTROL_SOCKET, Policy
from edgesbc.resolve.name_servers import NameServers
from edgesbc.resolve.resolver import Resolver
from edgesbc.rollout.active_policy import ActivePolicy
from edgesbc.rollout.commands import PolicyCommands
from edgesbc.rollout.controller import RolloutController
from edgesbc.rollout.results import ReloadResult
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.tokens import Sealer
from edgesbc.store.bans import PersistedBans
from edgesbc.store.destinations import PersistedOverrides
from edgesbc.store.proven_flows import ProvenFlows
from edgesbc.store.state_store import StateStore
from edgesbc.store.token_key import token_key
from edgesbc.tasks.containment import Containment
from edgesbc.tasks.random_bytes import RandomBytes
from edgesbc.transport.connection_limits import most_media_sections
from edgesbc.transport.interfaces import devices_of
from edgesbc.transport.plane import SignallingPlane
from edgesbc.transport.sockets import OpenedListener, open_listeners, visible_addresses

__all__ = ["App", "RemoteMedia", "Surroundings", "attach_kernel_relay", "media_settings_of"]

LAST_BYES = 4.0
"""Seconds for the answers to the BYEs that end the last calls."""


class RemoteMedia(Protocol):
    """The media plane in another process."""

    @property
    def up(self) -> bool:
        """Whether it takes commands."""

    def attach(self, plane: SignallingPlane) -> None:
        """``plane`` gets its replies and events."""

    def carry_out(self, cookie: int, command: MediaCommand) -> MediaReply | MediaError | None:
        """Have it carry out a command; the reply may come later."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the link to it, until cancelled."""


@attrs.frozen
class Surroundings:
    """What an edge gets from its supervisor, where signalling is a process of its own."""

    listeners: Sequence[OpenedListener]
    """Bound sockets, one for each ``[[listen]]``."""
    control: socket.socket
    """Listens at the control socket."""
    media: RemoteMedia | None
    """None: the policy has no media plane."""
    processes: Callable[[], list[ProcessStatus]]
    """Every process of the edge, as it is now."""
    http_port: Callable[[], int]
    """Where another process serves HTTP; 0: nowhere."""


class App:
    """One edge. :meth:`run` builds it and runs it once; what has no value here is set when it has started.

    With ``surroundings`` it is the signalling of an edge of several processes.
    """

    listeners: list[Listener]
    edge: Edge
    plane: SignallingPlane
    resolver: Resolver
    bans: BanCommands
    destinations: DestinationCommands

    def __init__(self, policy: Policy, surroundings: Surroundings | None = None) -> None:
        self._surroundings = surroundings
        self._began = time.monotonic()
        self.ledger = Ledger(0.0)
        self.feed = DecisionFeed()
        self.metrics = Metrics(policy.observe.max_series, process=surroundings is None)
        self.media: MediaPlane | None = None
        self._remote_media: RemoteMedia | None = None
        self.http_port = 0
        self.stopping = trio.Event()
        """The edge drains, or has ended."""
        self.ended = trio.Event()
        """:meth:`run` has returned."""
        self.on_started: Callable[[], None] = lambda: None
        """Called when every listener listens."""
        self._scope = trio.CancelScope()
        self._opened: list[OpenedListener] = []
        self._flows: ProvenFlows | None = None
        self._kernel_relay: AttachedRelay | None = None
        self._decisions = Counts()
        self._overrides = OperatorOverrides()
        self._log = logs.lifecycle("edge")
        self._samples = logs.SampledLog(logs.logger("edge"))
        self.containment = Containment(self._report)
        """Counts and reports what is raised in the tasks of this edge."""
        self.active = ActivePolicy(policy, self._log, self.record, self.containment)
        self.rollout = RolloutController(self.active, self.record, self._log)
        self.policies = PolicyCommands(self.rollout)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.active.policy

    # --- building ----------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Open the sockets and build the planes. Raises ``OSError`` where an address cannot be bound."""
        policy, around = self.policy, self._surroundings
        state_dir = policy.edge.state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._opened = open_listeners(policy.listen) if around is None else list(around.listeners)
        self.listeners = [opened.listener for opened in self._opened]
        self.edge = self._build_edge(policy, self.listeners)
        if policy.media.engine == "builtin" and around is None:
            self.media = self._build_media(policy)
        self.plane = self._build_plane(policy)
        self._remote_media = self._build_remote_media(policy)
        if self._remote_media is not None:
            self._remote_media.attach(self.plane)
        servers = NameServers(policy.edge.name_servers)
        self.resolver = Resolver(self.edge, servers, self.plane.addresses_resolved, self.record, self.containment)
        self.active.attach(self.edge, self.resolver.reload, self.plane.carry_out)
        self.bans = BanCommands(self.edge, trio.current_time, self.record, self.plane.carry_out)
        self.destinations = DestinationCommands(self.edge, self._overrides, trio.current_time, self.record)
        self._instrument()

    def _build_media(self, policy: Policy) -> MediaPlane:
        settings = media_settings_of(policy, relays=0)
        kernel, reason = attach_kernel_relay(policy, settings)
        self._kernel_relay = kernel
        self._log.info("kernel relay", devices=0 if kernel is None else len(kernel.maps.devices), reason=reason)
        return settings.build(
            lambda event: self.plane.media_event(event),
            self.containment,
            self.edge.is_inside,
            most_media_sections(policy.edge.max_connections),
            None if kernel is None else kernel.maps,
        )

    def _build_remote_media(self, policy: Policy) -> RemoteMedia | None:
        """The media plane that is no part of this process, if there is one."""
        if policy.media.engine != "rtpengine":
            return None if self._surroundings is None else self._surroundings.media
        interfaces = build_interfaces(
            {zone: visible_addresses(policy.media.address.of(zone)) for zone in Zone},
            (1, 1),  # no port of these addresses is one of a relay of the edge
            {zone: policy.media.advertise.of(zone) for zone in Zone},
            # What a public peer has sent to an rtpengine's control port would be a command.
            [settings.address.host for settings in policy.media.rtpengine],
            self.edge.is_inside,
        )
        engines = RtpengineMedia(
            policy.media.rtpengine, interfaces, policy.media.timeout, random.random, self._log, self.containment
        )
        instrument_rtpengines(self.metrics, policy.media.rtpengine, engines)
        return engines

    def _build_edge(self, policy: Policy, listeners: list[Listener]) -> Edge:
        dispatcher = Dispatcher(policy.destinations, random.random, trio.current_time(), self.record)
        random_bytes = RandomBytes()
        dispatcher.on_members_changed = lambda now: self._overrides.apply(dispatcher, now)
        return Edge(
            listeners,
            dispatcher,
            routing_of(policy),
            self.active.pipeline(policy),
            Sealer([token_key(policy.edge.state_dir)], random_bytes),
            random_bytes,
            anchor=policy.media.engine != "none",
            server=policy.edge.server,
            registrations=policy.registrations.rules,
            headers=header_rules_of(policy),
            core=core_rules_of(policy),
            max_calls=policy.edge.max_calls,
            latch=policy.media.latch,
        )

    def _build_plane(self, policy: Policy) -> SignallingPlane:
        certificates = {
            settings.name: settings.certificate or own_certificate(policy.edge.state_dir, _names(policy))
            for settings in policy.listen
            if settings.transport.secure
        }
        return SignallingPlane(
            self.edge,
            self._opened,
            certificates,
            self._media_command,
            self.record,
            self.containment,
            policy.edge.max_connections,
        )

    def _instrument(self) -> None:
        labels = ("name", "version")
        self.metrics.gauge("info", "Always 1.", {(self.policy.edge.name, VERSION): lambda: 1.0}, labels)
        instrument_edge(self.metrics, self.edge)
        self.metrics.counter("transport", "Transport events.", ("listener", "event"), self.plane.counts)
        self.metrics.counter(
            "stream_work", "What connections did without messages.", ("listener", "kind"), self.plane.stream_work
        )
        instrument_faults(self.metrics, self.containment.faults, logs.records_lost)
        self.metrics.counter("decisions", "Decisions in the ledger.", ("reason",), self._decisions)
        instrument_kernel_filters(
            self.metrics, self.plane.kernel_filters.keys(), lambda key: self.plane.kernel_filters[key]
        )
        media = self.media
        if media is not None:
            instrument_media(
                self.metrics,
                lambda: media.sessions,
                lambda: media.ports_in_use,
                lambda: media.paths,
                lambda: media.counts,
                lambda: media.moves,
                media.quality,
            )

    def _media_command(self, cookie: int, command: MediaCommand) -> MediaReply | MediaError | None:
        if self._remote_media is not None:
            return self._remote_media.carry_out(cookie, command)
        if self.media is None:
            return MediaError(Reason.NO_MEDIA.status, "no media plane")
        return self.media.carry_out(command)

    # --- what it shows of itself -------------------------------------------------------------------------

    def record(self, decision: Decision) -> None:
        """Enter a decision in the ledger and its counter, pass it to subscriptions and, as a sample, to the log."""
        self.ledger.record(decision)
        self._decisions.add(decision.reason.code)
        self._samples.decision(decision)
        self.feed.publish(decision)

    def why(self, key: str) -> WhyAnswer:
        """What was decided about a Call-ID or an address; see :meth:`edgesbc.observe.ledger.Ledger.ask`."""
        # Read each time: the wall clock is set from time to time, the clock of the decisions never.
        self.ledger.wall_offset = time.time() - trio.current_time()
        return self.ledger.ask(key)

    def _report(self, kind: str, error: Exception) -> None:
        self._samples.error(f"{kind}: {type(error).__name__}", trio.current_time(), error)

    def not_ready(self) -> dict[str, str]:
        """Why the edge takes no new calls, by part; empty: it takes them."""
        reasons = {}
        if self.edge.draining:
            reasons["signalling"] = "draining"
        if self._remote_media is not None and not self._remote_media.up:
            is_rtpengine = self.policy.media.engine == "rtpengine"
            reasons["media"] = "no rtpengine replies" if is_rtpengine else "is being started"
        unfilled = self.active.unfilled_sets()
        sets = {settings.set: settings for settings in self.policy.destinations}
        for name in sets:
            if not any(map(self.edge.dispatcher.usable, with_fallbacks(name, sets))):
                reasons[f"destinations {name}"] = unfilled.get(name, "no member is up")
        return reasons

    def status(self) -> EdgeStatus:
        """The edge as it is now."""
        change, around = self.rollout.last, self._surroundings
        return {
            "name": self.policy.edge.name,
            "version": VERSION,
            "policy_file": self.policy.file,
            "policy_version": self.rollout.version,
            "change": None if change is None else change.state.value,
            "listeners": [
                {
                    "name": listener.name, "zone": listener.zone.value, "transport": listener.transport.value,
                    "host": listener.host, "port": listener.port,
                }
                for listener in self.listeners
            ],
            "http_port": self.http_port if around is None else around.http_port(),
            "calls": self.edge.calls,
            "adopted_calls": self.edge.adopted_calls,
            "draining": self.stopping.is_set(),
            "not_ready": self.not_ready(),
            "processes": self._only_process() if around is None else around.processes(),
        }  # fmt: skip

    def _only_process(self) -> list[ProcessStatus]:
        since = time.monotonic() - self._began
        return [{"name": "edge", "pid": os.getpid(), "state": "running", "since": since, "restarts": 0}]

    def _commands(self) -> Commands:
        """The commands of the control socket, by name."""
        lifecycle = LifecycleCommands(self.why, self.drain, self.reload, self.status, self.metrics.rows)
        return {**self.bans.table, **self.destinations.table, **self.policies.table, **lifecycle.table}

    # --- running -----------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`drain` or :meth:`cancel`. Started when every listener listens.

        Raises ``OSError``, maybe within exception groups, when it cannot start.
        """
        try:
            with self._scope:
                await self._run(task_status)
                self._log.info("stopped")
        finally:
            for opened in self._opened:
                opened.close()  # the program may go on, and start an edge at the same addresses
            if self._flows is not None:
                self._flows.close()
            if self._kernel_relay is not None:
                self._kernel_relay.close()
            self.stopping.set()
            self.feed.end()
            self.ended.set()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        self._build()
        persisted = (
            PersistedBans(lambda: self.edge.pipeline),
            PersistedOverrides(self._overrides, lambda: self.edge.dispatcher),
        )
        state = StateStore(self.policy.edge.state_dir, persisted, self._log, self.containment)
        state.restore()
        flows = self._flows = self._proven_flows()
        flows.restore(trio.current_time(), time.time())
        self.edge.keep_restored_flows_open(trio.current_time())
        await self.rollout.start()  # before the control socket, so that the start has the first entry in the log
        await self.active.read_databases()
        async with trio.open_nursery() as root:
            around, commands = self._surroundings, self._commands()
            if around is not None:
                await root.start(serve_control_on, around.control, commands, self.containment, root)
            else:
                control = self.policy.edge.state_dir / CONTROL_SOCKET
                await root.start(serve_control, control, commands, self.containment, root)
            if self.policy.observe.http is not None and around is None:
                sources = HttpSources(self.metrics.render, self.not_ready, self.why)
                bind = str(self.policy.observe.http)
                self.http_port = await root.start(serve_http, bind, sources, self.containment, root)
                self._log.info("metrics", address=host_port(self.policy.observe.http.host, self.http_port))
            async with trio.open_nursery() as media_nursery:
                if self.media is not None:
                    await media_nursery.start(self.media.run)
                if self._remote_media is not None:
                    await media_nursery.start(self._remote_media.run)
                async with trio.open_nursery() as signalling_nursery:
                    await self._start_signalling(signalling_nursery, state, flows)
                    task_status.started()
                    self.on_started()
                    await self.stopping.wait()
                    await self._end_calls()
                    await state.write()
                    await flows.write()
                    signalling_nursery.cancel_scope.cancel()
                media_nursery.cancel_scope.cancel()
            root.cancel_scope.cancel()

    def _proven_flows(self) -> ProvenFlows:
        edge, folder = self.edge, self.policy.edge.state_dir
        standings, registrars = (lambda: edge.pipeline.standings), (lambda: edge.challenging_sets)
        return ProvenFlows(
            folder, self.listeners, standings, registrars, edge.assume_challenges, self._log, self.containment
        )

    async def _start_signalling(self, nursery: trio.Nursery, state: StateStore, flows: ProvenFlows) -> None:
        await nursery.start(self.resolver.run)  # messages that come meanwhile wait in the kernel
        await nursery.start(self.plane.run)
        for listener in self.listeners:
            self._log.info(
                "listening", listener=listener.name, transport=listener.transport.value,
                address=f"{listener.host}:{listener.port}",
            )  # fmt: skip
        nursery.start_soon(self.containment.keep_running, "state files", state.run)
        nursery.start_soon(self.containment.keep_running, "registered flows", flows.run)
        nursery.start_soon(self.containment.keep_running, "probation", self.rollout.run)
        self.active.run_in(nursery)

    def drain(self) -> DrainStarted:
        """Begin to drain: refuse new calls, give live ones ``[edge] grace`` seconds, then end."""
        self.stopping.set()
        return {"calls": self.edge.calls, "grace": self.policy.edge.grace}

    def cancel(self) -> None:
        """End at once, without a BYE to live calls."""
        self._scope.cancel()

    async def _end_calls(self) -> None:
        """Refuse new calls, give live ones their grace, then end them."""
        edge = self.edge
        edge.drain()
        self._log.info("draining", calls=edge.calls, grace=self.policy.edge.grace)
        await self._until_quiet(self.policy.edge.grace, lambda: edge.calls == 0 and edge.adopted_calls == 0)
        with self.containment.contain("drain"):
            self.plane.carry_out(edge.end_calls(trio.current_time()))
        self.plane.stop_accepting()
        await self._until_quiet(LAST_BYES, lambda: not edge.awaits_responses)

    async def _until_quiet(self, seconds: float, quiet: Callable[[], bool]) -> None:
        with trio.move_on_after(seconds):
            while not quiet():  # noqa: ASYNC110 - the signalling core is pure and has no event to wait on
                await trio.sleep(0.05)

    async def reload(self) -> ReloadResult:
        """Read the policy file and certificates again; see :meth:`RolloutController.reload`."""
        return await self.rollout.reload(self.plane.reload_certificates)


def media_settings_of(policy: Policy, relays: int) -> MediaPlaneSettings:
    """The settings of the media plane of ``policy``; ``relays`` is the number of relay processes where the policy has
    none."""
    settings = policy.media
    return MediaPlaneSettings(
        tuple(visible_addresses(settings.address.public)),
        tuple(visible_addresses(settings.address.core)),
        settings.ports.first,
        settings.ports.last,
        policy.edge.max_calls,
        settings.timeout,
        settings.hold_timeout,
        settings.one_way.value,
        settings.one_way_timeout,
        relays if settings.relays is None else settings.relays,
        policy.observe.max_series,
        settings.advertise.public,
        settings.advertise.core,
        settings.unknown_profiles,
    )


def attach_kernel_relay(policy: Policy, settings: MediaPlaneSettings) -> tuple[AttachedRelay | None, str]:
    """The kernel relay that the policy asks for; see :func:`attach_relay`."""
    return attach_relay(policy.media.kernel, devices_of(settings.addresses), settings.capacity, EXPEDITED)


def _names(policy: Policy) -> list[str]:
    """The names of the edge's own certificate."""
    names = {settings.advertise.host for settings in policy.listen if settings.advertise is not None}
    names |= {settings.bind.host for settings in policy.listen if settings.bind.host not in ("0.0.0.0", "::")}  # noqa: S104
    return sorted(names)
