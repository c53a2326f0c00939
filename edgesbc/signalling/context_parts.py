"""ContextParts: what every response context uses of the signalling core."""

from __future__ import annotations

from typing import Final

from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.signalling.branch import BranchParts
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.media_client import MediaClient
from edgesbc.signalling.named_peers import NamedPeers
from edgesbc.signalling.responder import Responder

__all__ = ["ContextParts"]


class ContextParts:
    """The parts of the core that every response context uses."""

    __slots__ = (
        "branches",
        "deadlines",
        "dispatcher",
        "effects",
        "live",
        "media",
        "named_peers",
        "responder",
        "tokens",
    )

    def __init__(
        self,
        effects: EffectQueue,
        deadlines: Deadlines[Expiring],
        dispatcher: Dispatcher,
        live: LivePipeline,
        media: MediaClient,
        responder: Responder,
        tokens: ContactTokens,
        branches: BranchParts,
        named_peers: NamedPeers,
    ) -> None:
        self.effects: Final = effects
        self.deadlines: Final = deadlines
        self.dispatcher: Final = dispatcher
        self.live: Final = live
        self.media: Final = media
        self.responder: Final = responder
        self.tokens: Final = tokens
        self.branches: Final = branches
        self.named_peers: Final = named_peers
