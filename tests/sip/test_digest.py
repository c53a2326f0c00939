"""Digest challenges and credentials, read and renewed."""

from __future__ import annotations

import pytest

from edgesbc.base.errors import WireError
from edgesbc.sip.digest import is_stale, parse_digest, renewed


def test_parameters() -> None:
    text = 'Digest username="bob, the builder",Realm="a \\"b\\"", nonce="n=1" , uri="sip:x;y=z", qop=auth,nc=00000001'
    assert parse_digest(text) == {
        "username": "bob, the builder", "realm": 'a \\"b\\"', "nonce": "n=1", "uri": "sip:x;y=z", "qop": "auth",
        "nc": "00000001",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["Basic abc", "", "Digest", "Digest  ", "Bearer x=y", "Digestx a=b"])
def test_other_schemes_say_nothing(text: str) -> None:
    assert parse_digest(text) == {}


@pytest.mark.parametrize("text", ["Digest a", "Digest =b", 'Digest a="b', "Digest a=b,,c=d", "Digest a=b, A=c"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(WireError):
        parse_digest(text)
    assert not is_stale(text)


def test_nonce_and_opaque_are_renewed_and_all_else_stays() -> None:
    text = 'Digest  realm="x",NONCE = "abc" ,opaque="de", cnonce="abc", qop="auth,auth-int", algorithm=MD5'
    assert renewed(text, lambda old: f"<{len(old)}>") == (
        'Digest  realm="x",NONCE = "<3>" ,opaque="<2>", cnonce="abc", qop="auth,auth-int", algorithm=MD5'
    )
