"""Reassembly of IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5), in bounded memory."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.replay.packets import Fragment, Packet, transport

__all__ = ["Fragments"]

_Key = tuple[bytes, bytes, int, int]


class _PartialPacket:
    """The parts of one packet by their offset; ``end`` is its length, -1 until the last part has arrived."""

    __slots__ = ("end", "held", "parts")

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.held = 0
        self.end = -1


class Fragments:
    """Reassembles packets from fragments. At most ``limits.REPLAY_FRAGMENTED`` wait for parts: a new one replaces the
    oldest."""

    __slots__ = ("_waiting", "given_up")

    def __init__(self) -> None:
        self._waiting: dict[_Key, _PartialPacket] = {}
        self.given_up = 0
        """The number of packets that were never complete."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, fragment: Fragment) -> Packet | None:
        """The packet that ``fragment`` completes, if any. Raises :class:`~edgesbc.replay.packets.NotReadable`.

        A packet with overlapping parts is dropped, because receivers reassemble it differently (RFC 5722).
        """
        key = fragment.key
        whole = self._waiting.get(key)
        if whole is None:
            if len(self._waiting) >= limits.REPLAY_FRAGMENTED:
                self._give_up(next(iter(self._waiting)))
            whole = self._waiting[key] = _PartialPacket()
        if fragment.offset not in whole.parts:
            whole.parts[fragment.offset] = fragment.data
            whole.held += len(fragment.data)
        if not fragment.more:
            whole.end = fragment.offset + len(fragment.data)
        if whole.held > limits.MESSAGE_BYTES or (0 <= whole.end < whole.held):
            self._give_up(key)
            return None
        if whole.held != whole.end:
            return None
        body = bytearray()
        for offset in sorted(whole.parts):
            if offset != len(body):
                self._give_up(key)
                return None
            body += whole.parts[offset]
        del self._waiting[key]
        source, destination, _, protocol = key
        packet = transport(protocol, source, destination, bytes(body))
        packet.outgoing = fragment.outgoing
        return packet

    def _give_up(self, key: _Key) -> None:
        del self._waiting[key]
        self.given_up += 1
