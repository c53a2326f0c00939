"""The patterns of RFC 3261 section 25.1 that the other files match with; nothing but patterns and tables.

Every pattern is linear. Repetitions are possessive (``*+``, ``++``: what they took they never give back),
or end where a character must stand that they cannot match, so that a match that fails fails at once.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN_SIGNS = r"A-Za-z0-9\-.!%*_+`'~"
TOKEN: Final = rf"[{_TOKEN_SIGNS}]++"
QUOTED: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
LWS: Final = r"[ \t]*+"

# IPv6address as RFC 5954 corrects it: at most one "::", and no ":::" before an IPv4 tail.
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP = r"[0-9A-Fa-f]{1,4}"
_TAIL = rf"(?:{_GROUP}:{_GROUP}|{_OCTET}(?:\.{_OCTET}){{3}})"
IPV6: Final = "|".join(
    [
        rf"(?:{_GROUP}:){{6}}{_TAIL}",
        rf"::(?:{_GROUP}:){{5}}{_TAIL}",
        *(rf"(?:(?:{_GROUP}:){{0,{n}}}{_GROUP})?::(?:{_GROUP}:){{{4 - n}}}{_TAIL}" for n in range(5)),
        rf"(?:(?:{_GROUP}:){{0,5}}{_GROUP})?::{_GROUP}",
        rf"(?:(?:{_GROUP}:){{0,6}}{_GROUP})?::",
    ]
)
HOST: Final = rf"\[(?:{IPV6})\]|[A-Za-z0-9][A-Za-z0-9.\-_]*+"

token = re.compile(TOKEN).fullmatch
quoted = re.compile(QUOTED).fullmatch

# user-unreserved and password, with "%" standing for the escapes that `bad_escape` checks.
_USER = r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%#\[\]]++"
_PASSWORD = r"[A-Za-z0-9\-_.!~*'()&=+$,%]*+"
_PARAM_TEXT = r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$%=]*+"

# SIP-URI and SIPS-URI: scheme, user, password, host, port, parameters, headers.
sip_uri = re.compile(
    rf"([Ss][Ii][Pp][Ss]?):(?:({_USER})(?::({_PASSWORD}))?@)?({HOST})(?::([0-9]{{1,5}}))?"
    rf"((?:;{_PARAM_TEXT})*+)(?:\?([!#-;=?A-\[\]-~]*+))?"
).fullmatch

# absoluteURI of any other scheme: what follows the colon is passed through.
absolute_uri = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):([A-Za-z0-9;/?:@&=+$,\-_.!~*'()%#\[\]]++)").fullmatch

bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search

# name-addr with its parameters: display name, addr-spec, the rest from the first ";".
name_addr = re.compile(
    rf"(?:({QUOTED})|([{_TOKEN_SIGNS} \t\x80-\U0010ffff]*+)){LWS}<([^<>\s]++)>{LWS}(;.*+)?",
    re.DOTALL,
).fullmatch

# addr-spec without angle brackets: here ";" begins the header's parameters (section 20.10).
bare_addr = re.compile(rf"([^<>;?,\s\"]++){LWS}(;.*+)?", re.DOTALL).fullmatch

# generic-param, one after the other. A value may be an IPv6 address with brackets (host) and without
# them (via-received; RFC 5118 section 4.5 asks for both).
param = re.compile(rf"{LWS};{LWS}({TOKEN})(?:{LWS}={LWS}([{_TOKEN_SIGNS}:]++|{QUOTED}|\[(?:{IPV6})\]))?{LWS}").match

# The usual case: parameters without space and quotes, for which it is enough to split at ";" and "=".
plain_params = re.compile(rf"(?:;{TOKEN}(?:=[{_TOKEN_SIGNS}:]++)?)++").fullmatch

# The usual case of From and To after the addr-spec.
only_tag = re.compile(rf";tag=({TOKEN})").fullmatch

# sent-protocol, sent-by and parameters of one Via value.
via = re.compile(
    rf"[Ss][Ii][Pp]{LWS}/{LWS}2\.0{LWS}/{LWS}({TOKEN})[ \t]++({HOST})(?:{LWS}:{LWS}([0-9]{{1,5}}))?{LWS}(;.*+)?",
    re.DOTALL,
).fullmatch

cseq = re.compile(rf"([0-9]{{1,10}})[ \t]++({TOKEN})").fullmatch

# RAck = response-num LWS CSeq-num LWS Method (RFC 3262 section 11)
rack = re.compile(rf"([0-9]{{1,10}})[ \t]++([0-9]{{1,10}})[ \t]++({TOKEN})").fullmatch

# signed-identity-digest, ident-info and the other parameters (RFC 8224 section 4.1). The digest is that of a
# PASSporT (RFC 8225), in base64url.
identity = re.compile(
    rf"([A-Za-z0-9+/\-_=.]++){LWS};{LWS}[Ii][Nn][Ff][Oo]{LWS}={LWS}<([^<>\s]++)>{LWS}(;.*+)?", re.DOTALL
).fullmatch

# nonce and opaque of a Digest challenge (section 25.1); what stands in quotes is group 2.
nonce_or_opaque = re.compile(r"(\b(?:nonce|opaque)[ \t]*+=[ \t]*+\")([^\"\\]*+)(\")", re.IGNORECASE)

# A piece of a comment; group 1 where a comment begins or ends.
comment_piece = re.compile(r"[^()\\]++|\\.|([()])", re.DOTALL).match

# callid = word [ "@" word ]
_WORD = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]++"
call_id = re.compile(rf"{_WORD}(?:@{_WORD})?").fullmatch

# A piece of a list; group 1 where it is the comma between two values.
quoted_or_comma = re.compile(rf'{QUOTED}|<[^<>]*+>|[^",<]++|(,)').match

# Where a header field goes on in the next line (section 7.3.1).
fold = re.compile(rb"\r\n[ \t]++")

# The values of the Content-Length fields of a header block in bytes, folds included.
content_lengths = re.compile(
    rb"\r\n(?:Content-Length|l)[ \t]*+:((?:[^\r]++|\r(?!\n)|\r\n(?=[ \t]))*+)", re.IGNORECASE
).findall

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
    """
    From To Call-ID CSeq Max-Forwards Content-Length Content-Type Content-Disposition Expires
    Event Join RAck Refer-To Referred-By Replaces RSeq Session-Expires Target-Dialog
    """.split()
)
