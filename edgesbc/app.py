"""The composition root: builds the planes from a policy, opens their nurseries, and ends them in order."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs
import trio

from edgesbc import __version__
from edgesbc.base.address import Zone, host_port
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import PolicyErrors
from edgesbc.base.reasons import Reason
from edgesbc.control.bans import BanCommands
from edgesbc.control.destinations import DestinationCommands
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.control.server import Commands, serve_control
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.operator_overrides import OperatorOverrides
from edgesbc.dispatch.settings import with_fallbacks
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply
from edgesbc.media.plane import MediaPlane
from edgesbc.observe import logs
from edgesbc.observe.http import HttpSources, serve_http
from edgesbc.observe.instruments import instrument_edge, instrument_lanes, instrument_media
from edgesbc.observe.ledger import Ledger, WhyAnswer
from edgesbc.observe.metrics import Metrics
from edgesbc.policy.certificates import own_certificate
from edgesbc.policy.compile_policy import routing_of
from edgesbc.policy.load import load_policy
from edgesbc.policy.model import CONTROL_SOCKET, Policy
from edgesbc.resolve.name_servers import NameServers
from edgesbc.resolve.resolver import Resolver
from edgesbc.rollout.active_policy import ActivePolicy
from edgesbc.rollout.commands import PolicyCommands
from edgesbc.rollout.reload import ReloadResult, reload_policy
from edgesbc.rollout.rollout_monitor import RolloutMonitor
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.tokens import Sealer
from edgesbc.store.bans import PersistedBans
from edgesbc.store.destinations import PersistedOverrides
from edgesbc.store.policy_log import Outcome
from edgesbc.store.state_store import StateStore
from edgesbc.store.token_key import token_key
from edgesbc.transport.plane import SignallingPlane
from edgesbc.transport.sockets import open_listeners, visible_address

__all__ = ["App"]

LAST_BYES = 4.0
"""Seconds for the answers to the BYEs that end the last calls."""


class App:
    """One running edge. :attr:`plane`, :attr:`media` and :attr:`http_port` are there once it has started."""

    def __init__(self, policy: Policy) -> None:
        self.ledger = Ledger(0.0)
        self.metrics = Metrics()
        self.media: MediaPlane | None = None
        self.http_port = 0
        self.plane: SignallingPlane
        self.edge: Edge
        self.resolver: Resolver
        self._stopping = trio.Event()
        self._hurried = False
        self._decisions = Counts()
        self._orders = OperatorOverrides()
        self._log = logs.lifecycle("edge")
        self._faults = logs.OncePerKind(logs.logger("edge"))
        self.force = ActivePolicy(policy, self._log, self.record, self._failed)
        self._changes = RolloutMonitor(self.force, self._log)

    @property
    def policy(self) -> Policy:
        """The one in force."""
        return self.force.policy

    # --- building ----------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Open the sockets and put the planes together. Raises ``OSError`` where an address cannot be had."""
        policy = self.policy
        state_dir = policy.edge.state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = open_listeners(policy.listen)
        listeners = [each.listener for each in opened]
        now = trio.current_time()
        dispatcher = Dispatcher(policy.destinations, random.random, now, self.record)
        dispatcher.changed = lambda now: self._orders.apply(dispatcher, now)
        self.edge = Edge(
            listeners,
            dispatcher,
            routing_of(policy),
            self.force.pipeline(policy),
            Sealer([token_key(state_dir)], os.urandom),
            os.urandom,
            anchor=policy.media.engine == "builtin",
            server=policy.edge.server,
        )
        if policy.media.engine == "builtin":
            ports = policy.media.ports
            self.media = MediaPlane(
                {zone: _media_address(policy, zone) for zone in Zone},
                (ports.first, ports.last),
                lambda event: self.plane.media_event(event),
                media_timeout=policy.media.timeout,
            )
        folders = {
            each.name: each.certificate or own_certificate(state_dir, _names(policy))
            for each in policy.listen
            if each.transport.secure
        }
        self.plane = SignallingPlane(self.edge, opened, folders, self._media_command, self.record, self._failed)
        servers = NameServers(policy.edge.name_servers)
        self.resolver = Resolver(self.edge, servers, self.plane.located, self.record, self._failed)
        self.force.attach(self.edge, self.resolver.look_again)
        self._instrument()

    def _instrument(self) -> None:
        labels = ("name", "version")
        self.metrics.gauge("info", "Always 1.", {(self.policy.edge.name, __version__): lambda: 1.0}, labels)
        instrument_edge(self.metrics, self.edge)
        self.metrics.counter("transport", "Transport events.", ("listener", "event"), self.plane.counts)
        self.metrics.counter("decisions", "Decisions in the ledger.", ("reason",), self._decisions)
        instrument_lanes(self.metrics, self.plane.lanes.keys(), lambda lane: self.plane.lanes[lane])
        media = self.media
        if media is not None:
            instrument_media(
                self.metrics,
                lambda: media.sessions,
                lambda: media.ports_in_use,
                lambda: media.packets,
                media.counts,
            )

    def _media_command(self, command: MediaCommand) -> MediaReply | MediaError | None:
        if self.media is None:
            return MediaError(Reason.NO_MEDIA.status, "no media plane")
        return self.media.carry_out(command)

    # --- what is told ------------------------------------------------------------------------------------

    def record(self, decision: Decision) -> None:
        """Enter a decision in the ledger, its counter and, as a sample, the log."""
        self.ledger.record(decision)
        self._decisions.add(decision.reason.code)
        self._faults.decision(decision)

    def why(self, key: str) -> WhyAnswer:
        """What was decided about a Call-ID or an address; see :meth:`edgesbc.observe.ledger.Ledger.ask`."""
        # Taken anew each time: the wall clock is set right now and then, and the plane's clock never.
        self.ledger.wall_offset = time.time() - trio.current_time()
        return self.ledger.ask(key)

    def _failed(self, kind: str, error: Exception) -> None:
        self._faults.error(f"{kind}: {type(error).__name__}", trio.current_time(), error)

    def not_ready(self) -> dict[str, str]:
        """Why the edge takes no new calls, by part."""
        reasons = {}
        if self.edge.draining:
            reasons["signalling"] = "draining"
        unfed = self.force.empty()
        sets = {each.set: each for each in self.policy.destinations}
        for name in sets:
            if not any(map(self.edge.dispatcher.usable, with_fallbacks(name, sets))):
                reasons[f"destinations {name}"] = unfed.get(name, "no member is up")
        return reasons

    def _commands(self) -> Commands:
        """What can be asked of this edge over its control socket, by name."""

        def drain(_: object) -> dict[str, Any]:
            self.stop()
            return {"calls": self.edge.calls, "grace": self.policy.edge.grace}

        async def reload(_: object) -> dict[str, Any]:
            return attrs.asdict(await self.reload())

        bans = BanCommands(lambda: self.edge, trio.current_time, self.record, self.plane.carry_out)
        destinations = DestinationCommands(lambda: self.edge, self._orders, trio.current_time, self.record)
        return {
            **bans.commands,
            **destinations.commands,
            **PolicyCommands(self._changes).commands,
            "policy shadow": self._shadow,
            "why": lambda asked: attrs.asdict(self.why(asked.text("of"))),
            "drain": drain,
            "reload": reload,
        }

    # --- running -----------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop` or a signal, then drain. Raises ``OSError`` when it cannot listen."""
        self._build()
        kept = (
            PersistedBans(lambda: self.edge.pipeline),
            PersistedOverrides(self._orders, lambda: self.edge.dispatcher),
        )
        keeper = StateStore(self.policy.edge.state_dir, kept, self._log)
        keeper.enter()
        # Before a reload or a change can be asked for, which has its entry after this one.
        self._changes.version = await self.force.audit(Outcome.STARTED, "")
        await self.force.begin()
        async with trio.open_nursery() as root:
            control = self.policy.edge.state_dir / CONTROL_SOCKET
            await root.start(serve_control, control, self._commands(), self._failed, root)
            if self.policy.observe.http is not None:
                parts = HttpSources(self.metrics.render, self.not_ready, self.why)
                self.http_port = await root.start(serve_http, str(self.policy.observe.http), parts)
                self._log.info("metrics", address=host_port(self.policy.observe.http.host, self.http_port))
            async with trio.open_nursery() as media_nursery:
                if self.media is not None:
                    await media_nursery.start(self.media.run)
                async with trio.open_nursery() as signalling_nursery:
                    signalling_nursery.start_soon(self._obey_signals, root.cancel_scope)
                    await signalling_nursery.start(self.resolver.run)  # what comes meanwhile waits in the kernel
                    await signalling_nursery.start(self.plane.run)
                    _spare_the_collector()
                    for listener in self.edge.board.flows.listeners:
                        self._log.info(
                            "listening", listener=listener.name, transport=listener.transport.value,
                            address=f"{listener.host}:{listener.port}",
                        )  # fmt: skip
                    signalling_nursery.start_soon(keeper.run)
                    signalling_nursery.start_soon(self._changes.run)
                    self.force.run_in(signalling_nursery)
                    task_status.started()
                    await self._stopping.wait()
                    await self._drain()
                    await keeper.write()
                    signalling_nursery.cancel_scope.cancel()
                media_nursery.cancel_scope.cancel()
            root.cancel_scope.cancel()
        if self._hurried:
            sys.exit(1)  # here, and not in a task: a nursery would make a group of it, with a traceback
        self._log.info("stopped")

    def stop(self) -> None:
        """Begin to drain."""
        self._stopping.set()

    async def _obey_signals(self, root: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                if number == signal.SIGHUP:
                    await self.reload()
                elif self._stopping.is_set():
                    self._log.info("stopping at once: asked twice")
                    self._hurried = True
                    root.cancel()
                else:
                    self.stop()

    async def _drain(self) -> None:
        """Refuse new calls, give live ones their grace, then end them."""
        edge = self.edge
        edge.drain()
        self._log.info("draining", calls=edge.calls, grace=self.policy.edge.grace)
        await self._until_quiet(self.policy.edge.grace, lambda: edge.calls == 0)
        self.plane.carry_out(edge.end_calls(trio.current_time()))
        self.plane.stop_accepting()
        await self._until_quiet(LAST_BYES, lambda: not edge.board.transactions.requesting)

    async def _until_quiet(self, seconds: float, quiet: Callable[[], bool]) -> None:
        with trio.move_on_after(seconds):
            while not quiet():  # noqa: ASYNC110 - the signalling core is pure and has no event to wait on
                await trio.sleep(0.05)

    # --- changing ----------------------------------------------------------------------------------------

    async def reload(self) -> ReloadResult:
        """Read the policy file and certificates again; see :func:`edgesbc.rollout.reload.reload_policy`."""
        return await reload_policy(self.force, self._changes, self.plane.reload_certificates, self._log)

    async def _shadow(self, asked: ControlRequest) -> dict[str, Any]:
        """``policy shadow`` with ``of``: a file, "off", or "show", of what is judged beside the live policy so far."""
        of = asked.text("of")
        if of != "show":
            try:
                policy = None if of == "off" else await trio.to_thread.run_sync(load_policy, of)
            except PolicyErrors as errors:
                raise CommandRefused("\n".join(map(str, errors.errors))) from None
            self.force.shadow(policy)
        beside = self.edge.gate.beside
        return {"on": beside is not None, **(beside.report() if beside is not None else {})}


def _spare_the_collector() -> None:
    """Keep the garbage collector from walking every live call again and again.

    What a call leaves behind goes by reference counts. Young garbage of libraries is still looked for; a
    full collection, which would stop everything for half a second with ten thousand calls, is not.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1_000_000)


def _media_address(policy: Policy, zone: Zone) -> str:
    """The address of the relay on one side; where only a wildcard is known, the one this machine sends from."""
    wildcard = next(each.bind.host for each in policy.listen if each.zone is zone)
    return policy.media.address.of(zone) or visible_address(wildcard)


def _names(policy: Policy) -> list[str]:
    """What the edge's own certificate is to stand for."""
    names = {each.advertise.host for each in policy.listen if each.advertise is not None}
    names |= {each.bind.host for each in policy.listen if each.bind.host not in ("0.0.0.0", "::")}  # noqa: S104
    return sorted(names)
