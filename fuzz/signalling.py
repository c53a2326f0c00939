"""Fuzz target: the signalling core, with messages of several peers, media replies and time.

The bytes are a program, one operation a line: a letter, its arguments as letters, and after ``|`` a text.
``fuzz.program`` explains the operations, ``fuzz.dsl`` the letters; other characters stand for some letter, so that
any bytes are a program. The first line is the policy: ``a`` anchors media;
``p`` priority, ``b`` broadcast, ``w`` weighted, ``h`` hash, ``l`` least loaded, ``r`` round robin; ``123`` the
members; ``o`` media replies only by an operation; ``L`` low limits; ``H`` health checks; ``M`` all methods.

For any input:

- nothing is raised, and no stage of the screen fails;
- messages go only to flows that sent something, to open connections and to destinations, in the core also to
  addresses that messages of the core name; connections are opened to the inside only; a response goes to the source
  of its request;
- messages can be parsed and serialised again without change; they have header fields of the edge and fields that
  crossed from the other side in a message that passed the screen (docs/reference/deviations.md), and no other Via,
  Contact, Route, Record-Route or Path; with anchored media they have only session descriptions of the media plane;
- a request gets one class of final response, and one refusal only; a 1xx or 2xx comes from a destination; the ACK
  of a refusal is not forwarded; a response of another source, a banned source and a forged token have no effect; a
  ban of a stream closes the connections that it covers, and no others are closed;
- an unproven source gets a refusal once, a 2xx twice, a request of a dialog once, and at most one and a half times
  the bytes that it sent;
- effects are bounded by the calls and transactions in progress, tables by their limits; the counted leases are those
  that live calls and requests hold;
- after all deadlines nothing is left: no call, transaction, deadline, lease or media session. Every INVITE has got
  its final response, and every destination that rang a final response or a CANCEL.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect
from fuzz.dsl import parse_policy
from fuzz.environment import FuzzEnvironment
from fuzz.history import MessageHistory
from fuzz.invariants import Invariants
from fuzz.program import Program

_MOST_BYTES = 8192


class _RecordingInvariants(Invariants):
    """The invariants, which also record for the program the messages that the edge sends."""

    history: MessageHistory | None = None

    def after(self, effects: list[Effect], now: float) -> None:
        super().after(effects, now)
        if self.history is not None:
            self.history.record_effects(effects)


def check(data: bytes) -> None:
    play(data)


def play(data: bytes, make_edge: Callable[..., Edge] = Edge) -> Invariants:
    """Run a program with the edge that ``make_edge`` builds, let all deadlines pass, and check the end."""
    first, *lines = data[:_MOST_BYTES].decode("latin-1").replace("\r\n", "\n").split("\n")
    oracles: list[_RecordingInvariants] = []

    def make_oracle(environment: FuzzEnvironment) -> _RecordingInvariants:
        oracles.append(_RecordingInvariants(environment))
        return oracles[0]

    environment = FuzzEnvironment(parse_policy(first), make_oracle, make_edge)
    (oracle,) = oracles
    program = Program(environment)
    oracle.history = program.history
    program.run(lines)
    environment.expire_all()
    oracle.check_end()
    return oracle
