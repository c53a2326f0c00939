"""Digest challenges and credentials, read and renewed."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.digest import is_stale, parse_digest, renewed


def test_parameters() -> None:
    text = 'Digest username="bob, the builder",Realm="a \\"b\\"", nonce="n=1" , uri="sip:x;y=z", qop=auth,nc='
    value = parse_digest(text)
    assert [name for name, _ in value.params] == ["username", "realm", "nonce", "uri", "qop", "nc"]
    assert value.text("username") == "bob, the builder"
    assert value.text("realm") == 'a \\"b\\"'
    assert (value.text("nonce"), value.text("qop"), value.text("nc")) == ("n=1", "auth", "")
    assert value.text("response") is None
    assert parse_digest(str(value)).params == value.params


@pytest.mark.parametrize("text", ["Basic abc", "", "Digest", "Digest  ", "Bearer x=y", "Digestx a=b"])
def test_other_schemes_give_no_parameters(text: str) -> None:
    assert parse_digest(text).params == ()


def test_parameters_are_bounded() -> None:
    most = limits.DIGEST_PARAMETERS
    assert len(parse_digest("Digest " + ",".join(f"a{n}=b" for n in range(most))).params) == most
    with pytest.raises(WireError) as caught:
        parse_digest("Digest " + ",".join(f"a{n}=b" for n in range(most + 1)))
    assert caught.value.status_hint == 513


@pytest.mark.parametrize(
    "text",
    ["Digest a", "Digest =b", 'Digest a="b', "Digest a=b,,c=d", "Digest a=b, A=c", 'Digest a=b"c"', "Digest a b=c"],
)
def test_malformed_values(text: str) -> None:
    with pytest.raises(WireError):
        parse_digest(text)
    assert not is_stale(text)


def test_nonce_and_opaque_are_renewed_and_all_else_stays() -> None:
    text = 'Digest  realm="x",NONCE = "abc" ,opaque="de", cnonce="abc", qop="auth,auth-int", algorithm=MD5'
    assert renewed(text, lambda old: f"<{len(old)}>") == (
        'Digest  realm="x",NONCE = "<3>" ,opaque="<2>", cnonce="abc", qop="auth,auth-int", algorithm=MD5'
    )


def test_the_realm_is_replaced_if_asked_for() -> None:
    assert renewed('Digest realm="x", nonce="n"', str, "a.example") == 'Digest realm="a.example", nonce="n"'
