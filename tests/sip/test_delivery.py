"""The transaction that the first bytes of a request belong to."""

from __future__ import annotations

import pytest

from edgesbc.sip.delivery import transaction_of

REQUEST = (
    b"INVITE sip:a@b;branch=no SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport\r\nTo: <sip:a@b>\r\n\r\n"
)
WHOLE = REQUEST.index(b";rport") + 1


def test_branch_and_method_are_found() -> None:
    assert transaction_of(REQUEST) == ("z9hG4bKx", "INVITE")
    assert transaction_of(REQUEST.replace(b";rport", b"")) == ("z9hG4bKx", "INVITE")


@pytest.mark.parametrize("size", range(len(REQUEST)))
def test_a_branch_that_is_cut_off_is_none(size: int) -> None:
    """A part of a branch is that of no transaction, or, worse, of another one."""
    assert transaction_of(REQUEST[:size]) == (("z9hG4bKx", "INVITE") if size >= WHOLE else None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;rport\r\nX: ;branch=z9hG4bKx;\r\n\r\n",
    ],
)
def test_what_is_no_request_of_the_edge_is_none(data: bytes) -> None:
    assert transaction_of(data) is None
