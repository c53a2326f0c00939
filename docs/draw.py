"""``python -m docs.draw``: the diagrams and tables of ``transactions.md``, generated from the tables in the code.

The timers that a step sets, in seconds, are not repeated here: the engine executes each step, and the timers that it
has set are read. Exits 1 if the page differs; ``--write`` renews it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.sip.machines import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    T1,
    Machine,
    TransactionAction,
    TransactionEvent,
    TransactionState,
)
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message
from edgesbc.sip.transaction import NOBODY, Transaction
from edgesbc.sip.transactions import Transactions

__all__ = ["PAGE", "drawn", "keep", "renewed"]

PAGE = Path(__file__).parent / "reference" / "transactions.md"
_BEGIN, _END = "<!-- drawn: {} -->", "<!-- end -->"
_NONE = "-"


class Drawn(NamedTuple):
    """A state machine, the event that starts it, and the RFC names of its timers, by state where they differ."""

    name: str
    machine: Machine
    method: str
    client: bool
    begun: str
    timers: dict[tuple[TransactionState | None, TransactionEvent], str]


_SENT_AGAIN, _SILENCE, _TIMEOUT, _LINGER = (
    TransactionEvent.RETRANSMIT,
    TransactionEvent.SILENCE,
    TransactionEvent.TIMEOUT,
    TransactionEvent.LINGER,
)
MACHINES = (
    Drawn("INVITE client", INVITE_CLIENT, "INVITE", True, "INVITE sent", {
        (None, _SENT_AGAIN): "Timer A", (TransactionState.CALLING, _TIMEOUT): "Timer B",
        (TransactionState.PROCEEDING, _TIMEOUT): "64*T1 after CANCEL",
        (TransactionState.COMPLETED, _LINGER): "Timer D", (TransactionState.ACCEPTED, _LINGER): "Timer M",
    }),
    Drawn("client", CLIENT, "OPTIONS", True, "request sent", {
        (None, _SENT_AGAIN): "Timer E", (None, _TIMEOUT): "Timer F", (None, _LINGER): "Timer K",
    }),
    Drawn("INVITE server", INVITE_SERVER, "INVITE", False, "INVITE received", {
        (None, _SILENCE): "silence", (None, _SENT_AGAIN): "Timer G", (None, _TIMEOUT): "Timer H",
        (TransactionState.ACCEPTED, _LINGER): "Timer L", (TransactionState.CONFIRMED, _LINGER): "Timer I",
    }),
    Drawn("server", SERVER, "OPTIONS", False, "request received", {
        (None, _SILENCE): "silence", (None, _LINGER): "Timer J",
    }),
)  # fmt: skip
_DOES = {
    _SENT_AGAIN: "sends again",
    _SILENCE: "sends 100",
    _TIMEOUT: "gives up",
    _LINGER: "stops waiting for retransmissions",
}
_BOTH = (False, True)
"""Over UDP, over a stream."""
_SETS_A_TIMER = {
    TransactionAction.BACK_OFF,
    TransactionAction.START_RETRANSMIT,
    TransactionAction.START_TIMEOUT,
    TransactionAction.LINGER,
}


# --- timers of the engine -----------------------------------------------------------------------------------


def _flow(reliable: bool) -> Flow:
    transport = Transport.TCP if reliable else Transport.UDP
    return Flow(Listener(0, "any", Zone.CORE, transport, "192.0.2.1", 5060), Source("192.0.2.2", 5060), int(reliable))


def _begun(drawing: Drawn, reliable: bool) -> tuple[Transactions, Transaction]:
    """A transaction opened at time 0, and its table."""
    table, flow = Transactions(lambda flow, data: None), _flow(reliable)
    if drawing.client:
        return table, table.open_client("z9hG4bKdrawn", drawing.method, flow, b"", NOBODY, 0.0)
    request = parse_message(
        f"{drawing.method} sip:a SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKdrawn\r\nFrom: <sip:a>;tag=a\r\n"
        f"To: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 {drawing.method}\r\n\r\n".encode()
    )
    assert isinstance(request, Request)  # noqa: S101 - it is written above
    server = table.open_server(request, flow, flow)
    if (server.state, _SILENCE) in drawing.machine:
        table.schedule_trying(server, lambda: b"", 0.0)
    return table, server


def _timers(drawing: Drawn, transaction: Transaction, entered: TransactionState) -> dict[str, str]:
    """The timers that are set, by RFC name, in seconds."""
    silent = (entered, _SILENCE) in drawing.machine
    deadlines = (
        (_SILENCE if silent else _SENT_AGAIN, transaction.resend_at),
        (_TIMEOUT, transaction.timeout_at),
        (_LINGER, transaction.linger_at),
    )
    return {_name(drawing, entered, event): _seconds(at) for event, at in deadlines if at is not None}


def _opened(drawing: Drawn, reliable: bool) -> dict[str, str]:
    """The timers that are set when a transaction is opened."""
    return _timers(drawing, _begun(drawing, reliable)[1], next(iter(drawing.machine))[0])


def _step(drawing: Drawn, state: TransactionState, event: TransactionEvent, reliable: bool) -> dict[str, str]:
    """The timers that a step sets. A timer that never runs sets none."""
    table, transaction = _begun(drawing, reliable)
    transaction.resend_at = transaction.timeout_at = transaction.linger_at = None
    transaction.state = state
    if TransactionAction.BACK_OFF not in drawing.machine[state, event][1]:
        table._fire(transaction, event, 0.0)
        return _timers(drawing, transaction, drawing.machine[state, event][0])
    name = _name(drawing, state, event)
    if name not in _ever_set(drawing, reliable):
        return {}
    waits: list[float] = []
    while sum(waits) < 64 * T1:
        table._fire(transaction, event, 0.0)
        assert transaction.resend_at is not None  # noqa: S101 - the action sets it
        waits.append(transaction.resend_at)
    return {name: f"{', '.join(_seconds(wait, '') for wait in waits[:4])}, ... s"}


def _ever_set(drawing: Drawn, reliable: bool) -> dict[str, str]:
    """Every timer set when a transaction opens or in one of its steps, except those that restart themselves."""
    timers = _opened(drawing, reliable)
    for (state, event), (_, actions) in drawing.machine.items():
        if TransactionAction.BACK_OFF not in actions:
            timers = _step(drawing, state, event, reliable) | timers
    return timers


def _name(drawing: Drawn, state: TransactionState, event: TransactionEvent) -> str:
    """The RFC name of an event. A timer has one name in a machine, or one in each of its states."""
    return drawing.timers.get((state, event)) or drawing.timers.get((None, event)) or event.value


def _seconds(value: float, unit: str = " s") -> str:
    return f"{value:g}{unit}"


# --- drawing ---------------------------------------------------------------------------------------------


def _diagram(drawing: Drawn) -> Iterator[str]:
    arrows: dict[tuple[TransactionState, TransactionState], list[str]] = {}
    for (state, event), (after, _) in drawing.machine.items():
        arrows.setdefault((state, after), []).append(_name(drawing, state, event))
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {next(iter(drawing.machine))[0].value}: {drawing.begun}"
    for (state, after), events in arrows.items():
        yield f"    {state.value} --> {after.value}: {', '.join(events)}"
    yield f"    {TransactionState.TERMINATED.value} --> [*]"
    yield "```"


def _steps(drawing: Drawn) -> Iterator[str]:
    first = next(iter(drawing.machine))[0]
    yield _head("state", "event", "next state", "actions", "timers set over UDP", "timers set over streams")
    sent = [TransactionAction.SEND.value] if drawing.client else []
    yield _row(
        "", drawing.begun, first.value, _list(sent), *(_list(_texts(_opened(drawing, reliable))) for reliable in _BOTH)
    )
    for (state, event), (after, actions) in drawing.machine.items():
        done = [action.value for action in actions if action not in _SETS_A_TIMER]
        timers = (_list(_texts(_step(drawing, state, event, reliable))) for reliable in _BOTH)
        yield _row(state.value, _name(drawing, state, event), after.value, _list(done), *timers)


def _timers_of_all() -> Iterator[str]:
    yield _head("timer", "machine", "state", "when it fires", "over UDP", "over streams")
    for drawing in MACHINES:
        udp, stream = (_ever_set(drawing, reliable) for reliable in _BOTH)
        runs: dict[str, tuple[TransactionEvent, list[str]]] = {}
        for state, event in drawing.machine:
            if (name := _name(drawing, state, event)) in udp:
                runs.setdefault(name, (event, []))[1].append(state.value)
        for name, (event, states) in sorted(runs.items()):
            yield _row(name, drawing.name, _list(states), _DOES[event], udp[name], stream.get(name, _NONE))


def _texts(timers: dict[str, str]) -> list[str]:
    return [f"{name}: {seconds}" for name, seconds in timers.items()]


def _list(texts: Iterable[str]) -> str:
    return ", ".join(texts) or _NONE


def _head(*cells: str) -> str:
    return f"{_row(*cells)}\n|{'---|' * len(cells)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def drawn() -> dict[str, str]:
    """The text between the markers of the page, by the name in the opening marker."""
    machines = {drawing.name: "\n".join([*_diagram(drawing), "", *_steps(drawing)]) for drawing in MACHINES}
    return machines | {"timers": "\n".join(_timers_of_all())}


def renewed(page: str, drawings: Mapping[str, str] | None = None) -> str:
    """``page`` with the text between its markers replaced. Raises ``ValueError`` if a drawing has no marker."""
    for name, text in (drawn() if drawings is None else drawings).items():
        begin = _BEGIN.format(name)
        between = re.compile(f"^{re.escape(begin)}$.*?^{re.escape(_END)}$", re.MULTILINE | re.DOTALL)
        page, places = between.subn(lambda _, new=f"{begin}\n{text}\n{_END}": new, page)  # type: ignore[misc]
        if places != 1:
            raise ValueError(f"expected one place marked {begin}, found {places}")
    return page


def keep(path: Path, drawings: Mapping[str, str], write: bool) -> int:
    """The exit code: 0 if the page at ``path`` shows the drawings, or has been renewed."""
    text = path.read_text(encoding="utf-8")
    if (new := renewed(text, drawings)) == text:
        return 0
    if not write:
        print(f"{path.name} does not show what the code has; renew it with --write")
        return 1
    path.write_text(new, encoding="utf-8")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.draw", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the page")
    return keep(PAGE, drawn(), parser.parse_args(arguments).write)


if __name__ == "__main__":
    raise SystemExit(main())
