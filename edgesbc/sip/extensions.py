"""Header fields of RFCs after RFC 3261 as values; the rules are those of :mod:`edgesbc.sip.values`.

========================  ================================  ===============================
field                     function                          value
========================  ================================  ===============================
RAck (RFC 3262)           :func:`parse_rack`                :class:`RAck`
Event (RFC 6665)          :func:`parse_event`               :class:`EventValue`
Reason (RFC 3326)         :func:`parse_reason`              ``Values`` of :class:`ReasonValue`
Replaces (RFC 3891)       :func:`parse_replaces`            :class:`Replaces`
Refer-To (RFC 3515)       :func:`parse_refer_to`            ``NameAddr``
P-Asserted-Identity       :func:`parse_asserted_identity`   ``Values`` of ``NameAddr``
Privacy (RFC 3323)        :func:`parse_privacy`             ``Values`` of ``str``
Session-Expires, Min-SE   :func:`parse_session_expires`,    ``DeltaSeconds``
(RFC 4028)                :func:`parse_min_se`
Identity (RFC 8224)       :func:`parse_identity`            :class:`Identity`
========================  ================================  ===============================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import NameAddr, parse_name_addr, parse_params, split_list
from edgesbc.sip.uri import Param, Parameters, Params
from edgesbc.sip.values import DELTA_SECONDS, DeltaSeconds, Values, parse_delta_seconds, parse_number

__all__ = [
    "EventValue", "Identity", "RAck", "ReasonValue", "Replaces", "parse_asserted_identity", "parse_event",
    "parse_identity", "parse_min_se", "parse_privacy", "parse_rack", "parse_reason", "parse_refer_to",
    "parse_replaces", "parse_session_expires",
]  # fmt: skip


class RAck(NamedTuple):
    """The response that a PRACK acknowledges (RFC 3262 section 7.2): its RSeq, and CSeq of the request."""

    response: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.response} {self.cseq} {self.method}"


def parse_rack(text: str) -> RAck:
    """RAck: RSeq of the response up to 2**32 - 1, number and method of CSeq (RFC 3262 section 7.2)."""
    match = grammar.rack(text)
    if match is None:
        raise WireError("RAck is not two numbers and a method")
    return RAck(parse_number(match[1], "RAck", 2**32 - 1), parse_number(match[2], "RAck", 2**31 - 1), match[3])


class EventValue(Parameters):
    """Event (RFC 6665 section 8.2.1): ``package`` is the event package with its templates, as in ``presence.winfo``."""

    __slots__ = ("package",)

    def __init__(self, package: str, params: Iterable[Param] = ()) -> None:
        self.package: Final = package
        self.params = tuple(params)

    def __str__(self) -> str:
        return self.package + self.written_params()


def parse_event(text: str) -> EventValue:
    """Event, or one value of Allow-Events (RFC 6665 section 8.2)."""
    return EventValue(*_token_and_params(text, "Event"))


class ReasonValue(Parameters):
    """One value of Reason (RFC 3326 section 2); ``protocol`` as it was written, usually ``SIP`` or ``Q.850``."""

    __slots__ = ("protocol",)

    def __init__(self, protocol: str, params: Iterable[Param] = ()) -> None:
        self.protocol: Final = protocol
        self.params = tuple(params)

    @property
    def cause(self) -> int | None:
        """The status code or Q.850 cause, None where it is missing."""
        value = self.param("cause")
        return None if value is None else parse_number(value, "the cause of Reason", DELTA_SECONDS)

    def __str__(self) -> str:
        return self.protocol + self.written_params()


def parse_reason(text: str) -> Values[ReasonValue]:
    """Reason: one value a protocol; a cause is a number of at most ten digits (RFC 3326 section 2)."""
    reasons = [ReasonValue(*_token_and_params(value, "Reason")) for value in split_list(text)]
    for reason in reasons:
        _ = reason.cause
    return Values(reasons)


class Replaces(Parameters):
    """The dialog that an INVITE is to replace (RFC 3891 section 6.1)."""

    __slots__ = ("call_id",)

    def __init__(self, call_id: str, params: Iterable[Param]) -> None:
        self.call_id: Final = call_id
        self.params = tuple(params)

    @property
    def to_tag(self) -> str:
        """The local tag at the recipient of the INVITE."""
        return self.param("to-tag") or ""

    @property
    def from_tag(self) -> str:
        """The remote tag at the recipient of the INVITE."""
        return self.param("from-tag") or ""

    @property
    def early_only(self) -> bool:
        """Whether a dialog that is confirmed must not be replaced."""
        return self.param("early-only") is not None

    def __str__(self) -> str:
        return self.call_id + self.written_params()


def parse_replaces(text: str) -> Replaces:
    """Replaces: a Call-ID, both tags exactly once, and the flag *early-only* (RFC 3891 section 6.1)."""
    call_id, semicolon, rest = text.partition(";")
    replaces = Replaces(call_id.rstrip(" \t"), parse_params(semicolon + rest) if semicolon else ())
    if not (grammar.call_id(replaces.call_id) and grammar.token(replaces.to_tag) and grammar.token(replaces.from_tag)):
        raise WireError("Replaces has not a Call-ID and two tags")
    if replaces.param("early-only"):
        raise WireError("early-only of Replaces has a value")
    return replaces


def parse_refer_to(text: str) -> NameAddr:
    """Refer-To (RFC 3515 section 2.1): a URI of any scheme, with the header fields that it may carry."""
    address = parse_name_addr(text)
    _ = address.uri
    return address


def parse_asserted_identity(text: str) -> Values[NameAddr]:
    """P-Asserted-Identity: one SIP URI, one telephone URI, or one of each (RFC 3325 section 9.1)."""
    addresses = [parse_name_addr(value) for value in split_list(text)]
    kinds = {"sip" if address.uri.host else address.uri.scheme for address in addresses}
    if not kinds <= {"sip", "tel"} or len(kinds) != len(addresses):
        raise WireError("P-Asserted-Identity is not one SIP URI, one telephone URI or one of each")
    return Values(addresses)


def parse_privacy(text: str) -> Values[str]:
    """Privacy in lower case; ``none`` may be combined with ``critical`` only (RFC 3323 section 4.2)."""
    written = [value.strip(" \t") for value in text.split(";", limits.PARAMETERS)]
    if len(written) > limits.PARAMETERS or not all(map(grammar.token, written)):
        raise WireError("Privacy is not a list of tokens")
    values = [value.lower() for value in written]
    if len(set(values)) != len(values) or ("none" in values and not {"none", "critical"}.issuperset(values)):
        raise WireError("Privacy contradicts itself")
    return Values(values, ";")


def parse_session_expires(text: str) -> DeltaSeconds:
    """Session-Expires in seconds; *refresher* is ``uac``, ``uas`` or missing (RFC 4028 section 4)."""
    expires = parse_delta_seconds(text, "Session-Expires")
    if (expires.param("refresher") or "uac").lower() not in ("uac", "uas") or expires.param("refresher") == "":
        raise WireError("the refresher of Session-Expires is neither uac nor uas")
    return expires


def parse_min_se(text: str) -> DeltaSeconds:
    """Min-SE in seconds (RFC 4028 section 5)."""
    return parse_delta_seconds(text, "Min-SE")


class Identity(Parameters):
    """A signature over a request (RFC 8224 section 4.1).

    ``digest`` is the PASSporT (RFC 8225), ``info`` the URI of its certificate; *alg* and *ppt* are parameters.
    """

    __slots__ = ("digest", "info")

    def __init__(self, digest: str, info: str, params: Iterable[Param] = ()) -> None:
        self.digest: Final = digest
        self.info: Final = info
        self.params = tuple(params)

    def __str__(self) -> str:
        return f"{self.digest};info=<{self.info}>{self.written_params()}"


def parse_identity(text: str) -> Identity:
    """Identity (RFC 8224 section 4.1); ``info`` is any absolute URI. The signature is not verified here."""
    match = grammar.identity(text)
    if match is None or not grammar.absolute_uri(match[2]):
        raise WireError("Identity is not a signature and the URI of its certificate")
    return Identity(match[1], match[2], parse_params(match[3]) if match[3] else ())


def _token_and_params(text: str, name: str) -> tuple[str, Params]:
    token, semicolon, rest = text.partition(";")
    token = token.rstrip(" \t")
    if not grammar.token(token):
        raise WireError(f"{name} does not begin with a token")
    return token, parse_params(semicolon + rest) if semicolon else ()
