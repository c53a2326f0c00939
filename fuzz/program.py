"""Runs a program for the signalling core: each line is one operation of a peer, the media plane or the operator."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.base.address import Flow, Zone
from edgesbc.dispatch.health import AdminState
from edgesbc.media.commands import MediaError, MediaReply
from edgesbc.sip.message import Request, serialise
from fuzz import dsl
from fuzz.dsl import lookup, unescape
from fuzz.environment import EDGE_HOSTS, FuzzEnvironment, Peer
from fuzz.history import MessageHistory, latest

__all__ = ["Program"]

OPERATIONS = 64
_FLOOD = 40
_ADMIN_STATES = {"e": AdminState.ENABLED, "d": AdminState.DRAINING, "o": AdminState.DISABLED}
_BAD_REPLIES: dict[str, MediaReply | MediaError] = {
    "r": MediaError(488, "no"),
    "h": MediaError(503, "no"),
    "g": MediaReply(b"\x00garbage\r\n\r\n"),
    "t": MediaReply(b"v=0\r\n"),
}


class _Line:
    """The letters of one operation, taken one by one; "" when none is left."""

    def __init__(self, text: str) -> None:
        letters, _, self.tail = text.partition("|")
        self._letters = iter(letters.replace(" ", ""))

    def take(self) -> str:
        return next(self._letters, "")

    def number(self) -> int:
        letter = self.take()
        return int(letter) if letter.isascii() and letter.isdigit() else ord(letter) % 10 if letter else 0


class Program:
    """Runs the operations, with messages built from those that the peers sent and received so far."""

    def __init__(self, environment: FuzzEnvironment) -> None:
        self._environment = environment
        self._serial = 0
        self.history = MessageHistory()
        self._operations: dict[str, Callable[[_Line], None]] = {
            "q": self._send_request, "d": self._send_in_dialog, "a": self._respond, "h": self._hop_by_hop,
            "r": self._repeat, "m": self._mutate, "e": self._echo, "f": self._forward, "x": self._raw, "b": self._break,
            "t": self._wait, "o": self._reply, "c": self._connection, "u": self._unreachable, "z": self._end,
            "y": self._operator,
        }  # fmt: skip

    def run(self, lines: list[str]) -> None:
        count = 0
        for line in lines:
            if line.strip() and not line.startswith("#") and count < OPERATIONS:
                count += 1
                lookup(self._operations, line[0])(_Line(line[1:]))

    # --- arguments ----------------------------------------------------------------------------------------

    def _peer(self, line: _Line) -> Peer:
        return lookup(self._environment.peers, line.take())

    def _flow(self, line: _Line, default: Flow) -> Flow | None:
        """The flow to send from: ``=`` keeps ``default``, a letter chooses the flow of that peer."""
        letter = line.take()
        if letter in ("", "="):
            return default
        return self._environment.flow_of(lookup(self._environment.peers, letter))

    def _new_branch(self) -> str:
        self._serial += 1
        return f"z9hG4bK{self._serial}"

    def _send(self, flow: Flow | None, data: bytes) -> None:
        if flow is None or not self._is_open(flow):
            return
        self.history.record_sent(flow, data)
        self._environment.receive(flow, data)

    def _via(self, flow: Flow, variant: str) -> str:
        """The sender's Via; ``variant`` makes it one of RFC 2543, one with another port, or one that names a victim."""
        protocol = f"SIP/2.0/{flow.listener.transport.upper()}"
        branch = self._new_branch()
        if variant == "o":
            return f"{protocol} {flow.peer}"
        if variant == "O":
            return f"{protocol} {flow.peer.host}:5099;branch={branch}"
        if variant == "M":
            return f"{protocol} {dsl.VICTIM};branch={branch};rport;maddr={dsl.VICTIM};received={dsl.VICTIM}"
        return f"{protocol} {flow.peer};branch={branch};rport"

    # --- operations --------------------------------------------------------------------------------------

    def _send_request(self, line: _Line) -> None:
        """q PEER METHOD CALL URI BODY FIELDS |fields: a request outside of a dialog."""
        peer, method = self._peer(line), lookup(dsl.METHODS, line.take())
        call, letter = line.number(), line.take()
        uri = self._contact(peer, letter == "K") if letter in ("k", "K") else lookup(dsl.URIS, letter)
        body, variant = lookup(dsl.BODIES, line.take()), line.take()
        flow = self._environment.flow_of(peer)
        if flow is None:
            return
        if peer.zone is Zone.CORE:
            uri = uri.replace(EDGE_HOSTS[Zone.PUBLIC], EDGE_HOSTS[Zone.CORE])
        extra = f"Route: {self.history.path}\r\n" if variant == "T" else self._extra(peer, variant)
        extra += self._tail(line)
        host, port = peer.source
        contact = "" if method in ("BYE", "CANCEL", "OPTIONS") else f"<sip:{peer.name}@{host}:{port}>"
        tag = f"{peer.name}{call}"
        data = dsl.build_request(
            method, uri, self._via(flow, variant), f"<sip:{peer.name}@example.org>;tag={tag}", f"<{uri}>",
            f"call{call}", self._serial, "" if "Contact" in extra else contact, extra, body, host,
        )  # fmt: skip
        self._send(flow, data)

    def _contact(self, peer: Peer, of_others: bool) -> str:
        """The Contact that the edge gave to the peer, or to another, in the last dialog."""
        dialog = self.history.dialog_of(peer.source, 0, of_others)
        return "sip:100@192.0.2.1" if dialog is None else dialog.target

    def _extra(self, peer: Peer, variant: str) -> str:
        if variant == "t":
            return f"Refer-To: <{self._contact(peer, True)}?Replaces=call1>\r\n"
        return lookup(dsl.REQUEST_FIELDS, variant)

    @staticmethod
    def _tail(line: _Line) -> str:
        return unescape(line.tail) + "\r\n" if line.tail else ""

    def _send_in_dialog(self, line: _Line) -> None:
        """d PEER INDEX METHOD TOKEN BODY FIELDS |fields: a request in a dialog of the peer, or of another."""
        peer, index, method = self._peer(line), line.number(), lookup(dsl.METHODS, line.take())
        token, body, variant = line.take(), lookup(dsl.BODIES, line.take()), line.take()
        dialog, flow = self.history.dialog_of(peer.source, index, token == "o"), self._environment.flow_of(peer)
        if dialog is None or flow is None:
            return
        extra = self._extra(peer, variant) + self._tail(line)
        if method != "ACK":
            dialog.cseq += 1
        if method == "INVITE":
            dialog.invite = dialog.cseq
        host, port = peer.source
        contact = f"<sip:{peer.name}@{host}:{port}>" if method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER") else ""
        uri, number = self.history.target(dialog, token), dialog.invite if method == "ACK" else dialog.cseq
        data = dsl.build_request(
            method, uri, self._via(flow, variant), dialog.local, dialog.remote, dialog.call_id, number,
            "" if "Contact" in extra else contact, extra, body, host,
        )  # fmt: skip
        self._send(flow, data)

    def _respond(self, line: _Line) -> None:
        """a INDEX STATUS TAG BODY FIELDS CONTACT FROM |fields: a response to a request of the edge."""
        recorded = latest(self.history.edge_requests, line.number())
        status = sum(line.number() * place for place in (100, 10, 1))
        status = status if 100 <= status < 700 else 100 + status % 600
        tag, body, variant, contact = line.take(), lookup(dsl.BODIES, line.take()), line.take(), line.take()
        if recorded is None:
            return
        received_on, request = recorded
        flow = self._flow(line, received_on)
        if flow is None:
            return
        host, port = flow.peer
        extra = lookup(dsl.ANSWER_FIELDS, variant).format(host=host, port=port) + self._tail(line)
        tag = "" if tag in ("", "-") else f"t{tag}" if tag.isalnum() else "t0"
        data = dsl.build_response(request, status, tag, self._contacts(request, contact, flow), extra, body, host)
        if 100 < status < 300 and request.get("Contact") and request.method != "REGISTER":
            self.history.record_dialog(received_on, request, "To", "From", 100, "" if request.to_tag else tag)
        self._send(flow, data)

    @staticmethod
    def _contacts(request: Request, letter: str, flow: Flow) -> list[str]:
        if request.method == "REGISTER":
            return [f"{value};expires=600" for value in request.get_all("Contact") if value != "*"]
        own = f"<sip:bob@{flow.peer}>"
        table = {
            "": [own], "=": [own], "-": [], "o": ["<sip:bob@10.0.0.77:5077>"], "n": ["<sip:bob@inside.example>"],
            "v": [f"<sip:bob@{dsl.VICTIM}?Route=%3Csip:x%3E>"], "t": ["<tel:+15550199>"], "2": [own, own],
            "b": ["<sip:bob@255.255.255.255>"], "*": ["*"], "l": ["<sip:bob@0.0.0.0>"], "6": ["<sip:bob@[ff02::1]>"],
        }  # fmt: skip
        return lookup(table, letter)

    def _hop_by_hop(self, line: _Line) -> None:
        """h INDEX METHOD FROM: the CANCEL, or the ACK of a refusal, of a request that was sent to the edge."""
        recorded, method = latest(self.history.requests, line.number()), line.take()
        if recorded is not None:
            flow, request = recorded
            name = "ACK" if method == "A" else "CANCEL"
            data = dsl.build_hop_by_hop(name, request, self.history.edge_responses.get(request.via.branch))
            self._send(self._flow(line, flow), data)

    def _repeat(self, line: _Line) -> None:
        """r INDEX FROM TIMES: the same bytes as a former message, once or in a flood."""
        recorded = latest(self.history.sent, line.number())
        if recorded is not None:
            flow, data = recorded
            sender = self._flow(line, flow)
            for _ in range(_FLOOD if line.take() == "f" else 1):
                self._send(sender, data)

    def _is_open(self, flow: Flow) -> bool:
        return not flow.serial or any(peer.flow == flow for peer in self._environment.peers.values())

    def _mutate(self, line: _Line) -> None:
        """m INDEX FROM |old|new: a former message with one text replaced."""
        recorded = latest(self.history.sent, line.number())
        if recorded is not None:
            flow, data = recorded
            sender = self._flow(line, flow)
            old, _, new = line.tail.partition("|")
            self._send(sender, data.replace(_bytes_of(old), _bytes_of(new), 1) if old else data)

    def _echo(self, line: _Line) -> None:
        """e INDEX FROM: a request of the edge is sent back to it unchanged."""
        recorded = latest(self.history.edge_requests, line.number())
        if recorded is not None:
            flow, request = recorded
            self._send(self._flow(line, flow), bytes(request))

    def _forward(self, line: _Line) -> None:
        """f INDEX FROM URI: the receiver of a request of the edge forwards it to the edge, as a proxy does."""
        recorded = latest(self.history.edge_requests, line.number())
        if recorded is None:
            return
        flow, request = recorded
        sender = self._flow(line, flow)
        uri = line.take()
        if sender is None:
            return
        fields = [("Via", self._via(sender, ""))]
        if request.method == "INVITE" and not request.in_dialog:
            fields.append(("Record-Route", f"<sip:{sender.peer};lr>"))
        fields += [pair for pair in request.fields if pair[0] != "Route"]
        start = request.start_line
        if uri not in ("", "="):
            text = lookup(dsl.URIS, uri).replace("192.0.2.1", EDGE_HOSTS[sender.listener.zone])
            start = f"{request.method} {text} SIP/2.0"
        self._send(sender, serialise(start, fields, request.body))

    def _raw(self, line: _Line) -> None:
        """x PEER |bytes: any bytes."""
        self._send(self._environment.flow_of(self._peer(line)), _bytes_of(line.tail))

    def _break(self, line: _Line) -> None:
        """b PEER |bytes: a stream breaks at these bytes."""
        flow = self._environment.flow_of(self._peer(line))
        if flow is not None and flow.serial:
            self._environment.break_stream(flow, _bytes_of(line.tail))

    def _wait(self, line: _Line) -> None:
        """t DELAY HOW: time passes; ``.`` until the next deadline, ``j`` in one jump."""
        step = line.take()
        if step == ".":
            self._environment.wait_for_deadline()
        else:
            self._environment.wait(lookup(dsl.DELAYS, step), line.take() == "j")

    def _reply(self, line: _Line) -> None:
        """o INDEX HOW: the media plane replies; ``a`` once more, ``x`` reports a session without packets."""
        index, how = line.number(), line.take()
        if how == "a":
            self._environment.reply_again(index)
        elif how == "x":
            self._environment.media_timeout(index)
        else:
            self._environment.reply(index, None if how in ("", "=") else lookup(_BAD_REPLIES, how))

    def _connection(self, line: _Line) -> None:
        """c PEER: closes its connection, or opens one if it has none."""
        peer = self._peer(line)
        if peer.flow is not None and peer.flow.serial:
            self._environment.disconnect(peer.flow)
        else:
            self._environment.flow_of(peer)

    def _unreachable(self, line: _Line) -> None:
        """u PEER: an ICMP error quotes the last datagram to the peer."""
        self._environment.unreachable(self._peer(line))

    def _end(self, line: _Line) -> None:
        """z HOW: the edge drains; ``e`` also ends all calls."""
        self._environment.edge.drain()
        if line.take() == "e":
            self._environment.end_calls()

    def _operator(self, line: _Line) -> None:
        """y MEMBER STATE: the operator sets the state of a member; ``r`` applies a policy with this member only."""
        member, state = line.take(), line.take()
        if state == "r":
            self._environment.reload(member if member in ("1", "2", "3") else "21")
        else:
            self._environment.set_admin_state(member, lookup(_ADMIN_STATES, state))


def _bytes_of(text: str) -> bytes:
    return unescape(text).encode("latin-1", "replace")
