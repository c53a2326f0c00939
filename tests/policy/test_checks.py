"""Checks across sections: each mistake in an otherwise good policy is the only one named."""

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.policy.load import parse_policy

GOOD = """
[[listen]]
name = "carriers"
zone = "public"
transport = "udp"
bind = "203.0.113.10:5060"
[[listen]]
name = "browsers"
zone = "public"
transport = "wss"
bind = "203.0.113.10:443"
[[listen]]
name = "inside"
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"
[[trunk]]
name = "carrier-a"
addresses = ["198.51.100.7"]
[[destinations]]
set = "pbx"
members = [{ uri = "sip:10.0.0.11" }]
[[destinations]]
set = "backup"
members = [{ uri = "sip:10.0.0.12", socket = "inside" }]
[[route]]
name = "numbers"
from = "carriers"
to = "pbx"
"""


def mistakes(text: str) -> dict[str, str]:
    try:
        parse_policy(text, "policy.toml")
    except PolicyErrors as error:
        return {mistake.key: mistake.message for mistake in error.errors}
    return {}


ENGINE = '[media]\nengine = "rtpengine"\n'
ONE = '[[media.rtpengine]]\naddress = "10.0.0.21:2223"\n'


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (ENGINE + ONE, "", ""),
        (ENGINE, "media.rtpengine", "at least one [[media.rtpengine]]"),
        (ONE, "", ""),  # prepared, and not in use
        (ENGINE + ONE + ONE, "media.rtpengine[1].address", "which media.rtpengine[0].address has"),
        (ENGINE + ONE + 'public = "pub"', "media.rtpengine[0]", "both interfaces"),
        (ENGINE + 'kernel = "require"\n' + ONE, "media.kernel", 'expected "off" or "auto"'),
        (ENGINE + 'kernel = "auto"\n' + ONE, "", ""),
        (ENGINE + ONE.replace("10.0.0.21:2223", "pbx.example:2223"), "media.rtpengine[0].address", "literal address"),
        (ENGINE + ONE.replace("10.0.0.21:2223", "10.0.0.21:0"), "media.rtpengine[0].address", "literal address"),
        (ENGINE + ONE.replace("10.0.0.21:2223", "0.0.0.0:2223"), "media.rtpengine[0].address", "literal address"),
        (ENGINE + ONE + "weight = 0", "media.rtpengine[0].weight", "1"),
        (ENGINE + ONE + 'public = "a/b"\ncore = "c"', "media.rtpengine[0].public", "interface"),
    ],
)
def test_rtpengines(text: str, key: str, message: str) -> None:
    found = mistakes(GOOD + text)
    assert list(found) == [key] * bool(key)
    assert message in found.get(key, "")


def test_the_number_of_rtpengines_is_bounded() -> None:
    text = "".join(ONE.replace(":2223", f":{3000 + n}") for n in range(limits.NG_ENGINES + 1))
    assert list(mistakes(GOOD + ENGINE + text)) == ["media.rtpengine"]


def test_the_base_policy_has_no_mistakes() -> None:
    assert mistakes(GOOD) == {}


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ('name = "browsers"', 'name = "carriers"', "listen[1].name", "which listen[0].name has"),
        ('name = "browsers"', 'name = "core"', "listen[1].name", "means a whole zone"),
        ("203.0.113.10:443", "203.0.113.10:5060", "", ""),  # tcp and udp: no mistake
        ("10.0.0.1:5060", "203.0.113.10:5060", "listen[2].bind", "listen[0] has 203.0.113.10:5060"),
        ("10.0.0.1:5060", "203.0.113.10:0", "", ""),
        ("203.0.113.10:443", "[::]:443", "", ""),  # browsers find their way back over the connection
        ('"wss"', '"wss"\ncertificate = "x"\nclient_ca = "y"\norigins = ["https://a.example"]', "", ""),
        ('"wss"', '"wss"\norigins = ["a.example/x"]', "listen[1].origins[0]", "https://host"),
        ('"wss"', '"wss"\nproxy_protocol = ["10.0.0.20", "10.1.0.0/24"]', "", ""),
        ('"wss"', '"wss"\nproxy_protocol = ["0.0.0.0/0"]', "listen[1].proxy_protocol[0]", "your balancers"),
        ('"wss"', '"wss"\nproxy_protocol = ["lb"]', "listen[1].proxy_protocol", "addresses or prefixes"),
        ('"udp"\nbind = "10', '"udp"\nproxy_protocol = ["a"]\nbind = "10', "listen[2].proxy_protocol", "prefixes"),
        ('"udp"\nbind = "10', '"udp"\nproxy_protocol = ["::1"]\nbind = "10', "listen[2].proxy_protocol", "is udp"),
        ('"wss"', '"tls"\nping = 30', "listen[1].ping", "ws and wss"),
        ('"wss"', '"wss"\nping = 2', "listen[1].ping", "5 to 600 seconds, or 0 for never, found 2"),
        ('"wss"', '"wss"\nping = 0', "", ""),
        ('"wss"', '"wss"\nidle_unregistered = 1', "", ""),
        ('"wss"', '"wss"\nidle_unregistered = 900', "", ""),
        ('"wss"', '"wss"\nidle_unregistered = 0.5', "listen[1].idle_unregistered", "1 to 900 seconds, found 0.5"),
        ('"wss"', '"wss"\nidle_unregistered = 901', "listen[1].idle_unregistered", "1 to 900 seconds, found 901"),
        ('"wss"', '"udp"\nidle_unregistered = 60', "listen[1].idle_unregistered", "this is udp of zone public"),
        ('"wss"', '"wss"\nicmp_from_routers = true', "listen[1].icmp_from_routers", "wss of zone public"),
        ('"wss"', '"tls"\norigins = ["https://a.example"]', "listen[1].origins", "ws and wss"),
        ('"wss"', '"ws"\ncertificate = "x"', "listen[1].certificate", "tls and wss"),
        ('"wss"', '"tcp"\nclient_ca = "x"', "listen[1].client_ca", "tls and wss"),
        ('"wss"', '"wss"\nadvertise = "a b"', "listen[1].advertise", "host name or address"),
        ('["198.51.100.7"]', "[]", "trunk[0]", "found neither"),
        ('["198.51.100.7"]', '[]\ntls_names = ["a.example"]', "trunk[0].tls_names", "client_ca"),
        (
            "[[trunk]]",
            '[[trunk]]\nname = "carrier-a"\naddresses = ["192.0.2.1"]\n[[trunk]]',
            "trunk[1].name",
            "of its own",
        ),
        ('set = "backup"', 'set = "pbx"', "destinations[1].set", "of its own"),
        (
            '{ uri = "sip:10.0.0.11" }',
            '{ uri = "sip:10.0.0.11" }, { uri = "sip:10.0.0.11:5060;lr" }',
            "destinations[0].members[1].uri",
            "members[0] again",
        ),
        ("sip:10.0.0.11", "sip:10.0.0.1", "destinations[0].members[0].uri", "listener inside of this edge"),
        ("sip:10.0.0.11", "sip:203.0.113.10:5060", "destinations[0].members[0].uri", "listener carriers of this"),
        ("sip:10.0.0.11", "sip:10.0.0.11;transport=tcp", "destinations[0].members[0].uri", "core with tcp over IPv4"),
        ('socket = "inside"', 'socket = "outside"', "destinations[1].members[0].socket", "name of a listener"),
        ('socket = "inside"', 'socket = "browsers"', "destinations[1].members[0].socket", "found 'browsers' with wss"),
        ('socket = "inside"', 'socket = "carriers"', "", ""),
        ("sip:10.0.0.11", "sip:[2001:db8::1]", "destinations[0].members[0].uri", "zone core with udp over IPv6"),
        ("sip:10.0.0.12", "sip:[2001:db8::1]", "destinations[1].members[0].socket", "'inside' with udp over IPv4"),
        ('to = "pbx"', 'to = "pbz"', "route[0].to", "(backup, pbx), found 'pbz'"),
        ('from = "carriers"', 'from = "core"', "", ""),
        ('from = "carriers"', 'from = "caries"', "route[0].from", "(browsers, carriers, core, inside, public)"),
        ("[[route]]", '[[route]]\nname = "numbers"\nto = "pbx"\n[[route]]', "route[1].name", "of its own"),
    ],
)  # fmt: skip
def test_one_mistake_is_the_only_one_named(old: str, new: str, key: str, message: str) -> None:
    assert old in GOOD
    messages = mistakes(GOOD.replace(old, new, 1))
    assert list(messages) == ([key] if key else [])
    assert message in messages.get(key, "")


def test_a_trunk_names_existing_public_listeners() -> None:
    good = GOOD.replace(
        'addresses = ["198.51.100.7"]', 'addresses = ["198.51.100.7"]\nlisteners = ["carriers", "NAME"]'
    )
    assert parse_policy(good.replace("NAME", "browsers"), "edge.toml").trunk[0].listeners == ("carriers", "browsers")
    for name in ("inside", "carier"):
        assert mistakes(good.replace("NAME", name)) == {
            "trunk[0].listeners[1]": f"expected a public listener (browsers, carriers), found {name!r}"
        }


def test_an_acl_names_an_existing_public_listener() -> None:
    def acl(name: str) -> str:
        return f'{GOOD}\n[[screen.acl.listeners]]\nname = "{name}"\ndeny = ["192.0.2.0/24"]\n'

    assert parse_policy(acl("browsers"), "edge.toml").screen.acl.listeners[0].deny == ("192.0.2.0/24",)
    for name in ("inside", "carier"):
        assert mistakes(acl(name)) == {
            "screen.acl.listeners[0].name": f"expected a public listener (browsers, carriers), found {name!r}"
        }


def test_a_wildcard_needs_an_advertised_address() -> None:
    text = GOOD.replace('"203.0.113.10:5060"', '"0.0.0.0:5070"')
    assert list(mistakes(text)) == ["listen[0].advertise"]
    assert mistakes(text.replace('"0.0.0.0:5070"', '"0.0.0.0:5070"\nadvertise = "sip.example.com"')) == {}


def test_a_wildcard_uses_the_port_of_every_address() -> None:
    text = GOOD.replace('"10.0.0.1:5060"', '"0.0.0.0:5060"\nadvertise = "10.0.0.1"')
    assert mistakes(text)["listen[2].bind"] == "expected an address of its own, listen[0] has 203.0.113.10:5060"
    looped = GOOD.replace('"10.0.0.1:5060"', '"0.0.0.0:5070"\nadvertise = "10.0.0.1"')
    looped = looped.replace("sip:10.0.0.11", "sip:127.0.0.5:5070")
    assert "listener inside of this edge" in mistakes(looped)["destinations[0].members[0].uri"]


def test_an_empty_policy_names_what_is_missing() -> None:
    assert list(mistakes("")) == ["listen", "destinations"]


def test_several_sets_need_routes() -> None:
    assert list(mistakes(GOOD[: GOOD.index("[[route]]")])) == ["route"]


def test_a_broken_section_causes_no_mistakes_in_others() -> None:
    assert list(mistakes(GOOD.replace('members = [{ uri = "sip:10.0.0.11" }]', ""))) == ["destinations[0]"]
    assert list(mistakes(GOOD.replace('zone = "core"', 'zone = "cor"'))) == ["listen[2].zone"]
    assert list(mistakes(GOOD.replace('name = "carriers"', 'name = "carriers"\nx = 1'))) == ["listen[0].x"]


DATABASES = """
[[database]]
name = "main"
url = "postgresql://edge@127.0.0.1/sip"
[[database]]
name = "spare"
"""
"""A policy with a database. Its table stands before the listeners; it may also stand after ``[[destinations]]``."""
FED = DATABASES + GOOD.replace('members = [{ uri = "sip:10.0.0.11" }]', 'database = "main"\ngroup = "1"')


def test_a_set_may_have_its_members_from_a_database() -> None:
    assert mistakes(FED) == {}


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ('name = "spare"', 'name = "main"', "database[1].name", "which database[0].name has"),
        ('database = "main"', 'database = "none"', "destinations[0].database", "expected a [[database]] (main, spare)"),
        ('database = "main"\n', "", "destinations[0].group", "is for a set whose members a database has"),
        ("postgresql://edge@127.0.0.1/sip", "no url", "database[0].url", "expected a URL such as"),
        ("postgresql://edge@127.0.0.1/sip", "oracle://edge@db/sip", "database[0].url", "found 'oracle'"),
        ("postgresql://edge@127.0.0.1/sip", "postgresql+asyncpg://db/sip", "database[0].url", "expected a URL of"),
        ("postgresql://edge@127.0.0.1/sip", "mysql://edge@db", "database[0].url", "the name of a database"),
        ("postgresql://edge@127.0.0.1/sip", "sqlite:///here.sqlite", "database[0].url", "the whole path"),
        ("postgresql://edge@127.0.0.1/sip", "sqlite://", "database[0].url", "the whole path"),
        ("edge@127", "edge:sesame@127", "database[0].url", "expected no password in it"),
        ("/sip", "/sip?password=sesame", "database[0].url", "expected no password in it"),
        ("127.0.0.1/sip", "127.0.0.1:sesame/sip", "database[0].url", "expected a URL such as"),
        ('name = "main"', 'name = "main"\nschema = "x"', "database[0].schema", "expected one of edgesbc"),
        ('name = "main"', 'name = "main"\npassword = "sesame"', "database[0].password", "unknown key"),
    ],
)
def test_a_mistake_in_a_database_is_found(old: str, new: str, key: str, message: str) -> None:
    assert old in FED
    messages = mistakes(FED.replace(old, new, 1))
    assert message in messages[key]
    assert "sesame" not in repr(messages).replace("127.0.0.1:sesame", "")


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        ("kamailio-dispatcher", "peer_algorithm = 9"),
        ("kamailio-dispatcher", 'peer_algorithm = 11\nalgorithm = "weighted"'),
        ("kamailio-dispatcher", 'peer_algorithm = 4\nalgorithm = "round-robin"'),
        ("kamailio-dispatcher", "peer_algorithm = 4"),
        ("kamailio-dispatcher", 'peer_algorithm = 2\nalgorithm = "hash"\nhash_on = "to-uri"'),
        ("opensips-dispatcher", "peer_algorithm = 6"),
    ],
)
def test_a_set_may_select_as_another_program_does(schema: str, keys: str) -> None:
    text = FED.replace('name = "main"', f'name = "main"\nschema = "{schema}"', 1)
    assert mistakes(text.replace('group = "1"', f'group = "1"\n{keys}')) == {}


@pytest.mark.parametrize(
    ("schema", "keys", "key", "message"),
    [
        ("edgesbc", "peer_algorithm = 9", "peer_algorithm", "is for rows of kamailio-dispatcher and opensips-disp"),
        ("opensips-load-balancer", "peer_algorithm = 9", "peer_algorithm", "is for rows of"),
        ("kamailio-dispatcher", "peer_algorithm = 7", "peer_algorithm", "expected a number with a counterpart (0, 1"),
        ("opensips-dispatcher", "peer_algorithm = 9", "peer_algorithm", "expected a number with a counterpart"),
        ("kamailio-dispatcher", "peer_algorithm = 0", "algorithm", 'expected "hash" for destinations[0].peer_alg'),
        ("kamailio-dispatcher", 'peer_algorithm = 9\nalgorithm = "random"', "algorithm", 'expected "weighted" for'),
        ("kamailio-dispatcher", 'peer_algorithm = 6\nalgorithm = "hash"', "algorithm", '"random" or "weighted"'),
        ("kamailio-dispatcher", 'peer_algorithm = 1\nalgorithm = "hash"', "hash_on", 'expected "from-uri" for'),
    ],
)
def test_a_mistake_in_how_another_program_selects_is_found(schema: str, keys: str, key: str, message: str) -> None:
    text = FED.replace('name = "main"', f'name = "main"\nschema = "{schema}"', 1)
    messages = mistakes(text.replace('group = "1"', f'group = "1"\n{keys}'))
    assert message in messages[f"destinations[0].{key}"]


def test_sets_of_the_same_rows_have_the_same_peer_algorithm() -> None:
    text = FED.replace('name = "main"', 'name = "main"\nschema = "kamailio-dispatcher"', 1)
    text = text.replace('group = "1"', 'group = "1"\npeer_algorithm = 9')
    again = '[[destinations]]\nset = "second"\ndatabase = "main"\ngroup = "1"\n'
    messages = mistakes(text.replace("[[route]]", f"{again}[[route]]", 1))
    assert "expected that of destinations[0], which has the same rows (9), found None" in str(messages)


def test_a_resource_that_no_member_has_is_a_mistake() -> None:
    """No member could take a call by that route."""
    good = GOOD.replace('to = "pbx"', 'to = "pbx"\nresources = ["pstn"]')
    assert mistakes(good.replace('"sip:10.0.0.11"', '"sip:10.0.0.11", resources = { pstn = 1 }')) == {}
    messages = mistakes(good.replace('"sip:10.0.0.11"', '"sip:10.0.0.11", resources = { pstn = 0, fax = 1 }'))
    assert list(messages) == ["route[0].resources[0]"]
    assert "(fax)" in messages["route[0].resources[0]"]
