"""What each key, flag and word of a command in rtpengine's language does here: the tables of ``docs/reference/ng.md``.

Names are compared as rtpengine does, with blanks and underscores as hyphens, and in any case, which is more lenient.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["FLAGS", "KEYS", "LISTS", "Effect", "FlagEffect", "normal", "of_flag"]


class Effect(enum.Enum):
    """What comes of a flag."""

    HONOURED = "honoured"
    ACCEPTED = "accepted without effect"
    REFUSED = "refused"


class FlagEffect:
    """The effect of a flag, and for people why it has no other."""

    __slots__ = ("effect", "note")

    def __init__(self, effect: Effect, note: str = "") -> None:
        self.effect = effect
        self.note = note


def _honoured(note: str = "") -> FlagEffect:
    return FlagEffect(Effect.HONOURED, note)


def _accepted(note: str = "") -> FlagEffect:
    return FlagEffect(Effect.ACCEPTED, note)


def _refused(note: str) -> FlagEffect:
    return FlagEffect(Effect.REFUSED, note)


_NO_CODECS: Final = "codecs are not changed here"
_NO_DTMF: Final = "DTMF is not read"

KEYS: Final[Mapping[str, FlagEffect]] = {
    "call-id": _honoured("with the tags it names the session"),
    "from-tag": _honoured("the side that offers, also in its `answer`"),
    "to-tag": _honoured("the side that answers"),
    "via-branch": _honoured("each branch of a forked call has ports of its own until it is answered"),
    "sdp": _honoured(),
    "flags": _honoured("see below"),
    "rtpp-flags": _honoured("the same as one text, split at blanks"),
    "supports": _honoured("`load limit`"),
    "direction": _honoured("two names of interfaces; the tags keep them"),
    "address-family": _honoured("until the side has sent a description of its own"),
    "received-from": _honoured("for a peer behind a NAT, whose description has a private address"),
    "media-address": _honoured("in the place of the addresses in the description"),
    "replace": _accepted("every address of the path is replaced, whether it is asked for or not"),
    "ice": _honoured("`remove`, `default`; `force`, `force-relay` and `optional` are refused: there is no ICE here"),
    "ice-lite": _accepted(),
    "rtcp-mux": _honoured("see below"),
    "transport-protocol": _honoured(
        "between RTP/AVP and RTP/AVPF, and between RTP/SAVP and RTP/SAVPF; others are refused"
    ),
    "label": _honoured("`query` shows it"),
    "from-label": _honoured("the same"),
    "set-label": _honoured("the same"),
    "metadata": _honoured("`query` shows it"),
    "delete-delay": _honoured("seconds; without it a session ends at once"),
    "limit": _honoured("of `list`"),
    "sdes": _accepted("the keys of RFC 4568 pass from side to side"),
    "dtls": _accepted("DTLS ends at no relay of plain RTP: its attributes are removed"),
    "dtls-reverse": _accepted(),
    "dtls-fingerprint": _accepted(),
    "osrtp": _accepted(),
    "tos": _accepted("packets have the type of service 0"),
    "xmlrpc-callback": _accepted("a session that ends for silence is told to nobody"),
    "endpoint-learning": _accepted("the latch is strict"),
    "generate-rtcp": _accepted("RTCP is relayed as it comes"),
    "sip-message-type": _accepted(),
    "output-destination": _accepted(),
    "dtmf-security": _accepted(_NO_DTMF),
    "dtmf-log-dest": _accepted(_NO_DTMF),
    "t.38": _honoured("`decode` and `force` are refused"),
    "record-call": _honoured("`no` and `off`; others are refused: calls are not recorded"),
    "codec": _refused(_NO_CODECS),
    "ptime": _refused(_NO_CODECS),
    "ptime-reverse": _refused(_NO_CODECS),
    "repacketize": _refused(_NO_CODECS),
    "sdp-attr": _refused("descriptions are not edited here"),
    "media-echo": _refused("media is relayed, and not sent back"),
    "drop-traffic": _refused("a session relays from its answer to its end"),
}
"""Keys of a command. One that is not in the table is ignored."""

FLAGS: Final[Mapping[str, FlagEffect]] = {
    "trust-address": _accepted("the default"),
    "sip-source-address": _honoured("`received-from` stands in for the addresses in the description"),
    "symmetric": _accepted("the default"),
    "asymmetric": _honoured("media goes to the signalled port; it may come from another port of that address"),
    "strict-source": _accepted("the latch is always strict"),
    "media-handover": _accepted("the latch is strict: a peer is not followed to another address"),
    "port-latching": _accepted("ports stay for the whole session"),
    "no-port-latching": _accepted("ports stay for the whole session"),
    "loop-protect": _honoured("a description that this process has seen is returned as it is"),
    "fatal": _honoured("of `delete`: an unknown call is an error"),
    "reset": _accepted(),
    "unidirectional": _accepted(),
    "original-sendrecv": _accepted("directions are never changed"),
    "no-rtcp-attribute": _accepted("there is never one"),
    "full-rtcp-attribute": _accepted("there is never one: RTCP is at the port above that of RTP, or on it"),
    "reject-ice": _accepted("the default"),
    "nat-wait": _accepted(),
    "pierce-nat": _accepted(),
    "debug": _accepted(),
    "debugging": _accepted(),
    "generate-rtcp": _accepted("RTCP is relayed as it comes"),
    "generate-mid": _accepted(),
    "detect-dtmf": _accepted(_NO_DTMF),
    "inject-dtmf": _accepted("`play DTMF` is an unknown command"),
    "no-redis-update": _accepted(),
    "force": _accepted(),
    "pad-crypto": _accepted(),
    "early-media": _accepted(),
    "block-short": _accepted(),
    "block-short-packets": _accepted(),
    "discard-recording": _accepted(),
    "exclude-recording": _accepted(),
    "strip-extmap": _accepted(),
    "reuse-codecs": _accepted("codecs are not changed"),
    "no-codec-renegotiation": _accepted("codecs are not changed"),
    "record-call": _refused("calls are not recorded"),
    "trickle-ice": _refused("there is no ICE here"),
    "fragment": _refused("there is no ICE here"),
    "always-transcode": _refused(_NO_CODECS),
    "allow-transcoding": _refused(_NO_CODECS),
    "single-codec": _refused(_NO_CODECS),
}
"""Words of the list ``flags``. One that is not in the table is ignored."""

LISTS: Final[Mapping[str, Mapping[str, FlagEffect]]] = {
    "rtcp-mux": {
        "accept": _accepted("the default: it is as the sides agree"),
        "offer": _accepted("it is offered if the peer offers it"),
        "demux": _honoured("it is not offered; the side that offered it uses two ports (RFC 5761 section 5.1.1)"),
        "reject": _honoured("the same"),
        "require": _refused("it is offered if the peer offers it"),
    },
    "t.38": {
        "decode": _refused("fax is not converted"),
        "force": _refused("fax is not converted"),
    },
    "sdes": {},
    "replace": {},
    "codec": {"": _refused(_NO_CODECS)},
    "sdp-attr": {"": _refused("descriptions are not edited here")},
    "transcode": {"": _refused(_NO_CODECS)},
}
"""Words of the other lists, which may also stand in ``flags`` after the name of the list and a hyphen; "": every
word."""

_PREFIXES: Final = {**{f"{name}-": name for name in LISTS}, "t38-": "t.38"}


def normal(name: str) -> str:
    """A name as it stands in these tables."""
    return name.replace(" ", "-").replace("_", "-").lower()


def of_flag(flag: str) -> tuple[str, str]:
    """The list and the word that a normalised flag stands for: itself in ``flags``, or one of another list."""
    if flag not in FLAGS:
        for prefix, name in _PREFIXES.items():
            if flag.startswith(prefix):
                return name, flag[len(prefix) :]
    return "flags", flag
