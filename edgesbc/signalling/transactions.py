"""The types of the transaction layer (:mod:`edgesbc.sip.transactions`) over flows, the endpoints of the edge."""

from __future__ import annotations

from typing import TypeAlias

from edgesbc.base.address import Flow
from edgesbc.sip import transaction

__all__ = ["ClientTransaction", "ServerTransaction"]

ClientTransaction: TypeAlias = transaction.ClientTransaction[Flow]
ServerTransaction: TypeAlias = transaction.ServerTransaction[Flow]
