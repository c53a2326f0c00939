"""That the targets would notice: each of their invariants, and a fault that breaks it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
import trio
import trio_websocket

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media import channel, session_table
from edgesbc.media.channel import Channel
from edgesbc.media.latch import Latch, MediaTarget
from edgesbc.media.session import MediaStream
from edgesbc.media.session_table import SessionTable
from edgesbc.sdp.rewrite import RelayAddress, rewrite_session
from edgesbc.sdp.session import Attribute, SessionDescription
from edgesbc.sip import extensions, headers, values
from edgesbc.sip.extensions import EventValue
from edgesbc.sip.uri import Uri, parse_uri
from edgesbc.transport import websocket
from fuzz import headers as headers_target
from fuzz import run
from fuzz.engine import read_seeds

Patch = pytest.MonkeyPatch


def uri(change: Callable[[Uri], Uri]) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr("fuzz.uri.parse_uri", lambda text: change(parse_uri(text)))


def name_addr(read: Callable[[str], object]) -> Callable[[Patch], None]:
    return lambda patch: patch.setitem(headers_target.READERS, b"f", read)


def shown(change: Callable[[SessionDescription], SessionDescription]) -> Callable[[Patch], None]:
    def broken(session: SessionDescription, address: str, places: list[RelayAddress]) -> SessionDescription:
        return change(rewrite_session(session, address, places))

    return lambda patch: patch.setattr("fuzz.sdp_rewrite.rewrite_session", broken)


def first_port(session: SessionDescription, port: int) -> SessionDescription:
    return attrs.evolve(session, media=tuple(attrs.evolve(media, port=port) for media in session.media))


def as_it_came(session: SessionDescription, *_: object) -> SessionDescription:
    return session


def no_bound(patch: Patch) -> None:
    begin = SessionTable._session_for_offer

    def broken(table: SessionTable, *args: Any) -> Any:
        with pytest.MonkeyPatch.context() as wide:
            wide.setattr(limits, "MEDIA_SESSIONS", 10**6)
            return begin(table, *args)

    patch.setattr(SessionTable, "_session_for_offer", broken)


def leaking(patch: Patch) -> None:
    prepare = SessionTable._open_streams

    def broken(table: SessionTable, *args: Any) -> None:
        table._ports.open(Zone.CORE)
        prepare(table, *args)

    patch.setattr(SessionTable, "_open_streams", broken)


def hasty(patch: Patch) -> None:
    """A command that changes the session before it is known to be good."""
    judge = SessionTable._targets

    def broken(table: SessionTable, *args: Any) -> Any:
        for session in table.sessions():
            session.offerer = 1 - session.offerer
        return judge(table, *args)

    patch.setattr(SessionTable, "_targets", broken)


def unjudged(interface: object, host: str, port: int, received: str = "") -> MediaTarget:
    return MediaTarget(Source(host, port), Source(host, port), frozenset({host}))


def forgetful(patch: Patch) -> None:
    set_target = Latch.set_target

    def broken(latch: Latch, target: MediaTarget) -> bool:
        unlocked = set_target(latch, target)
        latch._stale_source = None
        return unlocked

    patch.setattr(Latch, "set_target", broken)


def unlocked(latch: Latch, source: Source) -> bool:
    latch.peer = source
    return source.host in latch.target.learn_from


async def unbounded(carrier: Any) -> list[bytes]:
    try:
        message = await carrier._socket.get_message()
    except trio_websocket.ConnectionClosed:
        raise EOFError from None
    return [message.encode() if isinstance(message, str) else bytes(message)]


async def of_any_page(nursery: trio.Nursery, stream: trio.abc.Stream, origins: object) -> object:
    return await websocket.accept_websocket(nursery, stream, ())


async def stuck(*_: object) -> None:
    await trio.sleep(5)


def fails(*_: object) -> Any:
    raise ValueError


FAULTS: list[tuple[str, str, Callable[[Patch], None]]] = [
    ("uri", "another error", lambda patch: patch.setattr("fuzz.uri.parse_uri", int)),
    ("uri", "a space", uri(lambda it: Uri(it.scheme, "a b", it.host or "c"))),
    ("uri", "a bracket", uri(lambda it: Uri(it.scheme, it.user, it.host + ">", it.port))),
    ("uri", "not the same again", uri(lambda it: Uri(it.scheme, it.user, it.host[1:], it.port, opaque=it.opaque))),
    ("uri", "longer", uri(lambda it: Uri(it.scheme, it.user, it.host, it.port or 5060, it.params, opaque=it.opaque))),
    ("uri", "a port that is none", uri(lambda it: Uri("sip", None, "h", 0))),
    ("uri", "a parameter twice", uri(lambda it: Uri("sip", None, "h", None, [("x", None), ("x", None)]))),
    ("headers", "another error", name_addr(fails)),
    ("headers", "a line more", name_addr(lambda text: EventValue("a\r\nb", []))),
    ("headers", "not the same again", name_addr(lambda text: EventValue(f"x{len(text)}", []))),
    ("headers", "written otherwise again", name_addr(lambda text: f" {text}")),
    ("headers", "a parameter twice", name_addr(lambda text: EventValue("a", [("x", None), ("x", None)]))),
    ("headers", "too many parameters", name_addr(lambda text: EventValue("a", [(f"x{n}", None) for n in range(65)]))),
    ("headers", "too many values", name_addr(lambda text: values.Values(range(193)))),
    ("headers", "a number out of range", name_addr(lambda text: -1)),
    ("media", "a command raises", lambda patch: patch.setattr(SessionTable, "_find_all", fails)),
    ("media", "too many calls", no_bound),
    ("media", "a port too many", leaking),
    ("media", "a port stays open", lambda patch: patch.setattr(MediaStream, "close", lambda it: it.pairs[0].close())),
    ("media", "a refusal changes something", hasty),
    ("media", "the sender's place", lambda patch: patch.setattr(session_table, "rewrite_session", as_it_came)),
    ("media", "sent to the inside", lambda patch: patch.setattr("edgesbc.media.targets.judge_target", unjudged)),
    ("media", "no end", lambda patch: patch.setattr("edgesbc.media.session.MediaSession.lifetime", lambda *_: 1e9)),
    ("sdp_rewrite", "the sender's place", lambda patch: patch.setattr("fuzz.sdp_rewrite.rewrite_session", as_it_came)),
    (
        "sdp_rewrite",
        "an address in an attribute",
        shown(lambda it: attrs.evolve(it, attributes=(Attribute("RTCP", "1"),))),
    ),
    ("sdp_rewrite", "another port", shown(lambda it: first_port(it, 4000))),
    ("sdp_rewrite", "another attribute", shown(lambda it: attrs.evolve(it, attributes=(Attribute("x-new"),)))),
    ("sdp_rewrite", "another order", shown(lambda it: attrs.evolve(it, attributes=it.attributes[::-1]))),
    ("sdp_rewrite", "sections lost", shown(lambda it: attrs.evolve(it, media=it.media[:1]))),
    ("sdp_rewrite", "no fixed point", shown(lambda it: attrs.evolve(it, name=it.name + "x"))),
    ("sdp_rewrite", "no description", shown(lambda it: attrs.evolve(it, name="a\r\nb"))),
    ("rtp", "not media", lambda patch: patch.setattr(channel, "is_media", lambda data: True)),
    ("rtp", "media left out", lambda patch: patch.setattr(channel, "is_media", channel._is_rtcp)),
    ("rtp", "RTP on the port for RTCP", lambda patch: patch.setattr(channel, "_is_rtcp", lambda data: True)),
    ("rtp", "strangers heard", lambda patch: patch.setattr(Latch, "admit", lambda it, source: True)),
    ("rtp", "a lock that moves", lambda patch: patch.setattr(Latch, "admit", unlocked)),
    ("rtp", "late packets heard", forgetful),
    ("rtp", "sent to where it was", lambda patch: patch.setattr(Channel, "_update_opposite", lambda it: None)),
    ("rtp", "the kernel not told", lambda patch: patch.setattr(channel, "_disconnect", lambda sock: None)),
    ("websocket", "another error", lambda patch: patch.setattr("fuzz.websocket._GONE", (OSError, EOFError))),
    ("websocket", "of any page", lambda patch: patch.setattr("fuzz.websocket.accept_websocket", of_any_page)),
    ("websocket", "for anything", lambda patch: patch.setattr(websocket, "SUBPROTOCOL", "chat")),
    ("websocket", "too large", lambda patch: patch.setattr(websocket.WebSocketStream, "receive", unbounded)),
    ("websocket", "text as bytes", lambda patch: patch.setattr(websocket, "_as_frame", bytes)),
    ("websocket", "held up", lambda patch: patch.setattr(websocket.WebSocketStream, "send", stuck)),
]  # fmt: skip


@pytest.mark.parametrize(("target", "what", "fault"), FAULTS, ids=[f"{target}: {what}" for target, what, _ in FAULTS])
def test_a_fault_is_noticed_by_the_seeds_alone(
    target: str, what: str, fault: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = importlib.import_module(f"fuzz.{target}").check
    seeds = read_seeds(run.ROOT / "corpus" / target)
    fault(monkeypatch)
    with pytest.raises((AssertionError, TypeError, ValueError, ExceptionGroup)):
        for seed in seeds:
            check(seed)


@pytest.mark.parametrize("module", [headers, values, extensions])
def test_every_reader_of_a_header_field_has_its_letter(module: ModuleType) -> None:
    parts = {"parse_params", "parse_number", "parse_delta_seconds"}  # of other readers
    readers = {getattr(module, name) for name in module.__all__ if name.startswith("parse_") and name not in parts}
    assert readers <= set(headers_target.READERS.values())


def test_a_letter_of_a_reader_begins_some_seed() -> None:
    letters = {seed[:1] for seed in read_seeds(run.ROOT / "corpus" / "headers")}
    assert letters == set(headers_target.READERS)
