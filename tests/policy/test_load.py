"""Loading policies: values of a good one, and every mistake of a bad one at once."""

import re
from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone, host_port
from edgesbc.base.errors import PolicyErrors
from edgesbc.base.latch_mode import LatchMode
from edgesbc.policy.advice import advice
from edgesbc.policy.compile_policy import header_rules_of, routing_of
from edgesbc.policy.load import load_policy, parse_policy, state_dir_of
from edgesbc.policy.model import MediaAddress, Policy, PortRange, default_state_dir
from edgesbc.policy.scanners import shipped_scanners
from edgesbc.screen.pipeline import ScreenSettings
from edgesbc.screen.stages import STAGES
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.standing import Standing

SMALL = """
[[listen]]
zone = "public"
transport = "udp"
bind = "203.0.113.10:5060"
[[listen]]
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"
[[destinations]]
set = "pbx"
members = [{ uri = "sip:10.0.0.11:5060" }]
"""

FULL = r"""
[edge]
name = "edge-1"
state_dir = "/var/lib/edgesbc"
planes = "tasks"

[[listen]]
name = "carriers"
zone = "public"
transport = "udp"
bind = "203.0.113.10:5060"
advertise = "sip.example.com:5060"
[[listen]]
name = "browsers"
zone = "public"
transport = "wss"
bind = "203.0.113.10:443"
certificate = "certs/example.com"
client_ca = "/etc/carriers.pem"
origins = ["https://phone.example.com"]
[[listen]]
name = "inside"
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"

[[trunk]]
name = "carrier-a"
addresses = ["198.51.100.0/28", "203.0.113.77:5060"]
tls_names = ["sip.carrier-a.example"]
max_calls = 200
max_cps = 20

[screen]
mode = "enforce"
stages = ["acl", "pike", "ratelimit", "sanity", "scanner", "method"]
[screen.acl]
deny = ["192.0.2.0/24"]
[screen.pike]
sampling_time_unit = 2
reqs_density_per_unit = 30
remove_latency = 120
[[screen.ratelimit]]
name = "invites-per-source"
key = "source"
methods = ["INVITE"]
rate = 5
burst = 10

[[destinations]]
set = "pbx"
algorithm = "weighted"
members = [
  { uri = "sip:10.0.0.11:5060", weight = 70, priority = 0, max_calls = 400 },
  { uri = "sip:10.0.0.12:5060", weight = 30, priority = 0, max_calls = 200 },
]
[destinations.health]
interval = 5
timeout = 1
fall = 2
rise = 2

[[route]]
name = "numbers"
from = "public"
methods = ["INVITE"]
request_user = '^\+?[0-9]{3,15}$'
to = "pbx"

[media]
engine = "builtin"
ports = "30000-39999"
address = { public = "203.0.113.10", core = "10.0.0.1" }

[observe]
http = "127.0.0.1:8080"
"""


def parse(text: str, file: str = "/etc/edgesbc/policy.toml") -> Policy:
    return parse_policy(text, file)


def mistakes(text: str) -> dict[str, str]:
    """Key and message of every mistake."""
    with pytest.raises(PolicyErrors) as raised:
        parse(text)
    assert {error.file for error in raised.value.errors} == {"/etc/edgesbc/policy.toml"}
    return {error.key: error.message for error in raised.value.errors}


def test_a_small_policy_has_the_defaults() -> None:
    policy = parse(SMALL)
    public, core = policy.listen
    assert (public.name, public.zone, public.transport) == ("public-udp-5060", Zone.PUBLIC, Transport.UDP)
    assert (core.name, core.bind, core.advertise) == ("core-udp-5060", Source("10.0.0.1", 5060), None)
    shipped = ScannerSettings(list=shipped_scanners())
    assert policy.screen == ScreenSettings(scanner=shipped)
    assert policy.media.address == MediaAddress("203.0.113.10", "10.0.0.1")
    assert policy.observe.http == Source("127.0.0.1", 8080)
    assert (policy.edge.planes, policy.edge.grace, policy.route, policy.trunk) == ("processes", 30.0, (), ())
    assert policy.file == "/etc/edgesbc/policy.toml"


def test_a_full_policy() -> None:
    policy = parse(FULL)
    carriers, browsers, _ = policy.listen
    assert carriers.advertise == Source("sip.example.com", 5060)
    assert browsers.certificate == Path("/etc/edgesbc/certs/example.com")
    assert browsers.client_ca == Path("/etc/carriers.pem")
    assert policy.trunk[0].max_cps == 20.0
    assert policy.screen.acl.deny == ("192.0.2.0/24",)
    assert [bucket.rate for bucket in policy.screen.ratelimit] == [5.0]
    assert [member.weight for member in policy.destinations[0].members] == [70, 30]
    assert policy.destinations[0].health.interval == 5.0
    assert (policy.route[0].from_, policy.route[0].methods) == ("public", ("INVITE",))
    assert policy.media.ports == PortRange(30000, 39999)


def test_every_mistake_at_once_with_its_key() -> None:
    messages = mistakes(
        """
edg = 1
[edge]
nam = "x"
planes = "threads"
grace = "long"
[[listen]]
zone = "publik"
transport = 5
bind = "0.0.0.0"
[[listen]]
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"
advertize = "x"
[[trunk]]
name = "t"
addresses = "10.0.0.1"
[screen.pike]
sampling_time_unit = 0
densty = 3
[[screen.ratelimit]]
rate = true
[[destinations]]
set = "pbx"
algorithm = "fastest"
members = [{ uri = "sip:pbx..local", weight = 0 }, { uri = "sip:10.0.0.1", wieght = 3 }, {}, 5]
health = { interval = "5", failed_on = [503, "x", 200] }
[[route]]
to = "nowhere"
request_user = "("
header = { X = 1 }
[media]
ports = "1-2"
address = { public = "x", cor = "1" }
[observe]
http = "0.0.0.0:80"
log = "loud"
"""
    )
    expected = {
        "edg": "did you mean 'edge'?",
        "edge.nam": "did you mean 'name'?",
        "edge.planes": "expected one of tasks, processes; found 'threads'",
        "edge.grace": "expected a number, found 'long'",
        "listen[0].zone": "expected one of public, core; found 'publik'",
        "listen[0].transport": "expected one of udp, tcp, tls, ws, wss; found 5",
        "listen[0].bind": "expected HOST:PORT",
        "listen[1].advertize": "did you mean 'advertise'?",
        "trunk[0].addresses": "expected a list, found '10.0.0.1'",
        "screen.pike.sampling_time_unit": "expected a number above 0",
        "screen.pike.densty": "expected one of sampling_time_unit",
        "screen.ratelimit[0].name": "is missing",
        "screen.ratelimit[0].rate": "expected a number, found true",
        "destinations[0].algorithm": "expected one of broadcast, fewest-calls, hash, latency",
        "destinations[0].members[0].uri": "host name",
        "destinations[0].members[0].weight": "expected a number from 1 to",
        "destinations[0].members[1].wieght": "did you mean 'weight'?",
        "destinations[0].members[2].uri": "is missing",
        "destinations[0].members[3]": "expected a table, found 5",
        "destinations[0].health.interval": "expected a number, found '5'",
        "destinations[0].health.failed_on[1]": "expected a whole number, found 'x'",
        "route[0].name": "is missing",
        "route[0].request_user": "expected a regular expression",
        "route[0].header.X": "expected a text, found 1",
        "media.ports": "at least 8 ports",
        "media.address.public": "expected a literal IP address",
        "media.address.cor": "did you mean 'core'?",
        "observe.http": "expected a loopback address",
        "observe.log": "expected one of debug",
    }
    assert {key: message for key, message in messages.items() if expected.get(key, "\0") not in message} == {}
    assert messages.keys() == expected.keys()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("grace = 1e400", "edge.grace"),
        (f"grace = {10**400}", "edge.grace"),
        ("grace = nan", "edge.grace"),
        ("grace = 1979-05-27", "edge.grace"),
        ("name = 7", "edge.name"),
        ("name = ['x']", "edge.name"),
        ("name = 'a b'", "edge.name"),
        ('server = "a\\r\\nX: y"', "edge.server"),
        ("state_dir = ''", "edge.state_dir"),
        ('state_dir = "a\\u0000b"', "edge.state_dir"),
        ("planes = 'threads'", "edge.planes"),
        ("resolvers = '127.0.0.53'", "edge.resolvers"),
        ("resolvers = ['dns.example.com']", "edge.resolvers"),
        ("resolvers = ['127.0.0.53:0']", "edge.resolvers"),
        ("resolvers = ['224.0.0.251:5353']", "edge.resolvers"),
        ("resolvers = [53]", "edge.resolvers[0]"),
        (f"resolvers = {['127.0.0.53'] * (limits.NAME_SERVERS + 1)}", "edge.resolvers"),
    ],
)
def test_invalid_values_of_edge(line: str, key: str) -> None:
    assert list(mistakes(f"[edge]\n{line}\n{SMALL}")) == [key]


@pytest.mark.parametrize("section", ["edge", "screen", "media", "observe", "change"])
def test_a_section_that_is_no_table(section: str) -> None:
    assert mistakes(f"{section} = 3\n{SMALL}") == {section: "expected a table, found 3"}


@pytest.mark.parametrize("section", ["trunk", "route"])
def test_a_section_that_is_no_list(section: str) -> None:
    assert list(mistakes(f"[{section}]\n{SMALL}")) == [section]


@pytest.mark.parametrize(
    "line",
    ["engine = 'x'", "timeout = 1", "ports = 3", "latch = 'loose'", "unknown_profiles = 3"],
)
def test_invalid_values_of_media(line: str) -> None:
    assert list(mistakes(f"{SMALL}[media]\n{line}")) == [f"media.{line.split(' ')[0]}"]


def test_name_servers_with_and_without_a_port() -> None:
    text = 'resolvers = ["127.0.0.53", "127.0.0.1:5353", "[2001:db8::53]", "[::1]:5353"]'
    assert parse(f"{SMALL}[edge]\n{text}").edge.name_servers == [
        Source("127.0.0.53", 53),
        Source("127.0.0.1", 5353),
        Source("2001:db8::53", 53),
        Source("::1", 5353),
    ]
    assert parse(SMALL).edge.name_servers == []


@pytest.mark.parametrize(
    "line",
    ["settle = 601", "settle = -1", "failure_rise = 0", "failure_rise = 101", "least_calls = 0", "least_calls = 1.5"],
)
def test_invalid_values_of_change(line: str) -> None:
    assert list(mistakes(f"{SMALL}[change]\n{line}")) == [f"change.{line.split(' ')[0]}"]


def test_http_can_be_off() -> None:
    assert parse(f'{SMALL}[observe]\nhttp = ""').observe.http is None


@pytest.mark.parametrize("text", ["[edge", "a = 1\na = 2", "x = " + "[" * 5000, "x = " + "9" * 5000])
def test_a_text_that_is_not_toml(text: str) -> None:
    assert list(mistakes(text)) == [""]


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(FULL)
    assert load_policy(str(file)).listen[1].certificate == tmp_path / "certs" / "example.com"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"# caf\xe9", "UTF-8, found the byte 0xe9 at 5"),
        (b"#" * (limits.POLICY_BYTES + 1), "at most"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, data: bytes | None, message: str) -> None:
    file = tmp_path / "policy.toml"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(PolicyErrors, match=message):
        load_policy(file)
    with pytest.raises(PolicyErrors, match="Is a directory"):
        load_policy(tmp_path)


def test_ten_lines_make_a_webrtc_ingress() -> None:
    policy = parse_policy(
        """
        [[listen]]
        zone = "public"
        transport = "wss"
        bind = "0.0.0.0:443"
        certificate = "certs/edge"
        [[listen]]
        zone = "core"
        transport = "udp"
        bind = "10.0.0.1:5060"
        [[destinations]]
        set = "pbx"
        members = [{ uri = "sip:10.0.0.11:5060" }]
        """,
        "ten.toml",
    )
    assert policy.screen.stages == tuple(STAGES)
    assert policy.screen.admission.open == ()
    assert policy.media.address.core == ("10.0.0.1",)
    assert policy.media.address.public == ("0.0.0.0",)  # the edge finds its own when it starts


def test_the_state_directory_of_a_policy_with_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text('[edge]\nstate_dir = "state"\n[[listen]]\nzone = 7\n[nothing]\n')
    assert state_dir_of(file) == tmp_path / "state"
    file.write_text("[[listen]]\nzone = 7\n")
    assert state_dir_of(file) == default_state_dir()


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("edge = 7", "edge: expected"),
        ("[edge]\nstate_dri = 'x'", "edge.state_dri: unknown key; did you mean 'state_dir'?"),
        ("[edge]\nstate_dir = 7", "edge.state_dir: expected"),
        ("[edge", "expected TOML: "),
    ],
)
def test_a_policy_whose_state_directory_is_unknown(text: str, mistake: str, tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    with pytest.raises(PolicyErrors) as caught:
        state_dir_of(file)
    assert str(caught.value.errors[0]).startswith(f"{file}: {mistake}")


def test_header_fields_that_the_policy_adds() -> None:
    added = parse_policy(f'{SMALL}[headers]\ntrunk = ["P-Charge-Info", "x-account"]\n', "p.toml")
    assert added.headers.trunk == ("P-Charge-Info", "x-account")
    assert header_rules_of(added).inward(Standing.TRUNK).crossing([("X-Account", "1")]) == [("X-Account", "1")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('["Via"]', "the edge writes its own"),
        ('["m"]', "the edge writes its own"),
        ('["p-asserted-identity"]', "from trunks, and from nobody else"),
        ('["X Y"]', "expected names of header fields"),
        (str([f"X-{number}" for number in range(65)]), "expected at most 64 names"),
    ],
)
def test_header_fields_that_it_cannot_add(value: str, message: str) -> None:
    with pytest.raises(PolicyErrors, match=message):
        parse_policy(f"{SMALL}[headers]\nunregistered = {value}\n", "p.toml")


def test_bodies_that_the_policy_adds_and_peers_that_are_redirected() -> None:
    text = '[headers]\nredirects = ["trunk"]\n[bodies]\nregistered = ["Application/PIDF+xml"]\n'
    added = parse_policy(f"{SMALL}{text}", "p.toml")
    rules = header_rules_of(added)
    assert rules.bodies.of(Standing.REGISTERED).passes("application/pidf+xml", True)
    assert not rules.bodies.of(Standing.REACHABLE).passes("application/pidf+xml", True)
    assert rules.redirected == {Standing.TRUNK}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[bodies]\ntrunk = ["isup"]', "bodies.trunk: expected media types as TYPE/SUBTYPE without parameters, found"),
        ('[bodies]\ntrunk = ["a/b;c=d"]', "expected media types as TYPE/SUBTYPE without parameters"),
        ('[bodies]\ntrunk = ["a/b "]', "expected media types as TYPE/SUBTYPE without parameters"),
        ('[bodies]\ntrunk = ["Application/SDP"]', "expected types of bodies besides descriptions"),
        ('[bodies]\ntrunk = ["multipart/mixed"]', "expected types of bodies besides descriptions"),
        (f"[bodies]\ntrunk = {[f'a/{number}' for number in range(65)]}", "expected at most 64 media types"),
        ('[headers]\nredirects = ["unregistered"]', 'redirects: expected "registered" or "trunk"'),
    ],
)
def test_bodies_and_redirections_that_it_cannot_have(text: str, message: str) -> None:
    with pytest.raises(PolicyErrors, match=message):
        parse_policy(f"{SMALL}{text}\n", "p.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('names = ["sip:example.com"]', "expected domains or addresses without a port"),
        ('names = ["example.com:5060"]', "expected domains or addresses without a port"),
        ('names = ["*.example.com"]', "expected domains or addresses without a port"),
        ('names = ["a b"]', "expected domains or addresses without a port"),
        ("answer = 200", "expected 403 or 404, found 200"),
        (f"names = {[f'{number}.example' for number in range(1025)]}", "expected at most 1024 domains"),
    ],
)
def test_domains_with_mistakes(text: str, message: str) -> None:
    with pytest.raises(PolicyErrors, match=message):
        parse_policy(f"{SMALL}[domains]\n{text}\n", "p.toml")


def test_domains() -> None:
    names = ["example.com", "_sip.example", "localhost", "192.0.2.1", "2001:db8::1", "[2001:db8::2]", "example.org."]
    policy = parse_policy(f"{SMALL}[domains]\nnames = {names}\n", "p.toml")
    table = routing_of(policy)
    for host in ("example.com", "192.0.2.1", "2001:db8:0::2", "example.org", "LOCALHOST"):
        assert table.serves(host)
    assert not table.serves("example.net")
    assert list(advice(policy)) == []
    assert [line for line in advice(parse_policy(SMALL, "p.toml")) if line.startswith("[domains] names no domain")]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ('"203.0.113.11"', ("203.0.113.11",)),
        ('["203.0.113.11"]', ("203.0.113.11",)),
        ('["[2001:DB8::11]", "203.0.113.11"]', ("2001:db8::11", "203.0.113.11")),
    ],
)
def test_a_side_has_a_media_address_or_one_of_each_family(value: str, address: tuple[str, ...]) -> None:
    policy = parse_policy(f"{SMALL}[media.address]\npublic = {value}\n", "p.toml")
    assert policy.media.address == MediaAddress(address, ("10.0.0.1",))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('["203.0.113.11", "203.0.113.12"]', "one of IPv4 and one of IPv6, found 203.0.113.11, 203.0.113.12"),
        ('["2001:db8::1", "2001:db8::2"]', "one of IPv4 and one of IPv6, found 2001:db8::1, 2001:db8::2"),
        ('["203.0.113.11", "2001:db8::1", "10.0.0.1"]', "one of IPv4 and one of IPv6"),
        ("[]", "one of IPv4 and one of IPv6, found none"),
        ('["203.0.113.11", "::"]', "the address that media is sent to, found '::'"),
        ('["0.0.0.0"]', "the address that media is sent to, found '0.0.0.0'"),
        ('["203.0.113.11", "ff02::1"]', "the address that media is sent to"),
        ('"fe80::1"', "the address that media is sent to, found 'fe80::1'"),
        ('["203.0.113.11", 6]', "a text, found 6"),
        ('["media.example.com"]', "a literal IP address, found 'media.example.com'"),
    ],
)
def test_media_addresses_with_mistakes(value: str, message: str) -> None:
    with pytest.raises(PolicyErrors, match=re.escape(message)) as errors:
        parse_policy(f"{SMALL}[media.address]\npublic = {value}\n", "p.toml")
    assert [error.key for error in errors.value.errors] == ["media.address.public"]


@pytest.mark.parametrize(
    ("binds", "address"),
    [
        (["203.0.113.10"], ("203.0.113.10",)),
        (["203.0.113.10", "203.0.113.11", "2001:db8::10", "2001:db8::11"], ("203.0.113.10", "2001:db8::10")),
        (["2001:db8::10", "203.0.113.10"], ("2001:db8::10", "203.0.113.10")),
        (["0.0.0.0", "2001:db8::10"], ("0.0.0.0", "2001:db8::10")),
        (["203.0.113.10", "fe80::1"], ("203.0.113.10",)),
    ],
)
def test_the_default_media_addresses_are_those_of_the_first_listener_of_each_family(
    binds: list[str], address: tuple[str, ...]
) -> None:
    more = "".join(
        f'[[listen]]\nzone = "public"\ntransport = "tcp"\nname = "t{number}"\n'
        f'bind = "{host_port(host, 5061)}"\nadvertise = "sip.example.com"\n'
        for number, host in enumerate(binds)
    )
    core = SMALL[SMALL.index('[[listen]]\nzone = "core"') :]
    assert parse_policy(f"{more}{core}", "p.toml").media.address == MediaAddress(address, ("10.0.0.1",))


def test_advice_where_listeners_have_a_family_that_media_has_not() -> None:
    six = '[[listen]]\nzone = "public"\ntransport = "udp"\nbind = "[2001:db8::10]:5060"\nname = "six"\n'
    text = SMALL.replace("[[destinations]]", f"{six}[[destinations]]", 1)
    one = '[media.address]\npublic = "203.0.113.10"\n'

    def advised(more: str) -> list[str]:
        return [line for line in advice(parse_policy(text + more, "p.toml")) if "media" in line]

    assert advised("") == []
    assert advised('[media.address]\npublic = ["203.0.113.10", "2001:db8::10"]\n') == []
    (line,) = advised(one)
    assert "the public listener six has IPv6" in line
    assert "[media.address] public" in line
    assert advised(f'{one}[media]\nengine = "none"\n') == []


def test_advice_about_rtpengines() -> None:
    def found(more: str) -> list[str]:
        return [line for line in advice(parse_policy(SMALL + more, "p.toml")) if "rtpengine" in line]

    one = '[[media.rtpengine]]\naddress = "10.0.0.21:2223"\n'
    assert found("") == []
    assert found(one) == ['[[media.rtpengine]] has no effect with [media] engine = "builtin"']
    (sentence,) = found(f'[media]\nengine = "rtpengine"\n{one}')
    for key in ("ports", "hold_timeout", "one_way", "one_way_timeout", "kernel", "relays", "latch"):
        assert f" {key}" in sentence
    for host in ("127.0.0.1", "[::1]"):
        assert len(found(f'[media]\nengine = "rtpengine"\n{one.replace("10.0.0.21", host)}')) == 1
    public = found(f'[media]\nengine = "rtpengine"\n{one.replace("10.0.0.21", "203.0.113.21")}')
    assert "203.0.113.21:2223 has no private address" in public[1]


def test_advice_about_routes_for_hosts_that_are_not_served() -> None:
    def advised(
        hosts: str, listener: str = "public", domains: str = '[domains]\nnames = ["example.com"]\n'
    ) -> list[str]:
        route = f'[[route]]\nname = "in"\nfrom = "{listener}"\nto = "pbx"\nrequest_host = [{hosts}]\n'
        return [line for line in advice(parse_policy(SMALL + route + domains, "p.toml")) if "the route in" in line]

    (line,) = advised('"example.com", "Example.org."')
    assert line.startswith("the route in is for Example.org., which is not in [domains] names")
    assert "get 404" in line
    (line,) = advised('"*.example.com"')  # example.com itself is not below it
    assert "*.example.com" in line
    assert advised('"*.example.com"', domains='[domains]\nnames = ["a.example.com"]\n') == []
    assert advised('"EXAMPLE.com", "203.0.113.10"') == []  # the latter is the address of the edge
    assert advised('"example.org"', listener="core") == []
    assert advised('"example.org"', domains="") == []


def test_advice_about_the_private_side() -> None:
    public = SMALL.replace("10.0.0.1:5060", "198.51.100.1:5060")
    assert any("core listener core-udp-5060" in line for line in advice(parse_policy(public, "p.toml")))
    wide = parse_policy(f'{public}[core]\nallow = ["0.0.0.0/0"]\n', "p.toml")
    assert any("anybody who reaches" in line for line in advice(wide))
    assert not any("core listener core-udp-5060" in line for line in advice(wide))


@pytest.mark.parametrize(
    ("public", "core", "advised"),
    [
        ("203.0.113.10", "10.0.0.1", ""),
        ("0.0.0.0", "10.0.0.1", "because the public listener public-udp-5060 is bound to a wildcard"),
        ("[::]", "10.0.0.1", "because the public listener public-udp-5060 is bound to a wildcard"),
        ("203.0.113.10", "0.0.0.0", "the core listener core-udp-5060 is bound to a wildcard"),
        ("0.0.0.0", "127.0.0.2", ""),
    ],
)
@pytest.mark.parametrize("device", ["", "eth1", "any"])
def test_advice_where_packets_may_come_by_the_public_device(public: str, core: str, advised: str, device: str) -> None:
    text = SMALL.replace('"203.0.113.10:5060"', f'"{public}:5060"\nadvertise = "203.0.113.10"')
    text = text.replace('"10.0.0.1:5060"', f'"{core}:5070"\nadvertise = "10.0.0.1"\nname = "core-udp-5060"')
    text = text.replace('advertise = "10.0.0.1"', f'advertise = "10.0.0.1"\ndevice = "{device}"')
    lines = [line for line in advice(parse_policy(text, "p.toml")) if "wildcard" in line]
    assert [advised in line for line in lines] == ([True] if advised and not device else [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[core]\nallow = ["pbx.example"]', "expected addresses or prefixes"),
        (f"[core]\nallow = {['10.0.0.1/32'] * 257}", "expected at most 256 prefixes"),
        (
            '[[listen]]\nzone = "core"\ntransport = "tcp"\nbind = "10.0.0.1:0"\ndevice = "a/b"',
            "the name of a network device",
        ),
        (
            '[[listen]]\nzone = "core"\ntransport = "tcp"\nbind = "10.0.0.1:0"\ndevice = "0123456789abcdef"',
            "network device",
        ),
    ],
)
def test_the_private_side_with_mistakes(text: str, message: str) -> None:
    with pytest.raises(PolicyErrors, match=message):
        parse_policy(f"{SMALL}{text}\n", "p.toml")


def test_modes_of_the_latch_for_a_trunk_a_set_and_all_others() -> None:
    policy = parse_policy(SMALL, "p.toml")
    assert policy.media.latch is LatchMode.STRICT
    assert [one.latch for one in (*policy.trunk, *policy.destinations)] == [None] * len(policy.destinations)
    text = SMALL.replace("[[destinations]]", '[[destinations]]\nlatch = "symmetric-off"', 1)
    trunk = '[[trunk]]\nname = "a"\naddresses = ["192.0.2.1"]\nlatch = "roaming"\n'
    policy = parse_policy(f'{text}{trunk}[media]\nlatch = "roaming"\n', "p.toml")
    assert policy.media.latch is policy.trunk[0].latch is LatchMode.ROAMING
    assert policy.destinations[0].latch is LatchMode.SYMMETRIC_OFF
    wrong = trunk.replace("roaming", "loose")
    message = "expected one of strict, symmetric-off, roaming; found 'loose'"
    assert mistakes(f"{SMALL}{wrong}") == {"trunk[0].latch": message}


@pytest.mark.parametrize("names", [("UDP/BFCP",), ("udp",), ("UDP/XYZ", "UDP/x.y-z/1")])
def test_profiles_that_are_relayed_unknown(names: tuple[str, ...]) -> None:
    policy = parse_policy(f"{SMALL}[media]\nunknown_profiles = {list(names)}\n", "p.toml")
    assert policy.media.unknown_profiles == names


@pytest.mark.parametrize(
    "name",
    ["UDP/TLS/RTP/SAVPF", "UDP/DTLS/SCTP", "TCP/MSRP", "RTP/AVP", "UDP/ X", "", "UDP//X", "UDP/TCP", "UDP/RTP/X"],
)
def test_profiles_that_cannot_be_relayed_unknown(name: str) -> None:
    with pytest.raises(PolicyErrors, match="expected profiles over UDP without a handshake"):
        parse_policy(f"{SMALL}[media]\nunknown_profiles = [{name!r}]\n", "p.toml")


def test_an_advertised_media_address_of_each_family() -> None:
    assert parse_policy(SMALL, "p.toml").media.advertise == MediaAddress()
    both = '[media.address]\npublic = ["172.31.0.5", "2001:db8::5"]\n'
    shown = '[media.advertise]\npublic = ["203.0.113.10", "2001:db8:9::1"]\n'
    policy = parse_policy(f"{SMALL}{both}{shown}", "p.toml")
    assert policy.media.advertise == MediaAddress(["203.0.113.10", "2001:db8:9::1"], ())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"2001:db8::1"', "expected an address of a family that media of that side has (IPv4), found '2001:db8::1'"),
        ('["203.0.113.1", "203.0.113.2"]', "expected one address, or one of IPv4 and one of IPv6"),
        ('"media.example.com"', "expected a literal IP address, found 'media.example.com'"),
    ],
)
def test_advertised_media_addresses_with_mistakes(value: str, message: str) -> None:
    found = mistakes(f"{SMALL}[media.advertise]\npublic = {value}\n")
    assert list(found) == ["media.advertise.public"]
    assert found["media.advertise.public"].startswith(message)


@pytest.mark.parametrize(
    ("advertised", "media", "advised"),
    [
        ("203.0.113.99", "", True),
        ("sip.example.com:5060", "", True),
        ("", "", False),
        ("10.9.9.9", "", False),
        ("203.0.113.99", '[media.advertise]\npublic = "203.0.113.99"', False),
        ("203.0.113.99", '[media.address]\npublic = "203.0.113.50"', False),
        ("203.0.113.99", '[media]\nengine = "none"', False),
    ],
)
def test_advice_where_a_listener_advertises_an_address_and_media_shows_a_private_one(
    advertised: str, media: str, advised: bool
) -> None:
    own = 'bind = "172.31.0.5:5060"'
    text = SMALL.replace('bind = "203.0.113.10:5060"', f'{own}\nadvertise = "{advertised}"' if advertised else own, 1)
    found = [line for line in advice(parse_policy(f"{text}{media}\n", "p.toml")) if "[media.advertise]" in line]
    assert len(found) == advised
    assert all("private address 172.31.0.5" in line for line in found)
