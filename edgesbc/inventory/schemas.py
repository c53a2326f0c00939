"""The schemas of destination tables, edgesbc's own and those of Kamailio and OpenSIPS: how a row becomes a member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from edgesbc.base.address import Transport, split_host_port
from edgesbc.inventory.rows import Cells, pairs, plain, resources, table_of_texts

__all__ = ["SCHEMAS", "Fields", "Schema", "Sockets"]

Sockets = Mapping[str, str]
"""Names of listeners by their socket, written as ``udp:10.0.0.1:5060``."""


class Fields(NamedTuple):
    """The settings of a member in a row, before validation.

    ``rank`` orders members within a set, lower first (see :class:`Schema`). ``columns`` has the column of each field of
    ``values`` whose column has another name.
    """

    values: dict[str, Any]
    rank: int
    columns: Mapping[str, str]


class Schema(NamedTuple):
    """A table: its default name, its columns, the required ones, and the function that reads a row.

    ``ranked``: priorities only define an order, and become 0, 1, 2 and so on; otherwise they are used unchanged.
    """

    table: str
    key: str
    group: str
    columns: tuple[str, ...]
    required: tuple[str, ...]
    read: Callable[[Cells, Sockets], Fields]
    ranked: bool


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
    attributes = _parse(cells, "attrs", pairs)
    disabled = _flags(cells)
    values: dict[str, Any] = {"uri": cells.text("destination", required=True)}
    weight = attributes.pop("rweight", None), attributes.pop("weight", None)
    if None not in weight and weight[0] != weight[1]:
        cells.note("attrs", f"{plain(f'weight={weight[1]}')} has no counterpart beside rweight, which is taken")
    chosen, name = (weight[0], "rweight") if weight[0] is not None else (weight[1], "weight")
    if chosen is not None:
        values["weight"] = _number_in_attrs(cells, name, chosen, 1)
        if values["weight"] == 0:
            disabled |= _note_no_weight(cells, "attrs")
            values["weight"] = 1
    if maxload := _number_in_attrs(cells, "maxload", attributes.pop("maxload", "0"), 0):
        values["max_calls"] = maxload
    sockname, socket = attributes.pop("sockname", ""), attributes.pop("socket", "")
    values["socket"] = sockname or _listener(cells, "attrs", socket, sockets)
    for key in attributes.keys() & _NO_COUNTERPART.keys():
        cells.note("attrs", f"{key} ({_NO_COUNTERPART[key]}) has no counterpart")
    values["attributes"] = _with_description(cells, attributes)
    values["disabled"] = disabled
    columns = {
        "uri": "destination", "weight": "attrs", "max_calls": "attrs", "socket": "attrs", "attributes": "attrs",
    }  # fmt: skip
    return Fields(values, -cells.whole("priority"), columns)


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
    if weight == 0:
        disabled |= _note_no_weight(cells, "weight")
        weight = 1
    _probe_mode(cells)
    values = {
        "uri": cells.text("destination", required=True),
        "weight": weight,
        "socket": _listener(cells, "socket", cells.text("socket"), sockets),
        "disabled": disabled,
        "attributes": _with_description(cells, _opaque(cells)),
    }
    return Fields(values, -cells.whole("priority"), {"uri": "destination"})


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


def _number_in_attrs(cells: Cells, name: str, text: str, default: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    cells.wrong("attrs", f"expected a whole number for {name}, found {text[:60]!r}")
    return default


def _note_no_weight(cells: Cells, column: str) -> bool:
    """Note a weight of 0, which means no calls; the counterpart is a disabled member. Always true."""
    cells.note(column, "a weight of 0 is taken for disabled")
    return True


def _listener(cells: Cells, column: str, text: str, sockets: Sockets) -> str | None:
    """The listener at ``[proto:]host[:port]``, or None if the text is empty or an error, which is added to the
    row's."""
    if not text:
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
        cells.wrong(column, f"expected a socket as in udp:10.0.0.1:5060, found {text[:60]!r}")
        return None
    for host in (address.host, "0.0.0.0", "::"):  # noqa: S104 - a listener on all addresses includes this one
        if name := sockets.get(f"{transport}:{host}:{address.port}"):
            return name
    known = ", ".join(f"{address} ({name})" for address, name in sockets.items()) or "none"
    cells.wrong(column, f"expected the address of a listener, found {text[:60]!r}; there are: {known}", "no-listener")
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
        False,
    ),
    "kamailio-dispatcher": Schema(
        "dispatcher",
        "id",
        "setid",
        ("id", "setid", "destination", "flags", "priority", "attrs", "description"),
        ("id", "setid", "destination"),
        _kamailio_dispatcher,
        True,
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
        True,
    ),
    "opensips-load-balancer": Schema(
        "load_balancer",
        "id",
        "group_id",
        ("id", "group_id", "dst_uri", "resources", "probe_mode", "attrs", "description"),
        ("id", "group_id", "dst_uri", "resources"),
        _opensips_load_balancer,
        True,
    ),
}  # fmt: skip
"""Schemas by their names in a policy."""
