"""Checks: what must hold in every run."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Offer
from edgesbc.screen.bans import BanScope
from edgesbc.screen.standing import Standing
from edgesbc.signalling.calls import CallState
from edgesbc.signalling.edge import Edge
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message
from simulation.agent import T1, Agent
from simulation.media_plane import MediaPlane
from simulation.scripts import EDGE_INSIDE, Destination
from simulation.trials import Finding, Tries

__all__ = ["Checks"]

_INSIDE = b"10.0.0."


class _Invite:
    """An INVITE that the edge accepted, and the final responses that its sender got."""

    def __init__(self, flow: Flow, request: Request, since: float) -> None:
        self.flow = flow
        self.since = since
        self.request = request
        self.finals: set[tuple[int, str]] = set()


class Checks:
    """Checks the messages to and from the edge. With ``hidden`` no address of the core may be sent out."""

    def __init__(self, edge: Edge, hidden: bool, tries: Tries, plane: MediaPlane) -> None:
        self._edge = edge
        self._tries = tries
        self._hidden = hidden
        # The key includes the Call-ID, since damaged messages may have the same branch.
        self._invites: dict[tuple[str, str, Zone, str], _Invite] = {}
        self._closed: set[int] = set()
        self._bans_seen = 0
        self._plane = plane
        self._refused: list[tuple[Zone, Request]] = []
        """INVITEs in a dialog, refused by the effects that are carried out now, and where they came from."""
        self._unproven: set[str] = set()
        self._times_sent: dict[tuple[Flow, bytes], int] = {}
        self.agents: list[Agent] = []
        self.destinations: list[Destination] = []
        self._versions: set[int] = set()
        """Of the descriptions that the edge has sent."""
        self.calls = 0
        self.outcomes: dict[str, int] = {}

    # --- during the run ----------------------------------------------------------------------------------

    def before_receiving(self, flow: Flow, data: bytes, now: float) -> None:
        """The edge is about to deal with a message."""
        if flow.listener.zone is Zone.CORE and data.startswith(b"SIP/2.0 "):
            response = parse_message(data)
            if isinstance(response, Response) and response.cseq_method == "INVITE":
                self._tries.received(response, now)

    def after_receiving(self, flow: Flow, data: bytes, now: float) -> None:
        """The edge has dealt with a message."""
        if self._edge.pipeline.penalties.version != self._bans_seen:
            self._bans_seen = self._edge.pipeline.penalties.version
            self._bans(flow, now)
        if not data.startswith(b"INVITE "):
            return
        try:
            request = parse_message(data)
        except Exception:  # noqa: BLE001 - mutated on purpose
            return
        if isinstance(request, Request) and self._edge.parts.transactions.find_server(request, flow) is not None:
            key = (request.via.branch, request.via.sent_by, flow.listener.zone, request.call_id)
            if key not in self._invites:
                self._invites[key] = _Invite(flow, request, now)
                self.calls += 1

    def _bans(self, flow: Flow, now: float) -> None:
        """No ban is wider or longer than its evidence allows, and no known source is banned."""
        pipeline = self._edge.pipeline
        penalties, standings = pipeline.penalties, pipeline.standings
        if len(penalties) > penalties.capacity:
            raise Finding(f"{len(penalties)} bans, {penalties.capacity} may be")
        for ban in penalties:
            if ban.proven is not ban.stream:
                raise Finding(f"{ban!r} says that it is {'' if ban.proven else 'not '}proven")
            if not ban.proven and (ban.scope > BanScope.ADDRESS or ban.ttl > limits.UNPROVEN_BAN_SECONDS):
                raise Finding(f"{ban!r} stands on the word of packets that may be forged")
            if ban.until > max(now, ban.since) + limits.BAN_SECONDS:
                raise Finding(f"{ban!r} is too long")
        standing = standings.of(flow, now)
        if flow.listener.zone is Zone.CORE and standing is not Standing.TRUNK:
            raise Finding(f"{flow} of the core stands as {standing.name}")
        known = standing >= Standing.REGISTERED or (standing is Standing.REACHABLE and not flow.serial)
        if known and penalties.blocks(flow, standing, now):
            raise Finding(f"{flow}, which is {standing.name}, is banned")

    def closed(self, flow: Flow) -> None:
        self._closed.add(flow.serial)

    def sent(self, flow: Flow, data: bytes, now: float) -> None:
        """The edge sends a message."""
        outward = flow.listener.zone is Zone.PUBLIC
        if outward and self._hidden and _INSIDE in data:
            raise Finding(f"an address of the core goes out: {data!r}")
        if b";tag=?" in data and not self.is_unproven(flow):
            raise Finding(f"the name of a null tag goes out: {data!r}")
        try:
            message = parse_message(data)
        except WireError:
            if self.is_unproven(flow) and data.startswith(b"SIP/2.0 "):
                return  # a refusal repeats what could not be read
            raise
        if isinstance(message, Request):
            if len(message.get_all("Via")) != 1:
                raise Finding(f"a Via of somebody else's crosses: {data!r}")
            begins = message.method == "INVITE" and message.cseq == 1 and not message.in_dialog
            if not outward and begins and message.get("Route"):
                raise Finding(f"a Route crosses: {data!r}")
            if message.method == "INVITE":
                if message.get("Replaces"):
                    self._replaces(flow, message)
                self._tries.sent(flow, message, now)
            self._described(message)
        else:
            if message.cseq_method == "INVITE" and message.status >= 200:
                self._final(flow, message, now)
            self._described(message)

    def _replaces(self, flow: Flow, request: Request) -> None:
        """An INVITE with Replaces goes to the agent that it names, or inside to a proxy, which sends it there: one on
        the way of the call that is replaced, or of the REFER."""
        if request.uri.host == flow.peer.host:
            return
        proxies = [agent.host for agent in self.agents if agent.proxied]
        if flow.listener.zone is Zone.PUBLIC or (request.uri.host != EDGE_INSIDE and flow.peer.host not in proxies):
            raise Finding(f"{request!r} goes to {flow}, where nobody knows the call that it replaces")

    def _described(self, message: Request | Response) -> None:
        """A description of the media plane stands for what is in force, or for the offer that waits for its answer."""
        version = int(message.body.split(b" ", 3)[2]) if self._hidden and message.body else 0
        command = self._plane.commands.get(version)
        if command is None or version in self._versions or self._plane.has_ended(command.session_id):
            return  # what is on its way when a call ends goes on; the ACK of a 2xx has to
        self._versions.add(version)
        agreement = self._plane.in_force(command.session_id)
        if isinstance(command, Offer):
            pending = self._plane.pending.get(command.session_id)
            if (
                pending is not command
                and self._has_one_callee(message.call_id)
                and not self._is_one_of_several(command)
            ):
                raise Finding(f"an offer goes out that the media plane no longer has: {message!r}")
            return
        is_in_force = agreement is not None and agreement.answer.sdp == command.sdp
        if not is_in_force and self._has_one_callee(message.call_id):
            raise Finding(f"an answer goes out that is not in force: {message!r}")

    def _is_one_of_several(self, offer: Offer) -> bool:
        """Whether another callee has made an offer too: the media plane gets one again when it is answered."""
        return any(
            (other.session_id, other.answerer) == (offer.session_id, offer.answerer) and other.offerer != offer.offerer
            for other in self._plane.commands.values()
            if isinstance(other, Offer)
        )

    def _has_one_callee(self, call_id: str) -> bool:
        """Whether one agent at most answered the INVITE: of several, the last one has the media."""
        return sum(call_id == answered for agent in self.agents for answered, _ in agent.answered) <= 1

    def _final(self, flow: Flow, response: Response, now: float) -> None:
        key = (response.via.branch, response.via.sent_by, flow.listener.zone, response.call_id)
        invite = self._invites.get(key)
        if invite is None or (invite.finals and now > invite.since + 64 * T1):
            return  # refused without state: at once, or when it is repeated after its transaction has ended
        invite.finals.add((response.status, response.to_tag if response.status < 300 else ""))
        self._judge(invite)
        if response.status >= 300 and invite.request.in_dialog:
            self._refused.append((flow.listener.zone, invite.request))

    def _judge(self, invite: _Invite) -> None:
        statuses = {status for status, _ in invite.finals}
        if len(statuses) > 1:
            raise Finding(f"{invite.request!r} got two final answers: {sorted(invite.finals)}")
        if not invite.request.in_dialog and invite.request.cseq == 1:
            for status, tag in invite.finals:
                if status < 300 and not self._was_given(invite.request.call_id, tag):
                    raise Finding(f"{invite.request!r} got a {status} that nobody gave")

    def _was_given(self, call_id: str, tag: str) -> bool:
        return any((call_id, tag) in agent.answered for agent in self.agents)

    def offers(self) -> None:
        """Media goes as negotiated: an offer whose INVITE was refused is no longer pending (RFC 3261 section 14.1)."""
        refused, self._refused = self._refused, []
        for call in self._edge.parts.calls if refused else ():
            offer, pending = call.open_offer, self._plane.pending.get(call.media_id)
            for zone, request in refused:
                legs = call.legs_of(request.from_tag or ("?core" if zone is Zone.CORE else "?public"), request.to_tag)
                if request.call_id != call.call_id or legs is None or legs[0].flow.listener.zone is not zone:
                    continue
                of_request = request.from_tag, request.cseq, False
                if offer is not None and offer.answerer in (request.to_tag, ""):
                    is_open = (offer.offerer, offer.cseq, offer.in_response) == of_request
                else:
                    is_open = False
                if is_open:
                    raise Finding(f"{request!r} was refused, and its offer blocks others")
                if offer is None and pending is not None and pending.offerer == request.from_tag:
                    raise Finding(f"{request!r} was refused, and its offer is pending at the media plane")
                if not self._plane.is_as_before(call.media_id, request.body) and self._has_one_callee(call.call_id):
                    raise Finding(f"{request!r} was refused, and its media are not as before")

    def add_unproven(self, flow: Flow) -> None:
        """A source that may be forged has sent something; no such source sends the same twice."""
        self._unproven.add(flow.peer.host)

    def is_unproven(self, flow: Flow) -> bool:
        return flow.peer.host in self._unproven

    def sent_to_unproven(self, flow: Flow, data: bytes) -> None:
        """An unproven source gets a final response once, and a 2xx, which its callee repeats, twice."""
        if data.startswith(b"SIP/2.0 1"):
            return
        most = 2 if data.startswith(b"SIP/2.0 2") else 1
        count = self._times_sent[flow, data] = self._times_sent.get((flow, data), 0) + 1
        if count > most:
            raise Finding(f"{flow} gets this {count} times: {data!r}")

    def leases(self) -> None:
        """The load of the destinations is the number of leases that live calls and requests hold."""
        for difference in self._edge.audit_leases().differences:
            raise Finding(difference)

    # --- when all deadlines have passed ------------------------------------------------------------------

    def end(self, agents: list[Agent]) -> None:
        edge = self._edge
        parts = edge.parts
        if not edge.idle:
            raise Finding(f"{len(parts.calls)} calls, {len(parts.transactions)} transactions are left")
        remaining = {
            "deadlines": len(parts.deadlines),
            "leases": edge.dispatcher.leases,
            "calls of trunks": len(parts.calls.by_trunk),
            "calls of accounts and addresses": len(parts.calls.by_holder),
            "media sessions": len(self._plane),
            "connections of transactions": parts.transactions.connections,
            "bytes of transactions": parts.transactions.stored_bytes,
        }
        if any(remaining.values()):
            raise Finding(f"left over: {', '.join(f'{count} {what}' for what, count in remaining.items() if count)}")
        for call in parts.calls:
            raise Finding(f"a call is {CallState(call.state).value}")
        for invite in self._invites.values():
            if not invite.finals and invite.flow.serial not in self._closed:
                raise Finding(f"{invite.request!r} of {invite.flow} got no final answer")
            for status, _ in invite.finals:
                self.outcomes[str(status)] = self.outcomes.get(str(status), 0) + 1
        # What a proxy that was gone has not sent on is no fault of the edge.
        lost = {call_id for agent in agents if agent.excused for call_id in agent.proxied}
        for agent in agents:
            self._no_ghosts(agent, lost)

    @staticmethod
    def _no_ghosts(agent: Agent, lost: set[str]) -> None:
        if agent.excused:
            return
        dialogs = [(call_id, tag) for call_id, tag in agent.dialogs if call_id not in lost]
        if dialogs:
            raise Finding(f"{agent.name} still talks: {dialogs}")
        for server_transaction in agent.server_transactions.values():
            if (
                server_transaction.request.method == "INVITE"
                and server_transaction.request.call_id not in lost
                and server_transaction.has_spoken
                and not server_transaction.final
            ):
                raise Finding(f"{agent.name} got no end of {server_transaction.request!r}")
