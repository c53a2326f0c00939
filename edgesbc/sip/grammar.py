"""The patterns of RFC 3261 section 25.1 that the other files match with; nothing but patterns and tables.

Every pattern is linear: no two neighbouring parts of one pattern can match the same character in a way
that a failing match would have to try in turn.
"""

from __future__ import annotations

import re
from typing import Final

TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]+"
QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
HOST: Final = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.\-_]*)"
LWS: Final = r"[ \t]*"

token = re.compile(TOKEN).fullmatch

# user-unreserved and password, with "%" standing for the escapes that `escapes_ok` checks.
_USER = r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%#\[\]]+"
_PASSWORD = r"[A-Za-z0-9\-_.!~*'()&=+$,%]*"
_PARAM_TEXT = r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$%=]*"

# SIP-URI and SIPS-URI (section 25.1): scheme, user, password, host, port, parameters, headers.
sip_uri = re.compile(
    rf"(sips?):(?:({_USER})(?::({_PASSWORD}))?@)?({HOST})(?::([0-9]{{1,5}}))?"
    rf"((?:;{_PARAM_TEXT})*)(?:\?([^\s<>\"@]*))?",
    re.IGNORECASE | re.ASCII,
).fullmatch

# absoluteURI of any other scheme: what follows the colon is passed through.
absolute_uri = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):([!-;=?-~]+)", re.ASCII).fullmatch

bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search

# name-addr with its parameters: display name, addr-spec, the rest from the first ";".
name_addr = re.compile(
    rf"(?:({QUOTED})|([A-Za-z0-9\-.!%*_+`'~ \t\x80-\U0010ffff]*))?{LWS}<([^<>\s]+)>{LWS}(;.*)?",
    re.DOTALL,
).fullmatch

# addr-spec without angle brackets: here ";" begins the header's parameters (section 20.10).
bare_addr = re.compile(rf"([^<>;?,\s\"]+){LWS}(;.*)?", re.DOTALL).fullmatch

# generic-param, one after the other.
param = re.compile(rf"{LWS};{LWS}({TOKEN})(?:{LWS}={LWS}({TOKEN}|{QUOTED}|\[[0-9A-Fa-f:.]+\]))?{LWS}").match

# The usual case of From and To after the addr-spec.
only_tag = re.compile(rf";tag=({TOKEN})").fullmatch

# sent-protocol, sent-by and parameters of one Via value.
via = re.compile(
    rf"SIP{LWS}/{LWS}2\.0{LWS}/{LWS}({TOKEN})[ \t]+({HOST})(?:{LWS}:{LWS}([0-9]{{1,5}}))?{LWS}(;.*)?",
    re.IGNORECASE | re.DOTALL,
).fullmatch

cseq = re.compile(rf"([0-9]{{1,10}})[ \t]+({TOKEN})").fullmatch

# callid = word [ "@" word ]
call_id = re.compile(
    r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+(?:@[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+)?"
).fullmatch

quoted_or_comma = re.compile(rf'{QUOTED}|<[^<>]*>|[^",<]+|(,)').match

# Compact forms (section 7.3.3 and the registry of header fields).
COMPACT: Final = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
    "e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
    "l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To",
    "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}  # fmt: skip

_NAMES = """
Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authentication-Info
Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding Content-Language Content-Length
Content-Type CSeq Date Diversion Error-Info Event Expires From History-Info Identity Identity-Info In-Reply-To
Join Max-Forwards MIME-Version Min-Expires Min-SE Organization P-Access-Network-Info P-Asserted-Identity
P-Charging-Vector P-Preferred-Identity Path Priority Privacy Proxy-Authenticate Proxy-Authorization
Proxy-Require RAck Reason Record-Route Refer-Sub Refer-To Referred-By Reject-Contact Remote-Party-ID Replaces
Reply-To Request-Disposition Require Retry-After Route RSeq Server Service-Route Session-Expires SIP-ETag
SIP-If-Match Subject Subscription-State Supported Target-Dialog Timestamp To Unsupported User-Agent
User-to-User Via Warning WWW-Authenticate
""".split()

# Header field names as they are usually written, in lower case, and compact, to their canonical form.
CANONICAL: Final[dict[str, str]] = (
    {name: name for name in _NAMES}
    | {name.lower(): name for name in _NAMES}
    | COMPACT
    | {letter.upper(): name for letter, name in COMPACT.items()}
)

# One header field may carry several values of these; they are kept as one field a value.
LISTED: Final = frozenset({"Via", "Route", "Record-Route", "Contact", "Path", "Service-Route"})

# A message with two of these has two meanings; peers disagree on which one counts, so neither does.
SINGLE: Final = frozenset(
    {"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type", "Expires"}
)
