"""Program: lines of letters, each one input to the edge."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.base.address import Flow, Zone
from edgesbc.dispatch.health import AdminState
from edgesbc.media.commands import MediaError, MediaReply
from edgesbc.sip.message import Request, serialise
from fuzz import dsl
from fuzz.dsl import letter_of, text_of
from fuzz.environment import EDGE_HOSTS, FuzzEnvironment, Peer
from fuzz.memory import Memory, latest

__all__ = ["Program"]

OPERATIONS = 64
_FLOOD = 40
_ORDERS = {"e": AdminState.ENABLED, "d": AdminState.DRAINING, "o": AdminState.DISABLED}
_BAD_REPLIES: dict[str, MediaReply | MediaError] = {
    "r": MediaError(488, "no"),
    "h": MediaError(503, "no"),
    "g": MediaReply(b"\x00garbage\r\n\r\n"),
    "t": MediaReply(b"v=0\r\n"),
}


class _Line:
    """The letters of one operation, taken one after the other; "" when none is left."""

    def __init__(self, text: str) -> None:
        signs, _, self.tail = text.partition("|")
        self._signs = iter(signs.replace(" ", ""))

    def take(self) -> str:
        return next(self._signs, "")

    def number(self) -> int:
        sign = self.take()
        return int(sign) if sign.isascii() and sign.isdigit() else ord(sign) % 10 if sign else 0


class Program:
    """Runs the lines; messages are built from those that the peers have seen so far."""

    def __init__(self, environment: FuzzEnvironment) -> None:
        self._environment = environment
        self._serial = 0
        self.memory = Memory()
        self._operations: dict[str, Callable[[_Line], None]] = {
            "q": self._ask, "d": self._ask_inside, "a": self._answer, "h": self._hop_by_hop, "r": self._repeat,
            "m": self._mutate, "e": self._echo, "f": self._forward, "x": self._raw, "b": self._break, "t": self._wait,
            "o": self._reply, "c": self._connection, "u": self._unreachable, "z": self._end, "y": self._operator,
        }  # fmt: skip

    def run(self, lines: list[str]) -> None:
        done = 0
        for line in lines:
            if line.strip() and not line.startswith("#") and done < OPERATIONS:
                done += 1
                letter_of(self._operations, line[0])(_Line(line[1:]))

    # --- what the letters name ---------------------------------------------------------------------------

    def _party(self, line: _Line) -> Peer:
        return letter_of(self._environment.parties, line.take())

    def _flow(self, line: _Line, otherwise: Flow) -> Flow | None:
        """``=`` is the sender as before; a party's letter is another one."""
        sign = line.take()
        if sign in ("", "="):
            return otherwise
        return self._environment.flow_of(letter_of(self._environment.parties, sign))

    def _word(self) -> str:
        self._serial += 1
        return f"z9hG4bK{self._serial}"

    def _send(self, flow: Flow | None, data: bytes) -> None:
        if flow is None or not self._is_open(flow):
            return
        self.memory.keep(flow, data)
        self._environment.receive(flow, data)

    def _via(self, flow: Flow, odd: str) -> str:
        """A Via of one's own; by ``odd`` one of RFC 2543, one with another port, or one that names a victim."""
        protocol = f"SIP/2.0/{flow.listener.transport.upper()}"
        word = self._word()
        if odd == "o":
            return f"{protocol} {flow.peer}"
        if odd == "O":
            return f"{protocol} {flow.peer.host}:5099;branch={word}"
        if odd == "M":
            return f"{protocol} {dsl.VICTIM};branch={word};rport;maddr={dsl.VICTIM};received={dsl.VICTIM}"
        return f"{protocol} {flow.peer};branch={word};rport"

    # --- operations --------------------------------------------------------------------------------------

    def _ask(self, line: _Line) -> None:
        """q PARTY METHOD CALL URI BODY FIELDS |fields: a request that begins something."""
        party, method = self._party(line), letter_of(dsl.METHODS, line.take())
        call, uri = line.number(), letter_of(dsl.URIS, line.take())
        body, odd = letter_of(dsl.BODIES, line.take()), line.take()
        flow = self._environment.flow_of(party)
        if flow is None:
            return
        if party.zone is Zone.CORE:
            uri = uri.replace(EDGE_HOSTS[Zone.PUBLIC], EDGE_HOSTS[Zone.CORE])
        extra = f"Route: {self.memory.path}\r\n" if odd == "T" else letter_of(dsl.REQUEST_FIELDS, odd)
        extra += self._tail(line)
        host, port = party.source
        contact = "" if method in ("BYE", "CANCEL", "OPTIONS") else f"<sip:{party.name}@{host}:{port}>"
        tag = f"{party.name}{call}"
        data = dsl.request(
            method, uri, self._via(flow, odd), f"<sip:{party.name}@example.org>;tag={tag}", f"<{uri}>",
            f"call{call}", self._serial, "" if "Contact" in extra else contact, extra, body, host,
        )  # fmt: skip
        self._send(flow, data)

    @staticmethod
    def _tail(line: _Line) -> str:
        return text_of(line.tail) + "\r\n" if line.tail else ""

    def _ask_inside(self, line: _Line) -> None:
        """d PARTY WHICH METHOD TOKEN BODY FIELDS |fields: a request in a dialog of the party, or of another."""
        party, which, method = self._party(line), line.number(), letter_of(dsl.METHODS, line.take())
        token, body, odd = line.take(), letter_of(dsl.BODIES, line.take()), line.take()
        dialog, flow = self.memory.dialog_of(party.source, which, token == "o"), self._environment.flow_of(party)
        if dialog is None or flow is None:
            return
        extra = letter_of(dsl.REQUEST_FIELDS, odd) + self._tail(line)
        if method != "ACK":
            dialog.cseq += 1
        if method == "INVITE":
            dialog.invite = dialog.cseq
        host, port = party.source
        contact = f"<sip:{party.name}@{host}:{port}>" if method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER") else ""
        uri, number = self.memory.target(dialog, token), dialog.invite if method == "ACK" else dialog.cseq
        data = dsl.request(
            method, uri, self._via(flow, odd), dialog.local, dialog.remote, dialog.call_id, number,
            "" if "Contact" in extra else contact, extra, body, host,
        )  # fmt: skip
        self._send(flow, data)

    def _answer(self, line: _Line) -> None:
        """a WHICH STATUS TAG BODY FIELDS CONTACT FROM |fields: an answer to a request of the edge."""
        chosen = latest(self.memory.asked, line.number())
        status = sum(line.number() * place for place in (100, 10, 1))
        status = status if 100 <= status < 700 else 100 + status % 600
        tag, body, odd, contact = line.take(), letter_of(dsl.BODIES, line.take()), line.take(), line.take()
        if chosen is None:
            return
        asked_by, asked = chosen
        flow = self._flow(line, asked_by)
        if flow is None:
            return
        host, port = flow.peer
        extra = letter_of(dsl.ANSWER_FIELDS, odd).format(host=host, port=port) + self._tail(line)
        tag = "" if tag in ("", "-") else f"t{tag}" if tag.isalnum() else "t0"
        data = dsl.answer(asked, status, tag, self._contacts(asked, contact, flow), extra, body, host)
        if 100 < status < 300 and asked.get("Contact") and asked.method != "REGISTER":
            self.memory.remember(asked_by, asked, "To", "From", 100, "" if asked.in_dialog else tag)
        self._send(flow, data)

    @staticmethod
    def _contacts(asked: Request, letter: str, flow: Flow) -> list[str]:
        if asked.method == "REGISTER":
            return [f"{value};expires=600" for value in asked.get_all("Contact") if value != "*"]
        own = f"<sip:bob@{flow.peer}>"
        table = {
            "": [own], "=": [own], "-": [], "o": ["<sip:bob@10.0.0.77:5077>"], "n": ["<sip:bob@inside.example>"],
            "v": [f"<sip:bob@{dsl.VICTIM}?Route=%3Csip:x%3E>"], "t": ["<tel:+15550199>"], "2": [own, own],
            "b": ["<sip:bob@255.255.255.255>"], "*": ["*"], "l": ["<sip:bob@0.0.0.0>"], "6": ["<sip:bob@[ff02::1]>"],
        }  # fmt: skip
        return letter_of(table, letter)

    def _hop_by_hop(self, line: _Line) -> None:
        """h WHICH METHOD FROM: the CANCEL, or the ACK of a refusal, of a request that was sent to the edge."""
        chosen, method = latest(self.memory.requests, line.number()), line.take()
        if chosen is not None:
            flow, request = chosen
            word = "ACK" if method == "A" else "CANCEL"
            data = dsl.hop_by_hop(word, request, self.memory.told.get(request.via.branch))
            self._send(self._flow(line, flow), data)

    def _repeat(self, line: _Line) -> None:
        """r WHICH FROM TIMES: a former message again, byte by byte, once or in a flood."""
        chosen = latest(self.memory.history, line.number())
        if chosen is not None:
            flow, data = chosen
            sender = self._flow(line, flow)
            for _ in range(_FLOOD if line.take() == "f" else 1):
                self._send(sender, data)

    def _is_open(self, flow: Flow) -> bool:
        return not flow.serial or any(party.flow == flow for party in self._environment.parties.values())

    def _mutate(self, line: _Line) -> None:
        """m WHICH FROM |old|new: a former message with one text for another."""
        chosen = latest(self.memory.history, line.number())
        if chosen is not None:
            flow, data = chosen
            sender = self._flow(line, flow)
            old, _, new = line.tail.partition("|")
            self._send(sender, data.replace(_bytes_of(old), _bytes_of(new), 1) if old else data)

    def _echo(self, line: _Line) -> None:
        """e WHICH FROM: a request of the edge comes back to it as it was."""
        chosen = latest(self.memory.asked, line.number())
        if chosen is not None:
            flow, request = chosen
            self._send(self._flow(line, flow), bytes(request))

    def _forward(self, line: _Line) -> None:
        """f WHICH FROM URI: a request of the edge is sent on to the edge by its receiver, as a proxy would."""
        chosen = latest(self.memory.asked, line.number())
        if chosen is None:
            return
        flow, request = chosen
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
            text = letter_of(dsl.URIS, uri).replace("192.0.2.1", EDGE_HOSTS[sender.listener.zone])
            start = f"{request.method} {text} SIP/2.0"
        self._send(sender, serialise(start, fields, request.body))

    def _raw(self, line: _Line) -> None:
        """x PARTY |bytes: any bytes."""
        self._send(self._environment.flow_of(self._party(line)), _bytes_of(line.tail))

    def _break(self, line: _Line) -> None:
        """b PARTY |bytes: a stream breaks at this."""
        flow = self._environment.flow_of(self._party(line))
        if flow is not None and flow.serial:
            self._environment.broken(flow, _bytes_of(line.tail))

    def _wait(self, line: _Line) -> None:
        """t STEP HOW: time passes; ``.`` until the next deadline, ``j`` all at once."""
        step = line.take()
        if step == ".":
            self._environment.wait_for_deadline()
        else:
            self._environment.wait(letter_of(dsl.STEPS, step), line.take() == "j")

    def _reply(self, line: _Line) -> None:
        """o WHICH HOW: the media plane replies; ``a`` again, ``x`` that a call is silent."""
        which, how = line.number(), line.take()
        if how == "a":
            self._environment.reply_again(which)
        elif how == "x":
            self._environment.media_timeout(which)
        else:
            self._environment.reply(which, None if how in ("", "=") else letter_of(_BAD_REPLIES, how))

    def _connection(self, line: _Line) -> None:
        """c PARTY: its connection closes, or where there is none, it opens one."""
        party = self._party(line)
        if party.flow is not None and party.flow.serial:
            self._environment.disconnect(party.flow)
        else:
            self._environment.flow_of(party)

    def _unreachable(self, line: _Line) -> None:
        """u PARTY: the network reports that no socket listens there."""
        self._environment.unreachable(self._party(line))

    def _end(self, line: _Line) -> None:
        """z HOW: the edge drains; ``e`` and ends all calls."""
        self._environment.edge.drain()
        if line.take() == "e":
            self._environment.end_calls()

    def _operator(self, line: _Line) -> None:
        """y MEMBER ORDER: an order of the operator's about a member; ``r`` a policy with this member alone."""
        member, order = line.take(), line.take()
        if order == "r":
            self._environment.reload(member if member in ("1", "2", "3") else "21")
        else:
            self._environment.order(member, letter_of(_ORDERS, order))


def _bytes_of(text: str) -> bytes:
    return text_of(text).encode("latin-1", "replace")
