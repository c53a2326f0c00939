"""Each invariant of a target fails on a fault that is put into the code on purpose."""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media import session_table
from edgesbc.media.latch import Latch, MediaTarget
from edgesbc.media.session import MediaSession, MediaStream, PendingOffer
from edgesbc.media.session_table import SessionTable
from edgesbc.ng.client import RtpengineClient
from edgesbc.ng.dialogs import NgDialog, NgDialogs
from edgesbc.ng.server import NgServer
from edgesbc.relay import channel
from edgesbc.relay.channel import Channel
from edgesbc.sdp.rewrite import RelayAddress, rewrite_session
from edgesbc.sdp.session import Attribute, SessionDescription
from edgesbc.sip import extensions, headers, multipart, values
from edgesbc.sip.extensions import EventValue
from edgesbc.sip.framing import PING, PONG, StreamFramer
from edgesbc.sip.multipart import Multipart, Part
from edgesbc.sip.uri import Uri, parse_uri
from edgesbc.streams import frames, handshake, proxy_protocol, websocket
from edgesbc.streams.frames import FrameReader
from edgesbc.streams.layer import StreamEnd, StreamLayer
from edgesbc.streams.proxy_protocol import ProxyHeaderError, ProxyHeaderReader
from edgesbc.streams.session import StreamSession
from edgesbc.streams.sip_stream import SipLayer
from edgesbc.streams.tls import TlsLayer
from edgesbc.streams.websocket import WebSocketLayer
from fuzz import headers as headers_target
from fuzz import run
from fuzz.engine import read_seeds

Patch = pytest.MonkeyPatch


def new_uri(change: Callable[[Uri], Uri]) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr("fuzz.uri.parse_uri", lambda text: change(parse_uri(text)))


def parser(read: Callable[[str], object]) -> Callable[[Patch], None]:
    return lambda patch: patch.setitem(headers_target.READERS, b"f", read)


def new_sdp(change: Callable[[SessionDescription], SessionDescription]) -> Callable[[Patch], None]:
    def broken(session: SessionDescription, address: str, relay_addresses: list[RelayAddress]) -> SessionDescription:
        return change(rewrite_session(session, address, relay_addresses))

    return lambda patch: patch.setattr("fuzz.sdp_rewrite.rewrite_session", broken)


def with_port(session: SessionDescription, port: int) -> SessionDescription:
    return attrs.evolve(session, media=tuple(attrs.evolve(media, port=port) for media in session.media))


def unchanged(session: SessionDescription, *_: object) -> SessionDescription:
    return session


def with_strict_boundaries(patch: Patch) -> None:
    def broken(body: bytes, boundary: bytes) -> tuple[list[bytes], bytes]:
        return [piece[2:] for piece in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]], b""

    patch.setattr(multipart, "_split", broken)


def without_session_bound(patch: Patch) -> None:
    make = SessionTable.__init__

    def broken(table: SessionTable, *args: Any) -> None:
        make(table, *args)
        table._most = 10**6

    patch.setattr(SessionTable, "__init__", broken)


def with_leaked_port(patch: Patch) -> None:
    prepare = SessionTable._open_streams

    def broken(table: SessionTable, *args: Any) -> None:
        table._ports.open((Zone.CORE, Zone.PUBLIC))
        prepare(table, *args)

    patch.setattr(SessionTable, "_open_streams", broken)


def with_early_change(patch: Patch) -> None:
    """A command changes the session before it is checked."""
    targets = SessionTable._targets

    def broken(table: SessionTable, *args: Any) -> Any:
        for session in table.sessions():
            session.pending = None
        return targets(table, *args)

    patch.setattr(SessionTable, "_targets", broken)


def with_early_targets(patch: Patch) -> None:
    """An offer applies before it is answered."""
    offer = MediaSession.offer

    def broken(session: MediaSession, pending: PendingOffer) -> None:
        offer(session, pending)
        session.current.sides[pending.offerer].targets = pending.side.targets
        session._apply()

    patch.setattr(MediaSession, "offer", broken)


def any_target(interface: object, host: str, port: int, received: str = "") -> MediaTarget:
    return MediaTarget(Source(host, port), Source(host, port), frozenset({host}))


def without_stale_source(patch: Patch) -> None:
    set_target = Latch.set_target

    def broken(latch: Latch, target: MediaTarget) -> bool:
        was_unlocked = set_target(latch, target)
        latch._stale_source = None
        return was_unlocked

    patch.setattr(Latch, "set_target", broken)


def movable_lock(latch: Latch, source: Source, now: float) -> bool:
    latch.peer = source
    return source.host in latch.target.learn_from


def with_limits(owner: type, name: str, **values: int) -> Callable[[Patch], None]:
    """A method that has other limits."""
    method = getattr(owner, name)

    def broken(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            for key, value in values.items():
                patched.setattr(limits, key, value)
            return method(*arguments)

    return lambda patch: patch.setattr(owner, name, broken)


def after(owner: type, name: str, change: Callable[..., object]) -> Callable[[Patch], None]:
    """A method after which ``change`` is called with the same arguments."""
    method = getattr(owner, name)

    def broken(*arguments: Any) -> Any:
        result = method(*arguments)
        change(*arguments)
        return result

    return lambda patch: patch.setattr(owner, name, broken)


def before(owner: type, name: str, change: Callable[..., object]) -> Callable[[Patch], None]:
    """A method before which ``change`` is called with the same arguments."""
    method = getattr(owner, name)

    def broken(*arguments: Any) -> Any:
        change(*arguments)
        return method(*arguments)

    return lambda patch: patch.setattr(owner, name, broken)


def open_to_any_origin(layer: WebSocketLayer, *_: object) -> None:
    layer._origins = ()


def received_again(layer: StreamLayer, data: bytes) -> None:
    layer.end = None


def forgotten(reader: FrameReader, data: bytes) -> None:
    reader._buffer.clear()


def kept(layer: WebSocketLayer, data: bytes) -> None:
    if layer.is_open:
        layer._request += data


def in_binary_frame(message: bytes) -> bytes:
    frame = frames.message_frame(message)
    return bytes((frame[0] & 0xF0 | frames.BINARY,)) + frame[1:]


def closed_twice(layer: WebSocketLayer, *_: object) -> None:
    layer._output += frames.close_frame(frames.NORMAL)


def said_nothing(layer: WebSocketLayer, *_: object) -> None:
    layer._close_taken = False


def damage(owner: type, name: str, change: Callable[..., Any]) -> Callable[[Patch], None]:
    """A method whose result is changed: ``change`` is called with the object and the result."""
    method = getattr(owner, name)
    return lambda patch: patch.setattr(owner, name, lambda it, *rest: change(it, method(it, *rest)))


def nothing_after_a_failure(layer: TlsLayer, messages: list[bytes]) -> list[bytes]:
    return messages if layer.end is None or layer.end.cause is None else []


def other_end(layer: TlsLayer, data: bytes) -> None:
    if layer.end is not None and layer.end.reason == "framing":
        layer.end = StreamEnd("tls", layer.end.detail)


def one_record(write: Callable[[TlsLayer, bytes], None]) -> Callable[[TlsLayer, bytes], None]:
    return lambda layer, data: write(layer, data[:16_384])


def pong_for_each(session: StreamSession, messages: list[bytes]) -> list[bytes]:
    for _ in range(messages.count(PING) - 1):
        session._handshake_end += session.layer.send(PONG)
    return messages


def with_overdue_deadline(session: StreamSession, data: bytes, now: float) -> None:
    session.deadline = now


def with_later_handshake(session: StreamSession, data: bytes, now: float) -> None:
    if not session.is_open:
        session.deadline = now + limits.HANDSHAKE_SECONDS


def with_deadline_of_each_piece(session: StreamSession, data: bytes, now: float) -> None:
    if session.layer.pending:
        session.deadline = now + limits.MESSAGE_SECONDS


def ended_early(session: StreamSession, now: float) -> None:
    session.deadline = session._end_at = now


def keep_framed(framer: StreamFramer, data: bytes) -> None:
    framer.broken += data


def postponed(session: StreamSession, seconds: float) -> None:
    if not session.is_open:
        session.deadline += seconds


def refused_by_byte(reader: ProxyHeaderReader, data: bytes) -> None:
    if len(data) == 1:
        raise ProxyHeaderError


def one_more(reader: ProxyHeaderReader, data: bytes) -> None:
    reader.needed += 1


def with_early_tags(dialogs: NgDialogs, call_id: str, *_: object) -> None:
    """An offer changes the dialog before it is carried out."""
    for dialog in dialogs.of_call(call_id):
        dialog.interfaces = ("changed", "changed")


def unbounded_dialog(
    dialogs: NgDialogs, call_id: str, offerer: str, answerer: str, via_branch: str, now: float
) -> NgDialog:
    dialogs._number += 1
    return NgDialog(f"{dialogs._number}:{call_id}", call_id, (offerer, answerer), via_branch, now)


def fails(*_: object) -> Any:
    raise ValueError


def not_busy(client: RtpengineClient, *_: object) -> None:
    for session in client._sessions.values():
        session.busy = None


FAULTS: list[tuple[str, str, Callable[[Patch], None]]] = [
    ("uri", "another error", lambda patch: patch.setattr("fuzz.uri.parse_uri", int)),
    ("uri", "a space", new_uri(lambda it: Uri(it.scheme, "a b", it.host or "c"))),
    ("uri", "an angle bracket", new_uri(lambda it: Uri(it.scheme, it.user, it.host + ">", it.port))),
    ("uri", "parsed differently", new_uri(lambda it: Uri(it.scheme, it.user, it.host[1:], it.port, opaque=it.opaque))),
    ("uri", "longer",
     new_uri(lambda it: Uri(it.scheme, it.user, it.host, it.port or 5060, it.params, opaque=it.opaque))),
    ("uri", "port 0", new_uri(lambda it: Uri("sip", None, "h", 0))),
    ("uri", "a parameter twice", new_uri(lambda it: Uri("sip", None, "h", None, [("x", None), ("x", None)]))),
    ("headers", "another error", parser(fails)),
    ("headers", "an additional line", parser(lambda text: EventValue("a\r\nb", []))),
    ("headers", "parsed differently", parser(lambda text: EventValue(f"x{len(text)}", []))),
    ("headers", "not canonical", parser(lambda text: f" {text}")),
    ("headers", "a parameter twice", parser(lambda text: EventValue("a", [("x", None), ("x", None)]))),
    ("headers", "too many parameters", parser(lambda text: EventValue("a", [(f"x{n}", None) for n in range(65)]))),
    ("headers", "too many values", parser(lambda text: values.Values(range(193)))),
    ("headers", "a number out of range", parser(lambda text: -1)),
    ("media", "a command raises", lambda patch: patch.setattr(SessionTable, "_find_all", fails)),
    ("media", "too many calls", without_session_bound),
    ("media", "an additional port", with_leaked_port),
    ("media", "a port left open", lambda patch: patch.setattr(MediaStream, "close", lambda it: it.pairs[0].close())),
    ("media", "a refusal changes something", with_early_change),
    ("media", "an offer changes something", with_early_targets),
    ("media", "the sender's address", lambda patch: patch.setattr(session_table, "rewrite_session", unchanged)),
    ("media", "a target in the core", lambda patch: patch.setattr("edgesbc.media.targets.judge_target", any_target)),
    ("media", "an endless session",
     lambda patch: patch.setattr("edgesbc.media.session.MediaSession.lifetime", lambda *_: 1e9)),
    ("multipart", "another error", lambda patch: patch.setattr("fuzz.multipart.parse_multipart", int)),
    ("multipart", "boundaries behind LF alone overlooked", with_strict_boundaries),
    ("multipart", "a wrong length", lambda patch: patch.setattr(
        Part, "with_content", lambda self, content: self.head + content)),
    ("multipart", "a part lost", lambda patch: patch.setattr(
        Multipart, "__bytes__", lambda self: self.written([bytes(part) for part in self.parts[:1]]))),
    ("sdp_rewrite", "the sender's address", lambda patch: patch.setattr("fuzz.sdp_rewrite.rewrite_session", unchanged)),
    (
        "sdp_rewrite",
        "an address in an attribute",
        new_sdp(lambda it: attrs.evolve(it, attributes=(Attribute("RTCP", "1"),))),
    ),
    ("sdp_rewrite", "another port", new_sdp(lambda it: with_port(it, 4000))),
    ("sdp_rewrite", "another attribute", new_sdp(lambda it: attrs.evolve(it, attributes=(Attribute("x-new"),)))),
    ("sdp_rewrite", "another order", new_sdp(lambda it: attrs.evolve(it, attributes=it.attributes[::-1]))),
    ("ng", "an error is raised", lambda patch: patch.setattr("edgesbc.ng.server.read_options", fails)),
    ("ng", "a reply not kept", lambda patch: patch.setattr("edgesbc.ng.kept_replies.KeptReplies.put", lambda *_: None)),
    ("ng", "a refusal changes something", after(NgDialogs, "for_offer", with_early_tags)),
    ("ng", "a session left open",
     lambda patch: patch.setattr(NgServer, "_end", lambda it, dialog, _: it._forget(dialog))),
    ("ng", "too many branches", lambda patch: patch.setattr(NgDialogs, "new", unbounded_dialog)),
    ("ng", "the sender's address", lambda patch: patch.setattr(session_table, "rewrite_session", unchanged)),
    ("ng_client", "an error is raised", lambda patch: patch.setattr("edgesbc.ng.client.reply_of", fails)),
    ("ng_client", "a command without a reply", lambda patch: patch.setattr(RtpengineClient, "_refuse_queued",
     lambda it, session: session.queue.clear())),
    ("ng_client", "two replies", damage(RtpengineClient, "_take_effects", lambda _, effects: effects * 2)),
    ("ng_client", "an address that was not judged",
     lambda patch: patch.setattr("edgesbc.media.targets.judge_target", any_target)),
    ("ng_client", "a candidate", lambda patch: patch.setattr("edgesbc.ng.client_commands.without_path", unchanged)),
    ("ng_client", "the address of a path", lambda patch: patch.setattr(
        "edgesbc.ng.client_commands.rewrite_session", unchanged)),
    ("ng_client", "no bound", with_limits(RtpengineClient, "carry_out", PENDING_MEDIA=10**6)),
    ("ng_client", "two commands at once", after(RtpengineClient, "carry_out", not_busy)),
    ("ng_client", "a session left over", lambda patch: patch.setattr(RtpengineClient, "_forget", lambda *_: None)),
    ("ng_client", "a session at no rtpengine", lambda patch: patch.setattr(RtpengineClient, "_abandon",
     lambda it, session: setattr(session, "engine", None))),
    ("ng", "half a value", lambda patch: patch.setattr("fuzz.ng.decode_first", lambda data: ("", len(data)))),
    ("sdp_rewrite", "a lost section", new_sdp(lambda it: attrs.evolve(it, media=it.media[:1]))),
    ("sdp_rewrite", "a second rewrite changes it", new_sdp(lambda it: attrs.evolve(it, name=it.name + "x"))),
    ("sdp_rewrite", "a line end in a value", new_sdp(lambda it: attrs.evolve(it, name="a\r\nb"))),
    ("rtp", "not media", lambda patch: patch.setattr(channel, "is_media", lambda data: True)),
    ("rtp", "media dropped", lambda patch: patch.setattr(channel, "is_media", channel._is_rtcp)),
    ("rtp", "RTP on the port for RTCP", lambda patch: patch.setattr(channel, "_is_rtcp", lambda data: True)),
    ("rtp", "any source admitted", lambda patch: patch.setattr(Latch, "admit", lambda it, source, now: True)),
    ("rtp", "a lock that moves", lambda patch: patch.setattr(Latch, "admit", movable_lock)),
    ("rtp", "another port at once", with_limits(Latch, "admit", MEDIA_SIGNALLED_SECONDS=-1)),
    ("rtp", "late packets admitted", without_stale_source),
    ("rtp", "a peer that moves without silence",
     lambda patch: patch.setattr(Latch, "_may_move", lambda it, peer, source, now: source.host == peer.host)),
    ("rtp", "a repeated description without effect", lambda patch: patch.setattr(Channel, "reopen", lambda it: None)),
    ("rtp", "sent to the source, not as signalled",
     lambda patch: patch.setattr(Latch, "destination", property(lambda it: it.peer or it.target.send_to))),
    ("rtp", "sent to the former peer", lambda patch: patch.setattr(Channel, "update_opposite", lambda it: None)),
    ("rtp", "the socket stays connected", lambda patch: patch.setattr(Channel, "disconnect", lambda it: None)),
    ("websocket", "any origin", after(WebSocketLayer, "__init__", open_to_any_origin)),
    ("websocket", "another subprotocol", lambda patch: patch.setattr(handshake, "SUBPROTOCOL", "chat")),
    ("websocket", "a short key", lambda patch: patch.setattr(handshake, "_KEY", re.compile(b".*"))),
    ("websocket", "another response", lambda patch: patch.setattr(handshake, "_GUID", b"")),
    ("websocket", "a long request", with_limits(WebSocketLayer, "_open", UPGRADE_BYTES=10**6)),
    ("websocket", "another error", lambda patch: patch.setattr(websocket, "close_code", fails)),
    ("websocket", "received after the end", before(WebSocketLayer, "receive", received_again)),
    ("websocket", "too large a message", with_limits(FrameReader, "_frame", MESSAGE_BYTES=10**6)),
    ("websocket", "unparsed", lambda patch: patch.setattr("fuzz.websocket.parse_message", fails)),
    ("websocket", "pieces lost", after(FrameReader, "receive", forgotten)),
    ("websocket", "any opcode", lambda patch: patch.setattr(frames, "_BETWEEN_MESSAGES", frozenset(range(256)))),
    ("websocket", "another pong",
     lambda patch: patch.setattr(websocket, "control_frame", lambda opcode, _: frames.control_frame(opcode, b""))),
    ("websocket", "another code", lambda patch: patch.setattr(websocket, "close_code", lambda _: frames.POLICY)),
    ("websocket", "all kept", after(WebSocketLayer, "receive", kept)),
    ("websocket", "no Close frame", lambda patch: patch.setattr(WebSocketLayer, "close", lambda *_: None)),
    ("websocket", "two Close frames", after(WebSocketLayer, "_closed_by_peer", closed_twice)),
    ("websocket", "a frame without its end",
     lambda patch: patch.setattr(websocket, "message_frame", lambda message: frames.message_frame(message)[:-1])),
    ("websocket", "more than was sent",
     lambda patch: patch.setattr(websocket, "control_frame", lambda *it: frames.control_frame(*it) * 4)),
    ("websocket", "text in a binary frame", lambda patch: patch.setattr(websocket, "message_frame", in_binary_frame)),
    ("websocket", "sent after a Close frame", before(WebSocketLayer, "send", said_nothing)),
    ("session", "another error", lambda patch: patch.setattr(TlsLayer, "_fail", fails)),
    ("session", "received after the end", before(SipLayer, "receive", received_again)),
    ("session", "received after the end of TLS", before(TlsLayer, "receive", received_again)),
    ("session", "a message lost", damage(TlsLayer, "_read", lambda _, messages: messages[:-1])),
    ("session", "a message lost without TLS", damage(SipLayer, "receive", lambda _, messages: messages[:1])),
    ("session", "a message twice", damage(TlsLayer, "_read", lambda _, messages: messages * 2)),
    ("session", "messages before the damage lost", damage(TlsLayer, "_read", nothing_after_a_failure)),
    ("session", "another end", after(TlsLayer, "receive", other_end)),
    ("session", "a record not counted", damage(TlsLayer, "_records", lambda _, count: max(0, count - 1))),
    ("session", "goes on after a flipped byte", lambda patch: patch.setattr(TlsLayer, "_fail", lambda *_: None)),
    ("session", "one record of a message",
     lambda patch: patch.setattr(TlsLayer, "_write", one_record(TlsLayer._write))),
    ("session", "a ping not answered", lambda patch: patch.setattr("edgesbc.streams.session.PING", b"")),
    ("session", "each ping answered", damage(StreamSession, "receive", pong_for_each)),
    ("session", "no close_notify", lambda patch: patch.setattr(TlsLayer, "close", lambda *_: None)),
    ("session", "no Close frame", lambda patch: patch.setattr(WebSocketLayer, "close", lambda *_: None)),
    ("session", "an overdue deadline", after(StreamSession, "receive", with_overdue_deadline)),
    ("session", "a handshake begun anew", after(StreamSession, "receive", with_later_handshake)),
    ("session", "a deadline of each piece", after(StreamSession, "receive", with_deadline_of_each_piece)),
    ("session", "an early end", before(StreamSession, "expire", ended_early)),
    ("session", "no end at the deadline", lambda patch: patch.setattr(StreamSession, "expire", lambda *_: None)),
    ("session", "a handshake postponed", after(StreamSession, "postpone", postponed)),
    ("session", "all kept", after(StreamFramer, "receive", keep_framed)),
    ("proxy_header", "another error", lambda patch: patch.setattr(proxy_protocol, "Source", fails)),
    ("proxy_header", "another outcome in pieces", before(ProxyHeaderReader, "receive", refused_by_byte)),
    ("proxy_header", "another byte", after(ProxyHeaderReader, "receive", one_more)),
    ("proxy_header", "too many bytes", with_limits(ProxyHeaderReader, "receive", PROXY_HEADER_BYTES=10**6)),
    ("proxy_header", "any signature", lambda patch: patch.setattr(proxy_protocol, "_SIGNATURE", b"")),
    ("proxy_header", "another transport", lambda patch: patch.setitem(proxy_protocol._ADDRESS_BYTES, 0x12, 4)),
    ("proxy_header", "the balancer's address", lambda patch: patch.setitem(proxy_protocol._ADDRESS_BYTES, 0x21, 8)),
    ("proxy_header", "IPv4 in IPv6", lambda patch: patch.setattr(ipaddress.IPv6Address, "ipv4_mapped", None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "fault_name", "fault"), FAULTS, ids=[f"{target}: {fault_name}" for target, fault_name, _ in FAULTS]
)
def test_the_seeds_alone_detect_a_fault(
    target: str, fault_name: str, fault: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = importlib.import_module(f"fuzz.{target}").check
    seeds = read_seeds(run.ROOT / "corpus" / target)
    fault(monkeypatch)
    with pytest.raises((AssertionError, TypeError, ValueError, ExceptionGroup)):
        for seed in seeds:
            check(seed)


@pytest.mark.parametrize("module", [headers, values, extensions])
def test_every_header_field_parser_has_a_letter(module: ModuleType) -> None:
    shared = {"parse_params", "parse_number", "parse_delta_seconds"}  # used by other parsers
    readers = {getattr(module, name) for name in module.__all__ if name.startswith("parse_") and name not in shared}
    assert readers <= set(headers_target.READERS.values())


def test_every_letter_begins_a_seed() -> None:
    letters = {seed[:1] for seed in read_seeds(run.ROOT / "corpus" / "headers")}
    assert letters == set(headers_target.READERS)
