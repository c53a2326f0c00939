"""The edge in its network. Its effects are carried out as the shell does it, on virtual time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.settings import SetSettings
from edgesbc.media.commands import Answer, MediaError, MediaReply, Offer
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.edge_contacts import RegisteredContact
from edgesbc.signalling.effects import Close, Effect, Media, Open, Send
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.signalling.tokens import Sealer
from edgesbc.sip.delivery import SendFailure
from simulation.agent import T1, Agent
from simulation.checks import Checks
from simulation.clock import Clock, Timer
from simulation.environment import Environment
from simulation.media_plane import MediaPlane
from simulation.messages import description
from simulation.network import Link
from simulation.trials import Finding, Tries

__all__ = ["BROWSERS", "CARRIER", "CORE", "CORE_TCP", "PUBLIC", "SCREEN", "World"]

PUBLIC = Listener(0, "public", Zone.PUBLIC, Transport.UDP, "192.0.2.1", 5060)
CORE = Listener(1, "core", Zone.CORE, Transport.UDP, "10.0.0.1", 5060)
BROWSERS = Listener(2, "browsers", Zone.PUBLIC, Transport.WSS, "192.0.2.1", 443)
CORE_TCP = Listener(3, "core-tcp", Zone.CORE, Transport.TCP, "10.0.0.1", 5060)
_EDGE_INSIDE = Source(CORE.host, CORE.port)
CARRIER = "198.51.100.7"
SCREEN = ScreenSettings(admission=AdmissionSettings(open=("public",)))

MakeEdge = Callable[..., Edge]
_KERNEL_FAILURES = (SendFailure.NO_ROUTE, SendFailure.NO_RESOURCES)


class World:
    """One edge, its network and its media plane. ``make_edge`` takes what :class:`Edge` takes."""

    def __init__(
        self, random: Random, environment: Environment, anchor: bool, rough: bool, make_edge: MakeEdge = Edge
    ) -> None:
        self.clock = Clock()
        self.random = random
        self._rough = rough
        self._words = 0
        self._skew = 0.0  # of the edge's clock, which jumps forward only
        standings = Standings([Trunk("carrier", (CARRIER,))])
        pipeline = Pipeline(SCREEN, standings, lambda decision: None, self._stage_failed)
        self.edge = make_edge(
            [PUBLIC, CORE, BROWSERS, CORE_TCP],
            Dispatcher(environment.sets, random.random, 0.0),
            RoutingTable(environment.routes, [settings.set for settings in environment.sets]),
            pipeline,
            Sealer([b"k" * 16], random.randbytes),
            random.randbytes,
            anchor,
            "",
            RegistrationRules(contact=random.choice(list(RegisteredContact))),
        )
        self.edge.assume_challenges(settings.set for settings in environment.sets)
        self.environment = environment
        self.tries = Tries(self.edge, environment.sets)
        self.plane = MediaPlane()
        self.checks = Checks(self.edge, anchor, self.tries, self.plane)
        self.agents = self.checks.agents
        self.messages = 0
        self.trace: list[str] | None = None
        self._digest = hashlib.blake2b(digest_size=16)
        self._links: dict[Agent, Link] = {}
        self._listeners: dict[Agent, Listener] = {}
        self._by_address: dict[tuple[Zone, Source], Agent] = {}
        self._streams: dict[int, Agent] = {}
        self._flow_of: dict[Agent, Flow] = {}
        self._to_itself: dict[int, Flow] = {}
        """The other end of each connection between the edge and itself, by serial."""
        self._wake: Timer | None = None
        self._not_sent: list[tuple[bytes, SendFailure]] = []
        self._wake_at = 0.0
        self._media_waits = random.choice((0.0, 0.001, 0.3))
        self._media_fails = random.choice((0.0, 0.0, 0.1))

    @staticmethod
    def _stage_failed(stage: str, error: Exception) -> None:
        raise Finding(f"stage {stage} raised {error!r}")

    @property
    def now(self) -> float:
        """The time as the edge knows it."""
        return self.clock.now + self._skew

    @property
    def digest(self) -> str:
        """The digest of every message to and from the edge, in order."""
        return self._digest.hexdigest()

    def jump(self, seconds: float) -> None:
        """The machine of the edge was suspended for ``seconds``.

        After more than 64*T1 its transactions have ended, so no agent is blamed for calls that still ring, and an
        INVITE that comes again begins a new call.
        """
        self._skew += seconds
        if seconds > 64 * T1:
            self.tries.forget()
            for agent in self.agents:
                agent.excused = True
        self._arm()

    # --- user agents -------------------------------------------------------------------------------------

    def add(self, agent: Agent, listener: Listener) -> Agent:
        self.agents.append(agent)
        self._links[agent] = Link(self.random, self.clock, self._rough)
        self._listeners[agent] = listener
        self._by_address[listener.zone, Source(agent.host, agent.port)] = agent
        if listener is BROWSERS:
            self.connect(agent)
        return agent

    def link(self, agent: Agent) -> Link:
        return self._links[agent]

    def word(self) -> str:
        self._words += 1
        return f"{self._words:x}"

    def connect(self, agent: Agent) -> None:
        """A stream of the agent's own to the edge."""
        flow = self.edge.new_flow(self._listeners[agent], Source(agent.host, agent.port))
        self.edge.flow_opened(flow)
        self._streams[flow.serial] = agent
        self._flow_of[agent] = flow

    def is_connected(self, agent: Agent) -> bool:
        return agent in self._flow_of

    def disconnect(self, agent: Agent) -> None:
        flow = self._flow_of.pop(agent, None)
        if flow is not None:
            del self._streams[flow.serial]
            self.checks.closed(flow)
            self._carry_out(self.edge.flow_closed(flow, self.now))

    # --- the operator ------------------------------------------------------------------------------------

    def order(self, member: Member, order: AdminState) -> None:
        self.edge.dispatcher.set_admin_state(member, order, self.now)
        self.tries.ordered(member.target, order.value or "")
        self._arm()

    def reload(self, sets: list[SetSettings]) -> None:
        """Replace the sets; the members of the new ones are in use."""
        self.edge.dispatcher.reload(sets, self.now)
        self.tries.reloaded(sets)
        for member in self.edge.dispatcher.members():
            self.order(member, AdminState.ENABLED)

    # --- towards the edge --------------------------------------------------------------------------------

    def carry(self, agent: Agent, data: bytes) -> None:
        """Send a message of an agent to the edge."""
        link, flow = self._links[agent], self._flow_of.get(agent)
        if flow is not None:
            link.stream("in", lambda: self._receive(flow, data) if flow.serial in self._streams else None)
        elif not agent.reliable:
            source_flow = Flow(self._listeners[agent], Source(agent.host, agent.port))
            link.datagram(lambda: self._receive(source_flow, data))

    def intrude(self, source: Source, data: bytes) -> None:
        """A datagram of an unknown source, which may be forged."""
        flow = Flow(PUBLIC, source)
        self.checks.add_unproven(flow)
        self._receive(flow, data)

    def _receive(self, flow: Flow, data: bytes) -> None:
        self._note(">", flow, data)
        self.checks.before_receiving(flow, data, self.now)
        effects = self.edge.receive(flow, data, self.now)
        self.checks.after_receiving(flow, data, self.now)
        self._carry_out(effects)

    # --- from the edge -----------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._note("<", effect.flow, effect.data)
                self.checks.sent(effect.flow, effect.data, self.now)
                self._send(effect.flow, effect.data)
            elif isinstance(effect, Open):
                self._open(effect.flow)
            elif isinstance(effect, Close):
                agent = self._streams.get(effect.flow.serial)
                if agent is not None:
                    self.clock.after(0.0, self.disconnect, agent)
                self.clock.after(0.0, self._disconnect_from_itself, effect.flow)
            elif isinstance(effect, Media):
                self._media(effect)
        self.checks.offers()
        while self._not_sent:
            self._carry_out(self.edge.request_not_sent(*self._not_sent.pop(0), self.now))
        self._arm()

    def _send(self, flow: Flow, data: bytes) -> None:
        if flow.serial in self._to_itself or flow.peer == _EDGE_INSIDE:
            # A proxy inside that is on the way of no dialog has shown one side the Contact of the other.
            self.clock.after(0.0, self._receive_from_itself, flow, data)
            return
        if flow.serial:
            agent = self._streams.get(flow.serial)
            if agent is not None:
                serial, hear = flow.serial, agent.hear
                self._links[agent].stream("out", lambda: hear(data) if serial in self._streams else None)
            return
        agent = self._by_address.get((flow.listener.zone, flow.peer))
        if agent is None:
            if flow.listener.zone is Zone.CORE or not self.checks.is_unproven(flow):
                raise Finding(f"sent to {flow}, where nobody was ever heard of: {data!r}")
            self.checks.sent_to_unproven(flow, data)
        elif not agent.alive and flow.listener is CORE and self.random.random() < 0.5:
            self.clock.after(0.001, self._unreachable, flow, data[: self.random.choice((0, 200, 520))])
        elif self._rough and flow.listener is CORE and self.random.random() < 0.01:
            self._not_sent.append((data, self.random.choice(_KERNEL_FAILURES)))
        else:
            self._links[agent].datagram(lambda: agent.hear(data))

    def _unreachable(self, flow: Flow, quote: bytes) -> None:
        self._carry_out(self.edge.unreachable(flow.peer, quote, self.now))

    def _open(self, flow: Flow) -> None:
        agent = self._by_address.get((flow.listener.zone, flow.peer))
        if flow.peer == _EDGE_INSIDE:
            accepted = self.edge.new_flow(CORE_TCP, Source(_EDGE_INSIDE.host, 49152 + flow.serial % 16384))
            self.edge.flow_opened(accepted)
            self._to_itself[flow.serial], self._to_itself[accepted.serial] = accepted, flow
            self.clock.after(0.0, self._connected, flow)
            return
        if agent is None:
            raise Finding(f"a connection to {flow.peer}, where nobody was ever heard of")
        self._streams[flow.serial] = agent
        self._flow_of[agent] = flow
        if not agent.alive:
            self.clock.after(0.01, self.disconnect, agent)
        else:
            self.clock.after(0.001, self._connected, flow)

    def _receive_from_itself(self, flow: Flow, data: bytes) -> None:
        if not flow.serial:
            self._receive(Flow(CORE, _EDGE_INSIDE), data)
        elif flow.serial in self._to_itself:
            self._receive(self._to_itself[flow.serial], data)

    def _disconnect_from_itself(self, flow: Flow) -> None:
        if flow.serial in self._to_itself:
            for end in (flow, self._to_itself[flow.serial]):
                del self._to_itself[end.serial]
                self.checks.closed(end)
                self._carry_out(self.edge.flow_closed(end, self.now))

    def _connected(self, flow: Flow) -> None:
        if flow.serial in self._streams or flow.serial in self._to_itself:
            self._carry_out(self.edge.flow_connected(flow, self.now))

    def _media(self, effect: Media) -> None:
        command = effect.command
        drawn = self.random.random() if isinstance(command, Offer | Answer) else 1.0
        if drawn < self._media_fails / 2:
            return  # the media plane never replies
        carried_out = self.plane.carry_out(command) if drawn >= self._media_fails else None
        if not isinstance(command, Offer | Answer):
            return
        reply: MediaReply | MediaError = MediaError(488, "x")
        if carried_out is not None:
            zone, version = carried_out
            side = "10.0.0.1" if zone is Zone.CORE else "192.0.2.1"
            reply = MediaReply(description(side, version, 30000).encode())
        self.clock.after(
            self._media_waits, lambda: self._carry_out(self.edge.media_replied(effect.cookie, reply, self.now))
        )

    # --- time --------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Schedule ``expire`` for the edge's deadline, 20 ms late, as the shell does."""
        deadline = self.edge.deadline()
        if deadline is None:
            return
        at = max(deadline - self._skew, self.clock.now)
        if self._wake is not None and self._wake.act is not None and self._wake_at <= at:
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = at
        self._wake = self.clock.after(at - self.clock.now + 0.02, self._expire)

    def _expire(self) -> None:
        self._wake = None
        self._carry_out(self.edge.expire(self.now))

    def run(self, until: float) -> None:
        """Run all events up to the time ``until``, in seconds."""
        steps = 0
        while (at := self.clock.next()) is not None and at <= until:
            self.clock.step()
            steps += 1
            if steps % 16 == 0:
                self.checks.leases()
        self.clock.now = max(self.clock.now, until)

    def _note(self, way: str, flow: Flow, data: bytes) -> None:
        self.messages += 1
        line = f"{self.clock.now:.6f} {way} {flow!r} "
        self._digest.update(line.encode() + data)
        if self.trace is not None:
            self.trace.append(line + data.decode("utf-8", "backslashreplace").replace("\r\n", "\n    "))
