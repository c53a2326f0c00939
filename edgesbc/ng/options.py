"""The options of one command: its keys and flags, read and checked."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import attrs

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.ng.flags import FLAGS, KEYS, LISTS, Effect, normal, of_flag

__all__ = ["NgOptions", "read_options"]

_FAMILIES: Final = {"ip4": "IP4", "ipv4": "IP4", "inet": "IP4", "ip6": "IP6", "ipv6": "IP6", "inet6": "IP6"}
_ICE: Final = frozenset({"remove", "default"})
_WITHOUT_RTCP_MUX: Final = frozenset({"demux", "reject"})
_TRANSPORTS: Final = frozenset({"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"})
_DIRECTIONS: Final = frozenset({"internal", "external"})


@attrs.frozen
class NgOptions:
    """What a command asks for."""

    call_id: str
    from_tag: str
    to_tag: str
    via_branch: str
    sdp: str = ""
    direction: tuple[str, str] = ("", "")
    """Interface names of the sender of the description and of the other side; "" for none."""
    family: str = ""
    """``IP4`` or ``IP6`` for the other side, "" for either."""
    received_from: str = ""
    media_address: str = ""
    """The address that stands in for those in the description, "" for none."""
    without_rtcp_mux: bool = False
    transport: str = ""
    """The profile that the other side gets, "" for that of the description."""
    label: str = ""
    metadata: str = ""
    delay: int = 0
    limit: int = 32
    fatal: bool = False
    loop_protect: bool = False
    asymmetric: bool = False
    """Whether the sender of the description sends from another port than the one at which it receives."""
    load_limit: bool = False
    """Whether the client knows the result ``load limit``."""
    ignored: tuple[str, ...] = ()
    """Flags that are in no table."""


def read_options(command: Mapping[str, Any], *, tags: bool = True) -> NgOptions:
    """The options of a command. Raises :class:`WireError`, whose reason is the ``error-reason``, for one that is
    refused or cannot be read. ``tags``: whether it has to name a side."""
    values = {normal(key): value for key, value in command.items()}
    if len(values) < len(command):
        raise WireError("a key twice, in two spellings")
    flags = _expand_text_flags(values)
    flags |= {normal(word): None for word in _words(values, "flags")}
    words = _sort_flags(values, flags)
    _check_refusals(values, words)
    received_from = _received_from(values)
    media_address = _address(values, "media-address")
    if "sip-source-address" in words["flags"] and not media_address:
        if not received_from:
            raise WireError("SIP-source-address without received-from")
        media_address = received_from
    return NgOptions(
        call_id=_name(values, "call-id", required=True),
        from_tag=_name(values, "from-tag", required=tags),
        to_tag=_name(values, "to-tag"),
        via_branch=_name(values, "via-branch"),
        sdp=_text(values, "sdp"),
        direction=_direction(values),
        family=_choice(values, "address-family", _FAMILIES),
        received_from=received_from,
        media_address=media_address,
        without_rtcp_mux=not _WITHOUT_RTCP_MUX.isdisjoint(words["rtcp-mux"]),
        transport=_transport(values),
        label=_first_text(values, "label", "from-label", "set-label")[: limits.NG_LABEL_BYTES],
        metadata=_text(values, "metadata")[: limits.NG_METADATA_BYTES],
        delay=_number(values, "delete-delay", 0, limits.NG_DELAY_SECONDS),
        limit=_number(values, "limit", 32, limits.NG_LIST),
        fatal="fatal" in words["flags"],
        loop_protect="loop-protect" in words["flags"],
        asymmetric="asymmetric" in words["flags"],
        load_limit="load-limit" in map(normal, _words(values, "supports")),
        ignored=tuple(word for word in words["flags"] if word not in FLAGS),
    )


def _sort_flags(values: Mapping[str, Any], flags: Mapping[str, None]) -> dict[str, dict[str, None]]:
    """The words of each list, those among the flags included; in order, for the messages."""
    words: dict[str, dict[str, None]] = {name: {} for name in ("flags", *LISTS)}
    for name in LISTS:
        if not isinstance(values.get(name), dict):
            words[name] = {normal(word): None for word in _words(values, name)}
    for flag in flags:
        name, word = of_flag(flag)
        words[name][word] = None
    return words


def _check_refusals(values: Mapping[str, Any], words: Mapping[str, Mapping[str, None]]) -> None:
    for key in values:
        known = KEYS.get(key)
        if known is not None and known.effect is Effect.REFUSED and values[key]:
            raise WireError(f"{key}: {known.note}")
    for name, found in words.items():
        table = FLAGS if name == "flags" else LISTS[name]
        for word in found:
            known = table.get(word, table.get(""))
            if known is not None and known.effect is Effect.REFUSED:
                shown = word if name == "flags" else f"{name}-{word}"
                raise WireError(f"{_shown(shown)}: {known.note}")
    ice = normal(_text(values, "ice"))
    if ice and ice not in _ICE:
        raise WireError(f"ICE={_shown(ice)}: there is no ICE here; expected remove or default")
    if normal(_text(values, "record-call")) not in ("", "no", "off"):
        raise WireError("record-call: calls are not recorded")


# --- the text of Kamailio's flags ----------------------------------------------------------------------


def _expand_text_flags(values: dict[str, Any]) -> dict[str, None]:
    """Add to ``values`` what the text ``rtpp-flags`` says by ``KEY=VALUE``; returns its flags."""
    flags: dict[str, None] = {}
    directions: list[str] = []
    for word in _text(values, "rtpp-flags").split()[: limits.NG_WORDS]:
        key, equals, value = word.partition("=")
        name = normal(key)
        if not equals and key.upper() in _TRANSPORTS:
            values.setdefault("transport-protocol", key)
        elif not equals and name in _DIRECTIONS:
            directions.append(key)
        elif not equals:
            flags[name] = None
        elif name == "direction":
            directions.append(value)
        elif name == "received-from":
            values["received-from"] = ["IP6" if ":" in value else "IP4", value]
        elif name in LISTS:
            flags[f"{name}-{normal(value)}"] = None
        else:
            values.setdefault(name, value)
    if directions:
        values.setdefault("direction", directions)
    return flags


# --- values ---------------------------------------------------------------------------------------------


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, "")
    if not isinstance(value, str):
        raise WireError(f"{key}: expected a text")
    return value


def _first_text(values: Mapping[str, Any], *keys: str) -> str:
    return next((text for key in keys if (text := _text(values, key))), "")


def _name(values: Mapping[str, Any], key: str, required: bool = False) -> str:
    name = _text(values, key)
    if required and not name:
        raise WireError(f"no {key} in the command")
    if len(name.encode("utf-8", "surrogateescape")) > limits.NG_NAME_BYTES:
        raise WireError(f"{key}: more than {limits.NG_NAME_BYTES} bytes")
    return name


def _words(values: Mapping[str, Any], key: str) -> list[str]:
    value = values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise WireError(f"{key}: expected a list of texts")
    if len(value) > limits.NG_WORDS:
        raise WireError(f"{key}: more than {limits.NG_WORDS} words")
    return value


def _number(values: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = values.get(key, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or value < 0:
        raise WireError(f"{key}: expected a number from 0 on")
    return min(value, most)


def _choice(values: Mapping[str, Any], key: str, choices: Mapping[str, str]) -> str:
    text = _text(values, key)
    if text and text.lower() not in choices:
        raise WireError(f"{key}: expected IP4 or IP6, found {_shown(text)}")
    return choices.get(text.lower(), "")


def _transport(values: Mapping[str, Any]) -> str:
    text = _text(values, "transport-protocol").upper()
    if text in ("", "ACCEPT"):
        return ""
    if text not in _TRANSPORTS:
        raise WireError(f"transport-protocol: expected one of {', '.join(sorted(_TRANSPORTS))}; found {_shown(text)}")
    return text


def _direction(values: Mapping[str, Any]) -> tuple[str, str]:
    names = _words(values, "direction")
    if not names:
        return "", ""
    if len(names) != 2:
        raise WireError(f"direction: expected two names of interfaces, found {len(names)}")
    return names[0], names[1]


def _received_from(values: Mapping[str, Any]) -> str:
    pair = _words(values, "received-from")
    if not pair:
        return ""
    if len(pair) != 2 or pair[0] not in ("IP4", "IP6"):
        raise WireError("received-from: expected IP4 or IP6, and an address")
    return _literal(pair[1], "received-from")


def _address(values: Mapping[str, Any], key: str) -> str:
    text = _text(values, key)
    return _literal(text, key) if text else ""


def _literal(text: str, key: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise WireError(f"{key}: expected a literal address, found {_shown(text)}") from None


def _shown(text: str) -> str:
    """A client's text in an error: short, and printable."""
    return ascii(text[:40])[1:-1]
