"""The schemas of destination tables, edgesbc's own and those of Kamailio and OpenSIPS: how a row becomes a member."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from edgesbc.base.address import Transport, split_host_port
from edgesbc.inventory.kamailio_attributes import leading_number, parse_attributes
from edgesbc.inventory.peer_algorithms import Weights
from edgesbc.inventory.rows import Cells, plain, resources, table_of_texts

__all__ = ["SCHEMAS", "Fields", "Schema", "Sockets"]

Sockets = Mapping[str, str] | None
"""Names of listeners by their socket, written as ``udp:10.0.0.1:5060``; None: they are not known, so that sockets of
rows are left out, with a note."""


class Fields(NamedTuple):
    """The settings of a member in a row, before validation.

    ``rank`` orders members within a set, lower first (see :class:`Schema`). ``columns`` has the column of each field of
    ``values`` whose column has another name. ``weights`` are those of another program, which become a weight and a
    rank together with those of the other rows; None: ``values`` has the weight.
    """

    values: dict[str, Any]
    rank: int
    columns: Mapping[str, str]
    weights: Weights | None = None


class Schema(NamedTuple):
    """A table: its default name, its columns, the required ones, and the function that reads a row.

    ``ranked``: priorities only define an order, and become 0, 1, 2 and so on; otherwise they are used unchanged.
    ``repeats``: the program whose table it is takes a destination that is listed twice.
    """

    table: str
    key: str
    group: str
    columns: tuple[str, ...]
    required: tuple[str, ...]
    read: Callable[[Cells, Sockets], Fields]
    ranked: bool
    repeats: bool


_INACTIVE, _TRYING, _DISABLED, _PROBING, _NO_DNS = 1, 2, 4, 8, 16
"""Kamailio's flags of a destination."""
_NO_COUNTERPART = {
    "cc": "congestion control", "latency": "a latency to begin with", "obproxy": "an outbound proxy of probes",
    "ocmax": "overload control", "ocmin": "overload control", "ocrate": "overload control",
    "ping_from": "From of the probes to one member", "ping_socket": "a socket for probes alone",
    "ping_sockname": "a socket for probes alone",
}  # fmt: skip


def _edgesbc(cells: Cells, sockets: Sockets) -> Fields:
    """A row of ``destinations``: the names are those of ``[[destinations.members]]``."""
    values = {
        "uri": cells.text("uri", required=True),
        "weight": cells.whole("weight", 1),
        "max_calls": cells.whole_or_none("max_calls"),
        "max_cps": cells.number("max_cps"),
        "socket": cells.text("socket") or None,
        "strip": cells.whole("strip"),
        "prepend": cells.text("prepend"),
        "disabled": cells.truth("disabled"),
    }
    for column, read in (("resources", resources), ("attributes", table_of_texts)):
        values[column] = _parse(cells, column, read)
    return Fields(values, cells.whole("priority"), {})


def _kamailio_dispatcher(cells: Cells, sockets: Sockets) -> Fields:
    """A row of Kamailio's ``dispatcher``, where a higher priority is tried first."""
    attributes = _parse(cells, "attrs", lambda text: parse_attributes(text, partial(cells.note, "attrs")))
    disabled = _flags(cells)
    values: dict[str, Any] = {"uri": _kamailio_uri(cells)}
    weight = _number_in_attrs(cells, "weight", attributes.pop("weight", None))
    rweight = _number_in_attrs(cells, "rweight", attributes.pop("rweight", None))
    maxload = _number_in_attrs(cells, "maxload", attributes.pop("maxload", None))
    if maxload:
        values["max_calls"] = maxload
    sockname, socket = attributes.pop("sockname", ""), attributes.pop("socket", "")
    if sockets is None and (sockname or socket):
        text = f"sockname={sockname}" if sockname else f"socket={socket}"
        cells.note("attrs", f"{plain(text)} is left out: write socket = NAME of the listener that has that address")
    elif sockname:
        values["socket"] = sockname
    else:
        values["socket"] = _listener(cells, "attrs", socket, sockets)
    for key in attributes.keys() & _NO_COUNTERPART.keys():
        cells.note("attrs", f"{key} ({_NO_COUNTERPART[key]}) has no counterpart")
    values["attributes"] = _with_description(cells, attributes)
    values["disabled"] = disabled
    columns = {
        "uri": "destination", "weight": "attrs", "max_calls": "attrs", "socket": "attrs", "attributes": "attrs",
    }  # fmt: skip
    weights = Weights(weight, rweight, "attrs", disabled, kamailio=True)
    return Fields(values, -cells.whole("priority"), columns, weights)


_WITHOUT_SCHEME = re.compile(r"(?!(?:sips?|tel|urn|https?):)([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(;.*)?\Z")


def _kamailio_uri(cells: Cells) -> str:
    """The destination, with the scheme that Kamailio adds if it is missing."""
    text = cells.text("destination", required=True)
    if _WITHOUT_SCHEME.match(text):
        cells.note("destination", f"{plain(text)} is taken for sip:{plain(text)}")
        return f"sip:{text}"
    return text


def _flags(cells: Cells) -> bool:
    """Whether the flags of a destination disable it until an operator changes that."""
    flags = cells.whole("flags")
    if not 0 <= flags < 32:
        cells.wrong("flags", f"expected bits of 1, 2, 4, 8 and 16, found {flags}")
        return False
    if flags & _DISABLED:
        return True
    if flags & _INACTIVE and not flags & _PROBING:
        cells.note("flags", "1 (inactive, and not probed) is taken for disabled")
        return True
    if flags & (_INACTIVE | _TRYING | _PROBING):
        cells.note("flags", f"{flags & 11} is a state; the health checks of the set find out what holds now")
    if flags & _NO_DNS:
        cells.note("flags", "16 (no look-up at the start) has no counterpart")
    return False


def _opensips_dispatcher(cells: Cells, sockets: Sockets) -> Fields:
    """A row of OpenSIPS's ``dispatcher``, where a higher priority is tried first; ``attrs`` is opaque."""
    state = cells.whole("state")
    if state not in (0, 1, 2):
        cells.wrong("state", f"expected 0 (active), 1 (inactive) or 2 (probing), found {state}")
    if state == 2:
        cells.note("state", "2 (probing) is a state; the health checks of the set find out what holds now")
    disabled = state == 1
    if cells.text("weight").startswith("fs://"):
        cells.wrong("weight", "expected a whole number, found an fs:// URL, which is not supported")
        weight = 1
    else:
        weight = cells.whole("weight", 1)
    _probe_mode(cells)
    values = {
        "uri": cells.text("destination", required=True),
        "socket": _listener(cells, "socket", cells.text("socket"), sockets, required=False),
        "disabled": disabled,
        "attributes": _with_description(cells, _opaque(cells)),
    }
    weights = Weights(weight, None, "weight", disabled, kamailio=False)
    return Fields(values, -cells.whole("priority"), {"uri": "destination"}, weights)


def _opensips_load_balancer(cells: Cells, sockets: Sockets) -> Fields:
    """A row of OpenSIPS's ``load_balancer``: no weights and no priorities, but resources."""
    _probe_mode(cells)
    calls = _parse(cells, "resources", _load_balancer_resources)
    if not calls:
        cells.note("resources", "none are given, which is no bound here")
    values = {
        "uri": cells.text("dst_uri", required=True),
        "resources": calls,
        "attributes": _with_description(cells, _opaque(cells)),
    }
    return Fields(values, 0, {"uri": "dst_uri"})


def _load_balancer_resources(text: str) -> dict[str, int]:
    """As :func:`~edgesbc.inventory.rows.resources`, without the flags that OpenSIPS allows in a name
    (``pstn/s=30``)."""
    return {name.partition("/")[0]: calls for name, calls in resources(text).items()}


def _probe_mode(cells: Cells) -> None:
    mode = cells.whole("probe_mode")
    if mode not in (0, 1, 2):
        cells.wrong("probe_mode", f"expected 0, 1 or 2, found {mode}")
    elif mode:
        cells.note("probe_mode", f"{mode} has no counterpart: [destinations.health] of the set says who is probed")


def _parse(cells: Cells, column: str, read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    text = cells.text(column)
    try:
        return read(text)
    except ValueError as error:
        cells.wrong(column, str(error))
        return {}


def _opaque(cells: Cells) -> dict[str, str]:
    text = cells.text("attrs")
    return {"attrs": text} if text else {}


def _with_description(cells: Cells, attributes: dict[str, str]) -> dict[str, str]:
    """The attributes, with the row's description unless there is an attribute of that name."""
    description = cells.text("description")
    return {**({"description": description} if description else {}), **attributes}


def _number_in_attrs(cells: Cells, name: str, text: str | None) -> int | None:
    """The number of an attribute, None where it is not written. Of ``50ms`` Kamailio reads 50."""
    if text is None:
        return None
    number = leading_number(text)
    if number is None:
        cells.wrong("attrs", f"expected a whole number for {name}, found {text[:60]!r}")
    elif str(number) != text:
        cells.note("attrs", f"{plain(f'{name}={text}')} is taken for {number}")
    return number


def _listener(cells: Cells, column: str, text: str, sockets: Sockets, required: bool = True) -> str | None:
    """The listener at ``[proto:]host[:port]``, or None if the text is empty or an error, which is added to the row's.

    ``required``: Kamailio leaves out a row whose socket it does not have; OpenSIPS ignores the socket.
    """
    if not text or sockets is None:
        return None
    proto, _, rest = text.partition(":")
    transport = Transport.UDP
    if proto.lower() in ("udp", "tcp", "tls", "ws", "wss"):
        transport = Transport(proto.lower())
    else:
        rest = text
    try:
        address = split_host_port(rest, transport.default_port)
    except ValueError:
        if required:
            cells.wrong(column, f"expected a socket as in udp:10.0.0.1:5060, found {text[:60]!r}")
        else:
            cells.note(column, f"{plain(text)} is no socket as in udp:10.0.0.1:5060, and is ignored")
        return None
    for host in (address.host, "0.0.0.0", "::"):  # noqa: S104 - a listener on all addresses includes this one
        if name := sockets.get(f"{transport}:{host}:{address.port}"):
            return name
    known = ", ".join(f"{address} ({name})" for address, name in sockets.items()) or "none"
    if required:
        message = f"expected the address of a listener, found {text[:60]!r}; there are: {known}"
        cells.wrong(column, message, "no-listener")
    else:
        cells.note(column, f"{plain(text)} is the address of no listener and is ignored; there are: {known}")
    return None


SCHEMAS: Mapping[str, Schema] = {
    "edgesbc": Schema(
        "destinations",
        "id",
        "set_name",
        (
            "id", "set_name", "uri", "weight", "priority", "max_calls", "max_cps", "socket", "resources", "strip",
            "prepend", "disabled", "attributes",
        ),
        ("set_name", "uri"),
        _edgesbc,
        ranked=False,
        repeats=False,
    ),
    "kamailio-dispatcher": Schema(
        "dispatcher",
        "id",
        "setid",
        ("id", "setid", "destination", "flags", "priority", "attrs", "description"),
        ("id", "setid", "destination"),
        _kamailio_dispatcher,
        ranked=True,
        repeats=True,
    ),
    "opensips-dispatcher": Schema(
        "dispatcher",
        "id",
        "setid",
        (
            "id", "setid", "destination", "socket", "state", "probe_mode", "weight", "priority", "attrs",
            "description",
        ),
        ("id", "setid", "destination"),
        _opensips_dispatcher,
        ranked=True,
        repeats=True,
    ),
    "opensips-load-balancer": Schema(
        "load_balancer",
        "id",
        "group_id",
        ("id", "group_id", "dst_uri", "resources", "probe_mode", "attrs", "description"),
        ("id", "group_id", "dst_uri", "resources"),
        _opensips_load_balancer,
        ranked=True,
        repeats=True,
    ),
}  # fmt: skip
"""Schemas by their names in a policy."""
