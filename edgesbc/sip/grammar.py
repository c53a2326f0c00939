"""The patterns of the SIP grammar (RFC 3261 section 25.1), each with the production that it matches.

Every pattern is linear in its input. Repetitions are possessive (``*+``, ``++``: what they took they never give back),
or end where a character must stand that they cannot match, so that a match that fails fails at once.

The productions are those of the RFCs, in their notation (RFC 5234), with rules inserted where that is shorter.
Where a pattern accepts more or less than its production, the comment says so. White space around separators (SWS, LWS)
is ``LWS`` here without line ends: folded lines were unfolded before.
"""

from __future__ import annotations

import re
from typing import Final

# alphanum = ALPHA / DIGIT
# token    = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
_TOKEN_SIGNS = r"A-Za-z0-9\-.!%*_+`'~"
TOKEN: Final = rf"[{_TOKEN_SIGNS}]++"

# quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE
# qdtext        = LWS / %x21 / %x23-5B / %x5D-7E / UTF8-NONASCII
# quoted-pair   = "\" (%x00-09 / %x0B-0C / %x0E-7F)
# Control characters were refused before, with the whole header block.
QUOTED: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'

# LWS = [*WSP CRLF] 1*WSP
# SWS = [LWS]
LWS: Final = r"[ \t]*+"

# host          = hostname / IPv4address / IPv6reference
# hostname      = *( domainlabel "." ) toplabel [ "." ]
# domainlabel   = alphanum / alphanum *( alphanum / "-" ) alphanum
# IPv6reference = "[" IPv6address "]"
# IPv6address as RFC 5954 section 4.1 corrects it: at most one "::", and no ":::" before an IPv4 tail:
# IPv6address   =                            6( h16 ":" ) ls32
#               /                       "::" 5( h16 ":" ) ls32
#               / [               h16 ] "::" 4( h16 ":" ) ls32
#               / [ *1( h16 ":" ) h16 ] "::" 3( h16 ":" ) ls32
#               / [ *2( h16 ":" ) h16 ] "::" 2( h16 ":" ) ls32
#               / [ *3( h16 ":" ) h16 ] "::"    h16 ":"   ls32
#               / [ *4( h16 ":" ) h16 ] "::"              ls32
#               / [ *5( h16 ":" ) h16 ] "::"              h16
#               / [ *6( h16 ":" ) h16 ] "::"
# h16           = 1*4HEXDIG
# ls32          = ( h16 ":" h16 ) / IPv4address
# A hostname may have "_" and any order of its signs here: such names are in use, and the resolver checks names.
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

# userinfo        = ( user / telephone-subscriber ) [ ":" password ] "@"
# user            = 1*( unreserved / escaped / user-unreserved )
# unreserved      = alphanum / mark
# mark            = "-" / "_" / "." / "!" / "~" / "*" / "'" / "(" / ")"
# user-unreserved = "&" / "=" / "+" / "$" / "," / ";" / "?" / "/"
# password        = *( unreserved / escaped / "&" / "=" / "+" / "$" / "," )
# escaped         = "%" HEXDIG HEXDIG
# "%" stands for the escapes, which `bad_escape` checks. "#" and brackets are accepted too, as in dial strings.
_USER = r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%#\[\]]++"
_PASSWORD = r"[A-Za-z0-9\-_.!~*'()&=+$,%]*+"

# pname            = 1*paramchar
# pvalue           = 1*paramchar
# paramchar        = param-unreserved / unreserved / escaped
# param-unreserved = "[" / "]" / "/" / ":" / "&" / "+" / "$"
_PARAM_TEXT = r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$%=]*+"

# SIP-URI        = "sip:" [ userinfo ] hostport uri-parameters [ headers ]
# SIPS-URI       = "sips:" [ userinfo ] hostport uri-parameters [ headers ]
# hostport       = host [ ":" port ]
# port           = 1*DIGIT
# uri-parameters = *( ";" uri-parameter)
# headers        = "?" header *( "&" header )
# header         = hname "=" hvalue
# The groups are scheme, user, password, host, port, parameters and headers. Headers are kept as text.
sip_uri = re.compile(
    rf"([Ss][Ii][Pp][Ss]?):(?:({_USER})(?::({_PASSWORD}))?@)?({HOST})(?::([0-9]{{1,5}}))?"
    rf"((?:;{_PARAM_TEXT})*+)(?:\?([!#-;=?A-\[\]-~]*+))?"
).fullmatch

# absoluteURI = scheme ":" ( hier-part / opaque-part )
# scheme      = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
# The part after the colon is any text of the characters that may stand in a URI; it is kept as it is.
absolute_uri = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*+):([A-Za-z0-9;/?:@&=+$,\-_.!~*'()%#\[\]]++)").fullmatch

# "%" without two hexadecimal digits after it, which `escaped` does not allow.
bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search

# name-addr    = [ display-name ] LAQUOT addr-spec RAQUOT
# addr-spec    = SIP-URI / SIPS-URI / absoluteURI
# display-name = *(token LWS)/ quoted-string
# LAQUOT       = SWS "<"
# RAQUOT       = ">" SWS
# from-spec    = ( name-addr / addr-spec ) *( SEMI from-param )
# The groups are the quoted display name, the display name of tokens, the addr-spec and the parameters. Letters outside
# ASCII are accepted in a display name without quotes (RFC 4475 section 3.1.1.6 has one with no space before "<").
name_addr = re.compile(
    rf"(?:({QUOTED})|([{_TOKEN_SIGNS} \t\x80-\U0010ffff]*+)){LWS}<([^<>\s]++)>{LWS}(;.*+)?",
    re.DOTALL,
).fullmatch

# addr-spec without angle brackets: here ";" begins the parameters of the header field (section 20.10).
bare_addr = re.compile(rf"([^<>;?,\s\"]++){LWS}(;.*+)?", re.DOTALL).fullmatch

# generic-param = token [ EQUAL gen-value ]
# gen-value     = token / host / quoted-string
# SEMI          = SWS ";" SWS
# EQUAL         = SWS "=" SWS
# via-received  = "received" EQUAL (IPv4address / IPv6address)
# One parameter with the semicolon before it. A value may be an IPv6 address with brackets (host) and without them
# (via-received; RFC 5118 section 4.5 asks for both).
param = re.compile(rf"{LWS};{LWS}({TOKEN})(?:{LWS}={LWS}([{_TOKEN_SIGNS}:]++|{QUOTED}|\[(?:{IPV6})\]))?{LWS}").match

# The usual case of *( SEMI generic-param ): neither space nor quotes, so that splitting at ";" and "=" is enough.
plain_params = re.compile(rf"(?:;{TOKEN}(?:=[{_TOKEN_SIGNS}:]++)?)++").fullmatch

# tag-param = "tag" EQUAL token
# The usual case of the parameters of From and To.
only_tag = re.compile(rf";tag=({TOKEN})").fullmatch

# via-parm         = sent-protocol LWS sent-by *( SEMI via-params )
# sent-protocol    = protocol-name SLASH protocol-version SLASH transport
# protocol-name    = "SIP" / token
# protocol-version = token
# transport        = "UDP" / "TCP" / "TLS" / "SCTP" / other-transport
# sent-by          = host [ COLON port ]
# SLASH            = SWS "/" SWS
# COLON            = SWS ":" SWS
# The part before the parameters. Of protocols, only SIP 2.0 is accepted. The groups are transport, host and port.
via = re.compile(
    rf"[Ss][Ii][Pp]{LWS}/{LWS}2\.0{LWS}/{LWS}({TOKEN})[ \t]++({HOST})(?:{LWS}:{LWS}([0-9]{{1,5}}))?{LWS}"
).fullmatch

# CSeq = "CSeq" HCOLON 1*DIGIT LWS Method
cseq = re.compile(rf"([0-9]{{1,10}})[ \t]++({TOKEN})").fullmatch

# RAck = "RAck" HCOLON response-num LWS CSeq-num LWS Method (RFC 3262 section 11)
rack = re.compile(rf"([0-9]{{1,10}})[ \t]++([0-9]{{1,10}})[ \t]++({TOKEN})").fullmatch

# Identity                = "Identity" HCOLON signed-identity-digest SEMI ident-info
#                           *( SEMI ident-info-params ) (RFC 8224 section 4.1)
# signed-identity-digest  = 1*(base64-char / ".")
# ident-info              = "info" EQUAL ident-info-uri
# ident-info-uri          = LAQUOT absoluteURI RAQUOT
# The digest is that of a PASSporT (RFC 8225), in base64url.
identity = re.compile(
    rf"([A-Za-z0-9+/\-_=.]++){LWS};{LWS}[Ii][Nn][Ff][Oo]{LWS}={LWS}<([^<>\s]++)>{LWS}(;.*+)?", re.DOTALL
).fullmatch

# nonce  = "nonce" EQUAL nonce-value
# opaque = "opaque" EQUAL quoted-string
# In a Digest challenge; the text between the quotes is group 2.
nonce_or_opaque = re.compile(r"(\b(?:nonce|opaque)[ \t]*+=[ \t]*+\")([^\"\\]*+)(\")", re.IGNORECASE)

# realm       = "realm" EQUAL realm-value
# realm-value = quoted-string
# In a Digest challenge, in the same way.
realm = re.compile(r"(\brealm[ \t]*+=[ \t]*+\")([^\"\\]*+)(\")", re.IGNORECASE)

# comment = LPAREN *(ctext / quoted-pair / comment) RPAREN
# ctext   = %x21-27 / %x2A-5B / %x5D-7E / UTF8-NONASCII / LWS
# A piece of a comment; group 1 where a comment begins or ends.
comment_piece = re.compile(r"[^()\\]++|\\.|([()])", re.DOTALL).match

# callid = word [ "@" word ]
# word   = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" / "(" / ")" / "<" / ">" /
#          ":" / "\" / DQUOTE / "/" / "[" / "]" / "?" / "{" / "}" )
# Programs compare it as text, so that other characters do no harm: phones and gateways write "=", "$", "#" and several
# "@". Any printable one of ASCII is accepted.
call_id = re.compile(r"[!-~]++").fullmatch

# COMMA = SWS "," SWS
# A piece of a list of values; group 1 where it is the comma between two of them.
quoted_or_comma = re.compile(rf'{QUOTED}|<[^<>]*+>|[^",<]++|(,)').match

# Where a header field continues on the next line (section 7.3.1).
fold = re.compile(rb"\r\n[ \t]++")

# Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT
# HCOLON         = *( SP / HTAB ) ":" SWS
# Every such field of a header block in bytes, with its folds; the value is checked by the caller.
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
Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Answer-Mode Authentication-Info
Authorization Call-ID Call-Info Charge Contact Content-Disposition Content-Encoding Content-ID Content-Language
Content-Length Content-Type CSeq Date Diversion Error-Info Event Expires Flow-Timer From Geolocation
Geolocation-Error Geolocation-Routing History-Info Identity Identity-Info In-Reply-To Info-Package Join
Max-Breadth Max-Forwards MIME-Version Min-Expires Min-SE Organization P-Access-Network-Info P-Asserted-Identity
P-Charging-Vector P-Preferred-Identity Path Priority Priv-Answer-Mode Privacy Proxy-Authenticate
Proxy-Authorization Proxy-Require RAck Reason Record-Route Recv-Info Refer-Sub Refer-To Referred-By
Reject-Contact Remote-Party-ID Replaces Reply-To Request-Disposition Require Resource-Priority Retry-After Route
RSeq Server Service-Route Session-Expires Session-ID SIP-ETag SIP-If-Match Subject Subscription-State Supported
Suppress-If-Match Target-Dialog Timestamp To Unsupported User-Agent User-to-User Via Warning WWW-Authenticate
""".split()

# Header field names as they are usually written, in lower case, and compact, to their canonical form.
CANONICAL: Final[dict[str, str]] = (
    {name: name for name in _NAMES}
    | {name.lower(): name for name in _NAMES}
    | COMPACT
    | {letter.upper(): name for letter, name in COMPACT.items()}
)

# Fields that may carry several values, which are kept as one field a value.
LISTED: Final = frozenset({"Via", "Route", "Record-Route", "Contact", "Path", "Service-Route"})

# Fields that may appear once: of two, one peer would take the first and another the last, so both are refused.
SINGLE: Final = frozenset(
    """
    From To Call-ID CSeq Max-Forwards Content-Length Content-Type Content-Disposition Expires
    Event Join RAck Refer-To Referred-By Replaces RSeq Session-Expires Target-Dialog
    """.split()
)
