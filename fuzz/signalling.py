"""Fuzz target: the signalling core, with messages of several peers and time as input.

The bytes are a program, one operation a line: a letter, its arguments as letters, and behind ``|`` a text.
``fuzz.program`` says what each does, ``fuzz.dsl`` what the letters stand for; a sign without a meaning of its own
is taken for one that has, so that any bytes are a program. The first line is the policy: ``a`` anchors media;
``p`` priority, ``b`` broadcast, ``w`` weighted, ``h`` hash, ``l`` least loaded, ``r`` round robin; ``123`` the
members; ``o`` media replies when an operation says so; ``L`` low limits; ``H`` health checks; ``M`` all methods.

For whatever bytes come:

- nothing is raised, and no stage of the screen fails;
- it is sent only to flows that something came by, to open connections and to destinations, in the core also to
  what its own messages name; connections are opened to the inside only; an answer goes where its request came from;
- what is sent is read strictly and says the same; it has the edge's own header fields and those that came over from
  the other side in a message that passed the screen, as docs/reference/deviations.md has them, and no other Via,
  Contact, Route, Record-Route or Path; with media anchored, no session description but those of the media plane;
- a request has one class of final answer, a refusal one wording; a 1xx or 2xx comes from a destination; the ACK of
  a refusal ends here; an answer from elsewhere, a banned source and a forged token move nothing; a ban of a stream
  closes the connections that it covers, and no others are closed;
- a source that has proven nothing gets refusals once, a 2xx twice, a request of a dialog once, and no more bytes
  for its own than one and a half times those and the edge's own words;
- effects are bounded by what is under way, tables by their limits; the leases counted are those that live calls and
  requests hold;
- when all deadlines have passed, nothing is left: no call, transaction, deadline, lease or media session. Every
  INVITE then had its final answer, and whoever rang was told of the end.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect
from fuzz.dsl import policy_of
from fuzz.environment import FuzzEnvironment
from fuzz.invariants import Invariants
from fuzz.memory import Memory
from fuzz.program import Program

_MOST_BYTES = 8192


class _Observer(Invariants):
    """The invariants, and the memory of the peers, which read what is sent to them."""

    memory: Memory | None = None

    def after(self, effects: list[Effect], now: float) -> None:
        super().after(effects, now)
        if self.memory is not None:
            self.memory.saw(effects)


def check(data: bytes) -> None:
    play(data)


def play(data: bytes, make_edge: Callable[..., Edge] = Edge) -> Invariants:
    """Run a program in an environment whose edge ``make_edge`` makes, and let all timers run out."""
    first, *lines = data[:_MOST_BYTES].decode("latin-1").replace("\r\n", "\n").split("\n")
    observers: list[_Observer] = []

    def make_observer(environment: FuzzEnvironment) -> _Observer:
        observers.append(_Observer(environment))
        return observers[0]

    environment = FuzzEnvironment(policy_of(first), make_observer, make_edge)
    (observer,) = observers
    program = Program(environment)
    observer.memory = program.memory
    program.run(lines)
    environment.run_out()
    observer.check_end()
    return observer
