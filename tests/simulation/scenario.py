"""Runs a seed: draws the environment, lets hours of virtual time pass, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.dispatch.health import AdminState
from edgesbc.signalling.edge import Edge
from edgesbc.sip.message import Response
from simulation.agent import Agent
from simulation.changes import changes_as_drawn
from simulation.environment import an_order, draw_environment, reloaded
from simulation.proxy import Branch, relay_in_dialog, relay_response
from simulation.scripts import Caller, Destination, Register
from simulation.transfers import follow_refers
from simulation.trials import Finding
from simulation.world import BROWSERS, CARRIER, CORE, CORE_TCP, PUBLIC, MakeEdge, World

__all__ = ["Outcome", "simulate"]

_MOODS = {
    "answers": 10, "answers_at_once": 2, "has_early_media": 3, "refuses": 3, "fails": 3, "rests": 1, "is_silent": 2,
    "rings_reliably": 3, "proxies": 3,
    "says_100_and_no_more": 1, "rings_for_ever": 1, "answers_late": 2, "forks": 2,
}  # fmt: skip
NUMBERS = (
    *4 * ("sip:100@192.0.2.1", "sip:200@192.0.2.1"), "sip:%31%300@192.0.2.1", "sip:1-(0)0@192.0.2.1;user=phone",
    "tel:1-00;phone-context=example.com", "tel:+200", "sip:+1.00@192.0.2.1:5060;user=phone",
)  # fmt: skip
"""What callers dial: few numbers, in many spellings (RFC 3966 section 5.1, RFC 3261 section 19.1.4)."""
_BUSY_SECONDS = 60.0
_RECONNECT_WAIT = 10.0  # of the edge, by default
_LONGEST_CALL = 4 * 3600.0


@attrs.frozen
class Outcome:
    """The result of a run. ``further`` counts the tries of members after the first one of each call;
    ``finding`` is empty if all checks passed."""

    seed: int
    calls: int
    further: int
    messages: int
    seconds: float
    statuses: dict[str, int]
    digest: str
    finding: str
    trace: tuple[str, ...] = ()


def simulate(
    seed: int, keep_trace: bool = False, make_edge: MakeEdge = Edge, numbers: Sequence[str] = NUMBERS
) -> Outcome:
    """Run a seed. The same seed gives the same outcome; ``make_edge`` may replace :class:`Edge`, and ``numbers`` what
    callers dial."""
    world = _draw(Random(seed), make_edge, numbers)
    world.trace = [] if keep_trace else None
    finding = ""
    try:
        world.run(_BUSY_SECONDS + 400.0)
        for member in world.edge.dispatcher.members():
            world.order(member, AdminState.DISABLED)  # so that hours pass without probes
        for agent in world.agents:
            # The edge sends the BYE of the longest calls only once, to sources that are unproven by then.
            world.link(agent).loss = 0.0
        world.run(world.clock.now + _LONGEST_CALL + 600.0)
        world.checks.end(world.agents)
    except Finding as error:
        finding = str(error)
    except Exception as error:  # noqa: BLE001 - an exception of the signalling core is a finding too
        finding = f"{type(error).__name__}: {error} (raised at {_place(error)})"
    checks = world.checks
    return Outcome(
        seed, checks.calls, world.tries.further, world.messages, world.clock.now, checks.outcomes, world.digest,
        finding, tuple(world.trace or ()),
    )  # fmt: skip


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"


def _draw(random: Random, make_edge: MakeEdge, numbers: Sequence[str]) -> World:
    rough = random.random() < 0.7
    world = World(random, draw_environment(random), random.random() < 0.5, rough, make_edge)
    _add_destinations(world)
    _add_callers(world, numbers)
    _add_phones(world)
    for agent in world.agents:
        agent.on_change = changes_as_drawn(world.random)
        agent.on_refer = follow_refers(partial(_call_as_referred, world))
    _add_trouble(world)
    _add_operator(world)
    return world


def _rate(world: World) -> float:
    return world.random.choice((1.0, 1.0, 0.9, 1.1))


def _make_old(agent: Agent, random: Random) -> None:
    """Some agents are of RFC 2543: they set no tags, and some no Contact."""
    agent.has_tags = random.random() < 0.9
    agent.has_contact = agent.has_tags or random.random() < 0.5


def _add_destinations(world: World) -> None:
    for n, (host, transport) in enumerate(world.environment.transports.items()):
        listener = CORE if transport == "udp" else CORE_TCP
        agent = Agent(world, f"pbx{n}", host, 5060, transport.upper(), _rate(world))
        _make_old(agent, world.random)
        moods = {mood: weight * world.random.choice((0, 1, 1, 3)) for mood, weight in _MOODS.items()}
        if not any(moods.values()):
            moods = dict(_MOODS)
        if world.random.random() < 0.1:
            moods = {"is_silent": 1}  # it does not answer INVITEs, but OPTIONS
        destination = Destination(world.add(agent, listener), world.random, moods)
        destination.known_phones = partial(_phones, world)
        agent.relay_request, agent.relay_response = relay_in_dialog, relay_response
        agent.records_route = world.random.random() < 0.8
        world.checks.destinations.append(destination)


def _add_operator(world: World) -> None:
    random, clock = world.random, world.clock
    for _ in range(random.choice((0, 0, 2, 6))):
        clock.after(random.uniform(0.0, _BUSY_SECONDS), _order, world)
    for _ in range(random.choice((0, 0, 1, 4))):
        clock.after(random.uniform(0.0, _BUSY_SECONDS), _reload, world)


def _order(world: World) -> None:
    world.order(world.random.choice(list(world.edge.dispatcher.members())), an_order(world.random))


def _reload(world: World) -> None:
    world.reload(reloaded(world.random, world.environment))


def _add_callers(world: World, numbers: Sequence[str]) -> None:
    random = world.random
    trunk = world.add(Agent(world, "carrier", CARRIER, 5060, "UDP", _rate(world)), PUBLIC)
    _make_old(trunk, random)
    phones = [trunk]
    for n in range(random.randint(0, 4)):
        stream = random.random() < 0.5
        host, port = f"203.0.113.{10 + n}", 40000 + n
        agent = Agent(world, f"phone{n}", host, port, "WSS" if stream else "UDP", _rate(world))
        _make_old(agent, random)
        phones.append(world.add(agent, BROWSERS if stream else PUBLIC))
    for agent in phones:
        Destination(agent, random, {"answers": 3, "refuses": 1})  # of calls that others are referred to them for
    for _ in range(random.randint(5, 30)):
        agent = random.choice([trunk, *phones])
        world.clock.after(random.uniform(0.0, _BUSY_SECONDS), _call, world, agent, numbers)
    if random.random() < 0.1:
        silent = world.add(Agent(world, "silent", "203.0.113.99", 5060, "UDP"), PUBLIC)
        silent.never_acknowledges = silent.excused = True
        world.clock.after(random.uniform(0.0, _BUSY_SECONDS), _call, world, silent, numbers)


def _call_as_referred(world: World, agent: Agent, uri: str, lines: list[str]) -> None:
    Caller(agent, world.random, (uri, lines))


def _call(world: World, agent: Agent, numbers: Sequence[str]) -> None:
    if agent.alive:
        Caller(agent, world.random, (world.random.choice(numbers), []))


def _add_phones(world: World) -> None:
    """Phones that register, and a server inside that calls them by the Path of their registration."""
    random = world.random
    inside = world.add(Agent(world, "switch", "10.0.0.50", 5060, "UDP", _rate(world)), CORE)
    for n in range(random.randint(0, 3)):
        stream = random.random() < 0.5
        agent = Agent(world, f"user{n}", f"198.51.100.{50 + n}", 5060, "WSS" if stream else "UDP", _rate(world))
        world.add(agent, BROWSERS if stream else PUBLIC)
        world.checks.destinations.append(Destination(agent, random, dict(_MOODS)))
        world.clock.after(random.uniform(0.0, 5.0), Register, agent)
        returns = False
        while stream and random.random() < 0.6:
            at, back = random.uniform(6.0, _BUSY_SECONDS), random.choice((0.0, 0.5, 5.0, 20.0))
            world.clock.after(at, _lose_connection, world, agent, back)
            returns = True
        if returns:  # its calls are ended by way of its registration, the last by their longest duration
            for at in range(500, int(limits.CALL_SECONDS), 500):
                world.clock.after(at, _refresh, world, agent)
        for _ in range(random.randint(0, 5)):
            world.clock.after(random.uniform(10.0, _BUSY_SECONDS), _call_user, world, inside, agent.name)


def _call_user(world: World, inside: Agent, user: str) -> None:
    """Call a phone, or all phones at once, as those of one user; or send it a MESSAGE."""
    if world.random.random() < 0.3:
        _ask_user(world, inside, user)
        return
    branches = _phones(world, "" if world.random.random() < 0.4 else user)
    if branches:
        Caller(inside, world.random, *branches)


def _phones(world: World, user: str = "") -> list[Branch]:
    """Where ``user`` is registered, or where all are."""
    bindings = {name: found for one in world.checks.destinations for name, found in one.bindings.items()}
    return [
        (contact.strip("<>"), [f"Route: {path}"] if path else [])  # none where the Contact is one of the edge
        for name, (contact, path) in bindings.items()
        if (name == user if user else name.startswith("user"))  # and no floods
    ]


def _ask_user(world: World, inside: Agent, user: str) -> None:
    """A request outside of calls, which no other phone may answer."""
    phone = next(agent for agent in world.agents if agent.name == user)
    call_id = f"ask{world.word()}"
    for uri, routes in _phones(world, user):

        def heard(response: Response | None) -> None:
            if response is not None and response.status == 200 and (call_id, "n") not in phone.answered:
                raise Finding(f"{user} did not answer {call_id}")

        method = world.random.choice(("MESSAGE", "OPTIONS"))
        inside.ask(
            method, uri, "<sip:switch@example.com>;tag=s", f"<sip:{user}@example.com>", call_id, 1, routes, "", heard
        )


def _add_trouble(world: World) -> None:
    random, clock = world.random, world.clock
    for agent in world.agents:
        if random.random() < 0.12:
            at, back = random.uniform(0.0, _BUSY_SECONDS), random.choice((0.5, 20.0, 1e9))
            clock.after(at, _crash, world, agent, back)
        if random.random() < 0.08:
            at = random.uniform(0.0, _BUSY_SECONDS)
            world.link(agent).cut.append((at, at + random.choice((2.0, 40.0, 1e9))))
            agent.excused = True
        if agent.transport == "WSS" and random.random() < 0.3:
            clock.after(random.uniform(0.0, _BUSY_SECONDS), _drop, world, agent)
    if random.random() < 0.15:
        clock.after(random.uniform(0.0, _BUSY_SECONDS), world.jump, random.choice((0.5, 5.0, 45.0)))
    if random.random() < 0.4:
        at = random.uniform(0.0, _BUSY_SECONDS)
        lone = Source("100.64.9.9", 5060) if random.random() < 0.5 else None
        for n in range(random.randint(10, 150)):
            clock.after(at + n * 0.004, _flood, world, lone)
    if random.random() < 0.2:
        for agent in world.agents:
            if agent.transport == "WSS" and random.random() < 0.5:
                clock.after(random.uniform(0.0, _BUSY_SECONDS), _babble, world, agent)


def _crash(world: World, agent: Agent, back: float) -> None:
    agent.crash()
    if agent.reliable:
        world.disconnect(agent)
    world.clock.after(back, setattr, agent, "alive", True)


def _drop(world: World, agent: Agent) -> None:
    """A browser loses its connection, connects again, and has lost its calls."""
    agent.excused = True
    world.disconnect(agent)
    world.connect(agent)


def _lose_connection(world: World, agent: Agent, back: float) -> None:
    """A phone loses its connection, not its calls. After ``back`` seconds it connects again, and registers."""
    if not (agent.alive and world.is_connected(agent)):
        return
    agent.excused = agent.excused or back > _RECONNECT_WAIT / 2
    world.disconnect(agent)
    world.clock.after(back, _return, world, agent)


def _return(world: World, agent: Agent) -> None:
    if not world.is_connected(agent):
        world.connect(agent)
    Register(agent)


def _refresh(world: World, agent: Agent) -> None:
    if agent.alive and world.is_connected(agent):
        Register(agent)


def _babble(world: World, agent: Agent) -> None:
    """An agent sends bytes that are not SIP until the edge closes the connection, then connects again."""
    agent.excused = True
    for _ in range(world.random.choice((3, 15))):
        world.carry(agent, b"hello\r\n\r\n")
    world.clock.after(2.0, _drop, world, agent)


def _flood(world: World, lone: Source | None) -> None:
    """A datagram from an unknown source, or from ``lone``, which sends them all."""
    random = world.random
    source = lone or Source(f"100.64.{random.randint(0, 3)}.{random.randint(0, 255)}", random.choice((5060, 5061)))
    word = world.word()
    data = bytearray(
        f"{random.choice(('INVITE', 'OPTIONS', 'REGISTER', 'BYE', 'CANCEL', 'ACK'))} sip:100@192.0.2.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {source.host}:5060;branch=z9hG4bK{word};rport\r\nFrom: <sip:x@e>;tag={word}\r\n"
        f"To: <sip:100@192.0.2.1>\r\nCall-ID: flood{word}\r\nCSeq: 1 INVITE\r\nContact: <sip:x@{source.host}>\r\n"
        "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
    )
    if random.random() < 0.5:
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
    else:
        data = bytearray(bytes(data).replace(b"1 INVITE", b"1 " + bytes(data).split(b" ")[0]))
    world.intrude(source, bytes(data))
