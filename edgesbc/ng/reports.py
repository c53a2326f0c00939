"""What `query`, `delete` and `statistics` tell, in the words of rtpengine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgesbc.base.address import Source
from edgesbc.base.counts import Counts
from edgesbc.media.session import MediaSession, MediaStream, SessionSide
from edgesbc.ng.dialogs import NgDialog
from edgesbc.sdp.session import MediaDescription

__all__ = ["query_reply", "statistics_reply"]


def query_reply(
    sessions: Sequence[tuple[NgDialog, MediaSession | None]], time: Callable[[float], int]
) -> dict[str, Any]:
    """``created``, ``last signal``, ``tags`` and ``totals`` of these dialogs; ``time`` gives seconds since 1970."""
    tags: dict[str, Any] = {}
    rtp = rtcp = octets = 0
    for dialog, session in sessions:
        for side, tag in enumerate(dialog.tags):
            tags[tag] = _tag_report(dialog, session, side, time)
        for stream in session.streams if session is not None else ():
            for pair in stream.pairs:
                rtp += pair.rtp_packets
                rtcp += pair.packets - pair.rtp_packets
                octets += pair.octets
    reply: dict[str, Any] = {
        "created": time(min(dialog.created for dialog, _ in sessions)),
        "last signal": time(max(dialog.last_signal for dialog, _ in sessions)),
        "tags": tags,
        "totals": {
            "RTP": {"packets": rtp, "bytes": octets, "errors": 0},  # those of RTCP are not counted apart
            "RTCP": {"packets": rtcp, "bytes": 0, "errors": 0},
        },
    }
    metadata = next((dialog.metadata for dialog, _ in sessions if dialog.metadata), "")
    return {**reply, "metadata": metadata} if metadata else reply


def _tag_report(
    dialog: NgDialog, session: MediaSession | None, side: int, time: Callable[[float], int]
) -> dict[str, Any]:
    report: dict[str, Any] = {"tag": dialog.tags[side], "created": time(dialog.created), "medias": []}
    if dialog.tags[1 - side]:
        report["in dialogue with"] = dialog.tags[1 - side]
    if dialog.labels[side]:
        report["label"] = dialog.labels[side]
    description = None if session is None else session.sides[side].description
    if session is not None and description is not None:
        report["medias"] = [
            _media_report(index, media, session.sides[side], side, session.current.streams)
            for index, media in enumerate(description.media)
        ]
    return report


def _media_report(
    index: int, media: MediaDescription, side: SessionSide, number: int, streams: Sequence[MediaStream | None]
) -> dict[str, Any]:
    stream = streams[index] if index < len(streams) else None
    report: dict[str, Any] = {
        "index": index + 1, "type": media.kind, "protocol": media.protocol, "flags": ["initialized"], "streams": [],
    }  # fmt: skip
    if media.attribute("rtcp-mux") is not None:
        report["flags"].append("rtcp-mux")
    if stream is None:
        return report
    pair = stream.pairs[number]
    packets = pair.rtp_packets, pair.packets - pair.rtp_packets
    octets = pair.octets, 0
    for offset, (kind, target) in enumerate(zip(("RTP", "RTCP"), side.target(index), strict=True)):
        one: dict[str, Any] = {
            "local port": pair.port + offset,
            "flags": [kind],
            "stats": {"packets": packets[offset], "bytes": octets[offset], "errors": 0},
        }
        if target.signalled is not None:
            one["endpoint"] = _endpoint(target.send_to or target.signalled)
            one["advertised endpoint"] = _endpoint(target.signalled)
        report["streams"].append(one)
    return report


def _endpoint(source: Source) -> dict[str, Any]:
    return {"family": "IPv6" if ":" in source.host else "IPv4", "address": source.host, "port": source.port}


def statistics_reply(
    counts: Counts, *, sessions: int, total: int, timeouts: int, packets: int, uptime: int
) -> dict[str, Any]:
    """The figures of `statistics` that there are here; ``uptime`` in seconds."""
    commands = ("ping", "offer", "answer", "delete", "query", "list", "statistics")
    refused = counts.get(("offer", "error"), 0)
    return {
        "currentstatistics": {"sessionsown": sessions, "sessionsforeign": 0, "sessionstotal": sessions},
        "totalstatistics": {
            "uptime": uptime,
            "managedsessions": total,
            "rejectedsessions": refused,
            "timeoutsessions": timeouts,
            "relayedpackets": packets,
        },
        "controlstatistics": {
            **{f"total{name}count": counts.get((name, "ok"), 0) + counts.get((name, "error"), 0) for name in commands},
            "totalerrorcount": sum(number for (_, outcome), number in counts.items() if outcome == "error"),
            "totaljunkcount": counts.get(("any", "junk"), 0),
            "totalrepeatedcount": counts.get(("any", "again"), 0),
        },
    }
