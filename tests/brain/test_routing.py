"""Routes: the first that matches wins, what is given must match, long texts match nothing."""

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.errors import WireError
from edgesbc.brain.routing import Route, RoutingTable
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

PEER = Source("192.0.2.9", 5071)


def request(
    user: str = "+4930123", method: str = "INVITE", from_uri: str = "sip:alice@example.com", extra: str = ""
) -> Request:
    message = parse_message(
        f"{method} sip:{user}@edge.example SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.9:5071;branch=z9hG4bKa\r\n"
        f"From: <{from_uri}>;tag=1\r\nTo: <sip:bob@edge.example>\r\n"
        f"Call-ID: abc\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{extra}Content-Length: 0\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


def takes(route: Route, of: Request, zone: Zone = Zone.PUBLIC, listener: str = "carriers") -> bool:
    return RoutingTable([route], ["pbx"]).choose(zone, listener, of, PEER) is route


def a_route(**fields: object) -> Route:
    return Route(name="r", to="pbx", **fields)  # type: ignore[arg-type]


def test_the_first_match_wins() -> None:
    routes = [
        Route(name="numbers", to="a", request_user=r"^\+?[0-9]{3,15}$"),
        Route(name="rest", to="b"),
    ]
    table = RoutingTable(routes, ["a", "b"])
    assert table.choose(Zone.PUBLIC, "carriers", request("+4930123"), PEER) is routes[0]
    assert table.choose(Zone.PUBLIC, "carriers", request("alice"), PEER) is routes[1]
    assert table.choose(Zone.CORE, "inside", request("alice"), PEER) is None


def test_without_routes_public_goes_to_the_only_set() -> None:
    table = RoutingTable([], ["pbx"])
    route = table.choose(Zone.PUBLIC, "carriers", request(), PEER)
    assert route is not None
    assert (route.to, route.name) == ("pbx", "default")
    assert table.choose(Zone.CORE, "inside", request(), PEER) is None


def test_a_table_that_cannot_work() -> None:
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


@pytest.mark.parametrize(
    "fields", [{"request_user": "("}, {"header": {"X": "["}}, {"source": ("10.0.0.0/33",)}, {"methods": ("invite",)}]
)
def test_a_route_that_is_wrong(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        a_route(**fields)
