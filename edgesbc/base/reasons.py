"""The reasons of decisions: a stable code, its meaning and the SIP status that goes with it."""

from __future__ import annotations

import enum

__all__ = ["Reason"]


class Reason(enum.Enum):
    """Why the edge refused, dropped, moved or changed something.

    The value is ``(code, meaning, status)``. The code is stable: metrics, logs and operators' scripts
    rely on it. Status 0 means that the reason has no answer of its own.
    """

    # Screening: the source
    CORE_SOURCE = ("core-source", "a core listener takes no messages from this address", 0)
    ACL_DENIED = ("acl-denied", "the source is in a denied prefix", 0)
    BANNED = ("banned", "the source is under a penalty", 0)
    PIKE = ("pike", "the source sent more requests in a window than it may", 0)
    RATELIMIT = ("ratelimit", "a token bucket was empty", 503)
    CONDUCT = ("conduct", "too much of what the source sent was refused", 0)
    WORK = ("work", "its connections made too much work without messages", 0)
    CONNECTIONS = ("connections", "too many connections, from this address or in all", 0)
    HANDSHAKE = ("handshake", "a TLS or WebSocket handshake failed or took too long", 0)
    ORIGIN = ("origin", "a WebSocket came from a page that is not in the list of origins", 403)
    # Screening: the message
    MALFORMED = ("malformed", "the bytes are not a SIP message", 400)
    SANITY = ("sanity", "the message breaks a rule of the protocol", 400)
    TOO_LARGE = ("too-large", "the message is over a bound", 513)
    SCANNER = ("scanner", "the message looks like a known scanner's", 0)
    METHOD = ("method", "the method is not allowed on this side", 405)
    ADMISSION = ("admission", "the source may not call: it has not registered, and is no trunk", 403)
    RINGING = ("ringing", "too many calls of the source ring at once", 503)
    SOURCE_CALLS = ("source-calls", "too many calls of the account or address at once", 503)
    GUESS = ("guess", "too many passwords or names were tried", 503)
    EXTENSION = ("extension", "an extension is required that the edge does not have", 420)
    LOOP = ("loop", "the request came round again", 482)
    TOO_MANY_HOPS = ("too-many-hops", "Max-Forwards is used up", 483)
    NO_DIALOG = ("no-dialog", "a request inside a dialog names no dialog that goes through here", 481)
    TOKEN = ("token", "a token of the edge was used by another peer, or in another dialog, than it was made for", 403)
    UNMATCHED = ("unmatched", "a response or CANCEL belongs to no transaction", 481)
    INTERNAL = ("internal", "a part of the edge failed on this message", 500)
    # The signalling core
    NO_ROUTE = ("no-route", "no route takes this request", 404)
    DOMAIN = ("domain", "the Request-URI names a host that is not one of the policy's domains", 404)
    BLOCKED = ("blocked", "a route refuses it", 403)
    NO_DESTINATION = ("no-destination", "no member of the set can take the call", 503)
    BODY = ("body", "a body is malformed, or its sender requires it and it may not cross", 415)
    NO_MEDIA = ("no-media", "the media plane could not anchor the call", 488)
    OPEN_OFFER = ("open-offer", "an earlier offer in the call has no answer yet", 491)
    MEDIA_TIMEOUT = ("media-timeout", "no media packets came for too long", 0)
    ONE_WAY_MEDIA = ("one-way-media", "one side of the call sends no media", 0)
    FLOW_GONE = ("flow-gone", "the connection to the peer is closed", 480)
    FLOW_MOVED = ("flow-moved", "the messages for a lost connection went by its device's new one", 0)
    OVERLOAD = ("overload", "the edge has too much to do, or a table of it is full", 503)
    DRAINING = ("draining", "the edge is being shut down", 503)
    SET_UP_TIMEOUT = ("set-up-timeout", "the call was not answered in the time it may ring", 408)
    DURATION = ("duration", "the call reached the longest duration allowed", 0)
    TRUNK_CALLS = ("trunk-calls", "the trunk has as many calls as it may have", 503)
    # Dispatch
    ROUTED = ("routed", "a destination was chosen", 0)
    FAILOVER = ("failover", "a destination failed and the next one was tried", 0)
    HEALTH = ("health", "a destination changed its state", 0)
    NAME = ("name", "the addresses of a destination's name changed, or could not be had", 0)
    BAN = ("ban", "a penalty was set, renewed or lifted", 0)
    POLICY = ("policy", "the policy was loaded, changed or refused", 0)

    @property
    def code(self) -> str:
        return self.value[0]

    @property
    def meaning(self) -> str:
        return self.value[1]

    @property
    def status(self) -> int:
        return self.value[2]
