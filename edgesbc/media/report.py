"""What `query` and `statistics` answer, in rtpengine's shape. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgesbc.media.session import MediaPorts, MediaSession, SessionSide

__all__ = ["report_call", "report_table"]


def report_call(call: MediaSession) -> dict[str, Any]:
    """The reply to `query`: per tag and section what came in, and the totals."""
    tags = {side.tag: _report_side(call, index, side) for index, side in enumerate(call.sides) if side.tag}
    pairs = [pair for stream in call.streams if stream is not None for pair in stream.pairs]
    return {"result": "ok", "created": int(call.created), "tags": tags, "totals": {"RTP": _sum(pairs)}}


def _report_side(call: MediaSession, index: int, side: SessionSide) -> dict[str, Any]:
    sections = side.description.media if side.description is not None else ()
    medias = []
    for at, (stream, media) in enumerate(zip(call.streams, sections, strict=False)):
        if stream is None:
            continue
        pair = stream.pairs[index]
        report: dict[str, Any] = {"local port": pair.port, "stats": _sum([pair])}
        if pair.peer is not None:
            family = "IPv6" if ":" in pair.peer.host else "IPv4"
            report["endpoint"] = {"family": family, "address": pair.peer.host, "port": pair.peer.port}
        medias.append({"index": at + 1, "type": media.kind, "protocol": media.protocol, "streams": [report]})
    return {"tag": side.tag, "interface": side.interface, "medias": medias}


def report_table(calls: Iterable[MediaSession], live: int, total: int) -> dict[str, Any]:
    """The reply to `statistics`."""
    pairs = [pair for call in calls for stream in call.streams if stream is not None for pair in stream.pairs]
    return {
        "result": "ok",
        "statistics": {
            "currentstatistics": {"sessionsown": live, "sessionstotal": live, "mediastreams": len(pairs) // 2},
            "totalstatistics": {"managedsessions": total},
            "livetraffic": _sum(pairs),
        },
    }


def _sum(pairs: Iterable[MediaPorts]) -> dict[str, int]:
    traffic = [pair.traffic for pair in pairs]
    return {
        "packets": sum(t.packets for t in traffic),
        "bytes": sum(t.octets for t in traffic),
        "errors": sum(t.errors for t in traffic),
    }
