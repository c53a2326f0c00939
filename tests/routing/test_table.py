"""Routes: the first match wins, every given condition must match, long texts match no pattern."""

from datetime import datetime

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

PEER = Source("192.0.2.9", 5071)


def request(
    user: str = "+4930123",
    method: str = "INVITE",
    from_uri: str = "sip:alice@example.com",
    extra: str = "",
    uri: str = "",
    to_uri: str = "sip:bob@edge.example",
) -> Request:
    message = parse_message(
        f"{method} {uri or f'sip:{user}@edge.example'} SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.9:5071;branch=z9hG4bKa\r\n"
        f"From: <{from_uri}>;tag=1\r\nTo: <{to_uri}>\r\n"
        f"Call-ID: abc\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{extra}Content-Length: 0\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


def takes(route: Route, of: Request, zone: Zone = Zone.PUBLIC, listener: str = "carriers") -> bool:
    return RoutingTable([route], ["pbx"]).choose(by(zone, listener), of, None, 0.0) is route


def by(zone: Zone, listener: str) -> Flow:
    return Flow(Listener(0, listener, zone, Transport.UDP, "192.0.2.1", 5060), PEER)


def a_route(**fields: object) -> Route:
    return Route(name="r", to="pbx", **fields)  # type: ignore[arg-type]


def test_the_first_match_wins() -> None:
    routes = [
        Route(name="numbers", to="a", request_user=r"^\+?[0-9]{3,15}$"),
        Route(name="rest", to="b"),
    ]
    table = RoutingTable(routes, ["a", "b"])
    assert table.choose(by(Zone.PUBLIC, "carriers"), request("+4930123"), None, 0.0) is routes[0]
    assert table.choose(by(Zone.PUBLIC, "carriers"), request("alice"), None, 0.0) is routes[1]
    assert table.choose(by(Zone.CORE, "inside"), request("alice"), None, 0.0) is None


def test_without_routes_public_goes_to_the_only_set() -> None:
    table = RoutingTable([], ["pbx"])
    route = table.choose(by(Zone.PUBLIC, "carriers"), request(), None, 0.0)
    assert route is not None
    assert (route.to, route.name) == (("pbx",), "default")
    assert table.choose(by(Zone.CORE, "inside"), request(), None, 0.0) is None


def test_an_invalid_table() -> None:
    with pytest.raises(ValueError, match="2 sets"):
        RoutingTable([], ["a", "b"])
    with pytest.raises(ValueError, match="not a destination set"):
        RoutingTable([Route(name="r", to="nowhere")], ["a"])


def test_from_a_zone_or_a_listener() -> None:
    assert takes(a_route(from_="carriers"), request())
    assert not takes(a_route(from_="browsers"), request())
    assert takes(a_route(from_="core"), request(), Zone.CORE, "inside")
    assert not takes(a_route(), request(), Zone.CORE, "inside")


def test_methods() -> None:
    assert takes(a_route(methods=("INVITE", "REGISTER")), request(method="REGISTER"))
    assert not takes(a_route(methods=("INVITE",)), request(method="OPTIONS"))


def test_source() -> None:
    assert takes(a_route(source=("192.0.2.0/24",)), request())
    assert not takes(a_route(source=("198.51.100.0/24", "2001:db8::/32")), request())


def test_users() -> None:
    assert takes(a_route(from_user="^ali"), request())
    assert takes(a_route(from_user="^alice$"), request(from_uri="sip:alice:secret@example.com"))
    assert not takes(a_route(from_user="secret"), request(from_uri="sip:alice:secret@example.com"))
    assert takes(a_route(from_user=r"^\+49"), request(from_uri="tel:+4930"))
    assert not takes(a_route(request_user=r"^\+49"), request("+1212"))


def test_an_escape_does_not_hide_a_user() -> None:
    assert takes(a_route(request_user=r"^\+4930$"), request("%2b%34930"))


@pytest.mark.parametrize(
    "uri",
    [
        "tel:+49-30-123",
        "tel:+4930123;ext=7",
        "sip:+49(30)123@example.com;user=phone",
        "sip:+4930123;npdi;rn=+4989;phone-context=+49@example.com",
        "sip:+49%2030%20123:secret@example.com",
    ],
)
def test_a_number_matches_whatever_its_spelling(uri: str) -> None:
    assert takes(a_route(request_user=r"^\+?[0-9]{3,15}$"), request(uri=uri))
    assert takes(a_route(request_prefix=("+4930",)), request(uri=uri))
    assert takes(a_route(from_user=r"^\+4930123$"), request(from_uri=uri))


@pytest.mark.parametrize(
    ("names", "host", "matches"),
    [
        (("a.example",), "a.example", True),
        (("A.Example.",), "a.EXAMPLE", True),
        (("a.example",), "a.example.", True),
        (("a.example",), "b.a.example", False),
        (("a.example",), "xa.example", False),
        (("*.a.example",), "b.a.example", True),
        (("*.a.example",), "c.b.A.example.", True),
        (("*.a.example",), "a.example", False),
        (("*.a.example",), "ba.example", False),
        (("192.0.2.7",), "192.0.2.7", True),
        (("2001:db8::7",), "[2001:db8:0:0::7]", True),
        (("x.example", "a.example"), "a.example", True),
        (("a.example",), "192.0.2.7", False),
    ],
)
def test_hosts(names: tuple[str, ...], host: str, matches: bool) -> None:
    uri = f"sip:alice@{host}"
    assert takes(a_route(request_host=names), request(uri=uri)) is matches
    assert takes(a_route(request_host=names), request(uri=f"{uri}:5080;transport=tcp")) is matches
    assert takes(a_route(from_host=names), request(from_uri=uri)) is matches
    assert takes(a_route(to_host=names), request(to_uri=uri)) is matches


def test_a_number_without_a_host_is_of_no_domain() -> None:
    assert not takes(a_route(request_host=("a.example", "*.example")), request(uri="tel:+4930123"))
    assert not takes(a_route(from_host=("a.example",)), request(from_uri="tel:+4930123"))


@pytest.mark.parametrize("name", ["", "a b", "*", "*.", "a.example:5060", "sip:a.example", "a.*.example", "^a"])
def test_texts_that_are_no_hosts(name: str) -> None:
    for key in ("request_host", "from_host", "to_host"):
        with pytest.raises(ValueError, match="expected domains or addresses"):
            a_route(**{key: (name,)})
    with pytest.raises(ValueError, match="at most"):
        a_route(from_host=("a.example",) * (limits.DOMAINS + 1))


def test_a_pattern_for_the_written_form_of_a_number_matches_that() -> None:
    assert takes(a_route(request_user=r"^\+1-201-555"), request(uri="tel:+1-201-555-0123;phone-context=example.com"))
    assert takes(a_route(request_prefix=("+1-201",)), request(uri="sip:%2B1-201-555@example.com"))
    assert not takes(a_route(request_user=r"^\+1-201-555"), request(uri="tel:+12015550123"))


def test_headers_in_any_case() -> None:
    agent = request(extra="User-Agent: baresip v1\r\nx-tenant: blue\r\n")
    assert takes(a_route(user_agent="^baresip"), agent)
    assert takes(a_route(header={"X-Tenant": "^blue$"}), agent)
    assert not takes(a_route(header={"X-Tenant": "^red$"}), agent)
    assert not takes(a_route(header={"X-Other": ""}), agent)
    assert not takes(a_route(user_agent="^other", header={"X-Tenant": "blue"}), agent)


def test_a_text_over_the_bound_matches_nothing() -> None:
    route = a_route(user_agent="a")
    assert takes(route, request(extra=f"User-Agent: {'a' * limits.ROUTE_TEXT}\r\n"))
    assert not takes(route, request(extra=f"User-Agent: {'a' * (limits.ROUTE_TEXT + 1)}\r\n"))


def test_a_malformed_from_is_a_wire_error() -> None:
    with pytest.raises(WireError):
        takes(a_route(from_user="a"), request(from_uri="sip:a b@@"))
    with pytest.raises(WireError):
        takes(a_route(from_host=("a.example",)), request(from_uri="sip:a b@@"))
    with pytest.raises(WireError):
        takes(a_route(to_host=("a.example",)), request(to_uri="sip:a b@@"))


@pytest.mark.parametrize(
    "fields", [{"request_user": "("}, {"header": {"X": "["}}, {"source": ("10.0.0.0/33",)}, {"methods": ("invite",)}]
)
def test_an_invalid_route(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        a_route(**fields)


def test_a_prefix_of_the_number() -> None:
    route = a_route(request_prefix=("+49", "0049"))
    assert takes(route, request("+4930"))
    assert takes(route, request("004930"))
    assert takes(route, request("%2B4930"))
    assert not takes(route, request("+43"))


def test_of_a_trunk() -> None:
    route = a_route(trunk=("carrier-a", "carrier-b"))
    table = RoutingTable([route], ["pbx"])
    flow = by(Zone.PUBLIC, "carriers")
    assert table.choose(flow, request(), "carrier-b", 0.0) is route
    assert table.choose(flow, request(), "carrier-c", 0.0) is None
    assert table.choose(flow, request(), None, 0.0) is None


def test_a_route_matches_in_its_hours_in_its_time_zone() -> None:
    route = a_route(hours=("Mon-Fri 08:00-18:00",), timezone="Europe/Berlin")
    table = RoutingTable([route], ["pbx"])
    flow = by(Zone.PUBLIC, "carriers")
    for moment, holds in [
        ("2026-07-01T05:59:59+00:00", False),  # a Wednesday, 07:59 in summer time
        ("2026-07-01T06:00:00+00:00", True),
        ("2026-01-07T06:30:00+00:00", False),  # 07:30 in winter time
        ("2026-01-07T07:00:00+00:00", True),
    ]:
        assert (table.choose(flow, request(), None, datetime.fromisoformat(moment).timestamp()) is route) is holds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": ("a", "a")}, "each set once"),
        ({"to": ("a", 5)}, "list of them"),
        ({"to": 5}, "list of them"),
        ({"hours": ("Mon 8-18",)}, "Mon-Fri 08:00-18:00"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"strip": -1}, "0 to 256"),
        ({"answer": 200}, "400 to 699"),
        ({"prepend": "0 "}, "characters"),
    ],
)
def test_an_invalid_value_of_a_route(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Route(name="r", **{"to": "pbx", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["%0A", "%0D%0A", "%00", "%7F", "%C2%85"])
def test_a_number_with_a_control_character_has_no_route(end: str) -> None:
    """Neither a pattern that ends in a dollar sign, nor the route behind one that refuses, takes it."""
    for route in (
        a_route(request_user="^[0-9]+$"),
        a_route(request_user="^1"),
        a_route(request_prefix=("1",)),
        a_route(),
    ):
        assert takes(route, request("1001"))
        assert not takes(route, request(f"1001{end}"))
        assert not takes(route, request(f"10{end}01"))


def test_a_caller_with_a_control_character_matches_no_pattern() -> None:
    route = a_route(from_user="^[0-9]+")
    assert takes(route, request(from_uri="sip:1001@example.com"))
    assert not takes(route, request(from_uri="sip:1001%0A@example.com"))
    assert takes(a_route(), request(from_uri="sip:null-%00-null@example.com"))


def test_an_end_is_the_end_in_every_pattern_of_a_route() -> None:
    for route in (a_route(user_agent="^phone$"), a_route(header={"Subject": "^phone$"})):
        assert takes(route, request(extra="User-Agent: phone\r\nSubject: phone\r\n"))
        assert not takes(route, request(extra="User-Agent: phone 2\r\nSubject: phone 2\r\n"))
