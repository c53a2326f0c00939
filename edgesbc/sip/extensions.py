"""Header fields of the RFCs after RFC 3261 as values: read when somebody asks. The rules are those of ``values``."""

from __future__ import annotations

from typing import NamedTuple

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import NameAddr, parse_name_addr, parse_params, split_list
from edgesbc.sip.uri import Parameters, Params
from edgesbc.sip.values import DELTA_SECONDS, DeltaSeconds, Values, parse_delta_seconds, parse_number

__all__ = [
    "Event", "Identity", "RAck", "Reason", "Replaces", "parse_asserted_identity", "parse_event", "parse_identity",
    "parse_min_se", "parse_privacy", "parse_rack", "parse_reason", "parse_refer_to", "parse_replaces",
    "parse_session_expires",
]  # fmt: skip


class RAck(NamedTuple):
    """Which response a PRACK acknowledges (RFC 3262 section 7.2)."""

    response: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.response} {self.cseq} {self.method}"


def parse_rack(text: str) -> RAck:
    match = grammar.rack(text)
    if match is None:
        raise WireError("RAck is not two numbers and a method")
    return RAck(parse_number(match[1], "RAck", 2**32 - 1), parse_number(match[2], "RAck", 2**31 - 1), match[3])


class Event(Parameters):
    """Event (RFC 6665 section 8.2.1): ``package`` with its templates."""

    __slots__ = ("package",)

    def __init__(self, package: str, params: Params) -> None:
        self.package = package
        self.params = params

    def __str__(self) -> str:
        return self.package + self.written_params()


def parse_event(text: str) -> Event:
    return Event(*_token_and_params(text, "Event"))


class Reason(Parameters):
    """One value of Reason (RFC 3326 section 2); ``protocol`` as it was written, usually ``SIP`` or ``Q.850``."""

    __slots__ = ("protocol",)

    def __init__(self, protocol: str, params: Params) -> None:
        self.protocol = protocol
        self.params = params

    @property
    def cause(self) -> int | None:
        value = self.param("cause")
        return None if value is None else parse_number(value, "the cause of Reason", DELTA_SECONDS)

    def __str__(self) -> str:
        return self.protocol + self.written_params()


def parse_reason(text: str) -> Values[Reason]:
    """A cause is a number of at most ten digits."""
    reasons = [Reason(*_token_and_params(value, "Reason")) for value in split_list(text)]
    for reason in reasons:
        _ = reason.cause
    return Values(reasons)


class Replaces(Parameters):
    """The dialog to be replaced (RFC 3891 section 6.1)."""

    __slots__ = ("call_id",)

    def __init__(self, call_id: str, params: Params) -> None:
        self.call_id = call_id
        self.params = params

    @property
    def to_tag(self) -> str:
        return self.param("to-tag") or ""

    @property
    def from_tag(self) -> str:
        return self.param("from-tag") or ""

    @property
    def early_only(self) -> bool:
        return self.param("early-only") is not None

    def __str__(self) -> str:
        return self.call_id + self.written_params()


def parse_replaces(text: str) -> Replaces:
    """Both tags are a must, each once."""
    call_id, semicolon, rest = text.partition(";")
    replaces = Replaces(call_id.rstrip(" \t"), parse_params(semicolon + rest) if semicolon else [])
    if not (grammar.call_id(replaces.call_id) and grammar.token(replaces.to_tag) and grammar.token(replaces.from_tag)):
        raise WireError("Replaces has not a Call-ID and two tags")
    if replaces.param("early-only"):
        raise WireError("early-only of Replaces has a value")
    return replaces


def parse_refer_to(text: str) -> NameAddr:
    """Refer-To (RFC 3515 section 2.1), its URI of any scheme and with the header fields that it may have."""
    address = parse_name_addr(text)
    _ = address.uri
    return address


def parse_asserted_identity(text: str) -> Values[NameAddr]:
    """P-Asserted-Identity: one address, or a SIP URI and a telephone URI (RFC 3325 section 9.1)."""
    addresses = [parse_name_addr(value) for value in split_list(text)]
    kinds = {"sip" if address.uri.host else address.uri.scheme for address in addresses}
    if not kinds <= {"sip", "tel"} or len(kinds) != len(addresses):
        raise WireError("P-Asserted-Identity is not one SIP URI, one telephone URI or one of each")
    return Values(addresses)


def parse_privacy(text: str) -> Values[str]:
    """Privacy (RFC 3323 section 4.2) in lower case; ``none`` has no other beside it than ``critical``."""
    written = [value.strip(" \t") for value in text.split(";", limits.PARAMETERS)]
    if len(written) > limits.PARAMETERS or not all(map(grammar.token, written)):
        raise WireError("Privacy is not a list of tokens")
    values = [value.lower() for value in written]
    if len(set(values)) != len(values) or ("none" in values and not {"none", "critical"}.issuperset(values)):
        raise WireError("Privacy contradicts itself")
    return Values(values, ";")


def parse_session_expires(text: str) -> DeltaSeconds:
    """Session-Expires (RFC 4028 section 4); *refresher* is ``uac``, ``uas`` or missing."""
    expires = parse_delta_seconds(text, "Session-Expires")
    if (expires.param("refresher") or "uac").lower() not in ("uac", "uas") or expires.param("refresher") == "":
        raise WireError("the refresher of Session-Expires is neither uac nor uas")
    return expires


def parse_min_se(text: str) -> DeltaSeconds:
    """Min-SE (RFC 4028 section 5)."""
    return parse_delta_seconds(text, "Min-SE")


class Identity(Parameters):
    """A signature over a request (RFC 8224 section 4.1): PASSporT, where its certificate is, *alg* and *ppt*."""

    __slots__ = ("digest", "info")

    def __init__(self, digest: str, info: str, params: Params) -> None:
        self.digest = digest
        self.info = info
        self.params = params

    def __str__(self) -> str:
        return f"{self.digest};info=<{self.info}>{self.written_params()}"


def parse_identity(text: str) -> Identity:
    """``info`` is any absolute URI. It is told, never fetched."""
    match = grammar.identity(text)
    if match is None or not grammar.absolute_uri(match[2]):
        raise WireError("Identity is not a signature and the URI of its certificate")
    return Identity(match[1], match[2], parse_params(match[3]) if match[3] else [])


def _token_and_params(text: str, name: str) -> tuple[str, Params]:
    token, semicolon, rest = text.partition(";")
    token = token.rstrip(" \t")
    if not grammar.token(token):
        raise WireError(f"{name} does not begin with a token")
    return token, parse_params(semicolon + rest) if semicolon else []
