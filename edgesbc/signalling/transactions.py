"""The types of the transaction layer (:mod:`edgesbc.sip.transactions`) over flows, the endpoints of the edge."""

from __future__ import annotations

from typing import TypeAlias

from edgesbc.base.address import Flow
from edgesbc.sip import transaction, transactions

__all__ = ["ClientTransaction", "ServerTransaction", "TransactionUser", "Transactions"]

ClientTransaction: TypeAlias = transaction.ClientTransaction[Flow]
ServerTransaction: TypeAlias = transaction.ServerTransaction[Flow]
TransactionUser: TypeAlias = transaction.TransactionUser[Flow]
Transactions: TypeAlias = transactions.Transactions[Flow]
