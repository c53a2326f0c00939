"""Stage ``ratelimit``: named token buckets for requests outside calls. ACK, BYE and CANCEL are never charged."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

from edgesbc.base import limits
from edgesbc.base.prefixes import prefix_keys
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between, one_of, positive, sip_methods
from edgesbc.screen.buckets import SECOND, TokenBucket
from edgesbc.screen.rejection import reject_with_retry_after
from edgesbc.screen.stage import PASS, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request
from edgesbc.sip.user_part import plain_user

__all__ = ["DEFAULT_BUCKETS", "NEVER_CHARGED", "BucketSettings", "RateLimit"]

NEVER_CHARGED = frozenset({"ACK", "BYE", "CANCEL"})
NOT_FOR_TRUNKS = frozenset({"source", "prefix"})
"""Keys of buckets that do not apply to trunks, which have buckets by ``trunk``."""


@attrs.frozen
class BucketSettings:
    """``[[screen.ratelimit]]``: one named bucket; a request must pass every bucket for its method.

    Requests with the same ``key`` share a bucket: ``source`` (an unproven address, or a proven flow), ``prefix`` (the
    /24 or /64), ``trunk``, ``listener``, ``method``, ``aor`` (the address in To), ``destination`` (the
    Request-URI) or ``global``. Buckets by ``source`` and ``prefix`` do not apply to trunks, buckets by
    ``trunk`` apply to trunks only.
    """

    name: str
    key: str = attrs.field(
        default="source",
        validator=one_of("source", "prefix", "trunk", "listener", "method", "aor", "destination", "global"),
    )
    methods: tuple[str, ...] = attrs.field(default=(), validator=sip_methods)
    """The methods that are charged; empty: all but ACK, BYE and CANCEL, which never are."""
    rate: float = attrs.field(default=10.0, validator=positive)
    """Tokens a second."""
    burst: int = attrs.field(default=30, validator=between(1, 1_000_000))
    """Tokens in a full bucket."""


DEFAULT_BUCKETS = (
    # A busy office's gateway that is not a trunk sets up one or two calls a second.
    BucketSettings("invites-per-source", "source", ("INVITE",), rate=10.0, burst=30),
    # A phone sends two REGISTER (challenge, credentials) a minute. After an outage all phones of an office, which are
    # one source until they are proven, do so at once: the rate is near that of pike, and short enough for phones to
    # wait.
    BucketSettings("registers-per-source", "source", ("REGISTER",), rate=20.0, burst=60),
)


class RateLimit:
    name = "ratelimit"
    phases = frozenset({Phase.REQUEST, Phase.CALL})

    def __init__(self, settings: tuple[BucketSettings, ...], standings: Standings) -> None:
        self._buckets = [
            (b, frozenset(b.methods), TokenBucket(b.name, b.rate, b.burst, limits.BUCKET_KEYS)) for b in settings
        ]
        self._trunks = {
            trunk.name: TokenBucket("max_cps", trunk.max_cps, max(1, round(trunk.max_cps)), 1)
            for trunk in standings.trunks.values()
            if trunk.max_cps is not None
        }

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        """INVITE is charged in phase CALL, where it is known not to be a retransmission; other methods, and an INVITE
        with a tag in To, in phase REQUEST. Requests inside a live call are not charged."""
        request = subject.request
        assert request is not None  # noqa: S101 - both phases come with one
        method = request.method
        begins_call = method == "INVITE" and not request.in_dialog
        if begins_call is not (phase is Phase.CALL) or method in NEVER_CHARGED or subject.in_call:
            return PASS
        at = int(now * SECOND)
        charged: list[tuple[TokenBucket, Hashable]] = []
        if begins_call and subject.trunk in self._trunks:
            bucket = self._trunks[subject.trunk]
            if wait := bucket.wait(subject.trunk, at):
                return self._refuse(subject, bucket, wait)
            charged.append((bucket, subject.trunk))
        for settings, methods, bucket in self._buckets:
            if methods and method not in methods:
                continue
            key = _key(settings.key, subject, request)
            if key is None:
                continue
            if wait := bucket.wait(key, at):
                return self._refuse(subject, bucket, wait)
            charged.append((bucket, key))
        for bucket, key in charged:
            bucket.take(key, at)
        return PASS

    @staticmethod
    def _refuse(subject: Subject, bucket: TokenBucket, wait: int) -> Verdict:
        return reject_with_retry_after(subject, Reason.RATELIMIT, -(-wait // SECOND), bucket.rate, detail=bucket.name)


def _key(kind: str, subject: Subject, request: Request) -> Hashable | None:
    """The key of the request in buckets of this ``kind``; None if they do not apply to it. A peer's texts are hashed,
    so that the size of a key does not depend on them."""
    if kind in NOT_FOR_TRUNKS:
        if subject.standing is Standing.TRUNK:
            return None
        return prefix_keys(subject.flow.peer[0])[0] if kind == "prefix" else subject.source
    if kind == "trunk":
        return subject.trunk
    if kind == "listener":
        return subject.flow.listener.id
    if kind == "method":
        return hash(request.method)
    if kind == "aor":
        uri = request.to.uri
        return hash((plain_user(uri), uri.host))
    if kind == "destination":
        return hash((plain_user(request.uri), request.uri.host))
    return True
