"""Changes of a call: re-INVITE and UPDATE with another address, port or direction, and the answers to them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from edgesbc.sip.message import Response
from simulation.agent import Dialog, ServerTransaction, accept_change

__all__ = ["change", "changes_as_drawn"]

_REFUSALS = (488, 491, 500)


def change(dialog: Dialog, random: Random) -> None:
    """Offer another description, unless an offer of this side is under way."""
    if dialog.ending or dialog.offering or not dialog.agent.alive:
        return
    agent = dialog.agent
    method = random.choice(("INVITE", "INVITE", "UPDATE"))
    body = agent.describe(
        random.choice((4000, 4002, 4100)), random.choice(("sendrecv", "sendonly", "inactive")),
        random.choice(("", "", "0.0.0.0")),
    )  # fmt: skip
    is_late = method == "INVITE" and random.random() < 0.2
    dialog.offering = True
    answer = ""  # to an offer in the 2xx; an ACK is repeated as it was

    def heard(response: Response | None) -> None:
        nonlocal answer
        if response is not None and response.status < 200:
            return
        dialog.offering = False
        if response is None or response.status in (408, 481):
            dialog.hang_up()  # RFC 3261 section 14.1
        elif response.status == 491:
            agent.after(random.uniform(0.0, 4.0), lambda: change(dialog, random))
        elif response.status < 300 and method == "INVITE":
            answer = answer or (agent.describe() if is_late else "")
            dialog.acknowledge(response.cseq, answer)

    transaction = dialog.ask(method, heard, "" if is_late else body)
    if method == "INVITE":

        def cancel() -> None:
            if transaction.provisional and not transaction.final:
                agent.cancel(transaction)

        agent.after(random.uniform(0.0, 4.0) if random.random() < 0.3 else 60.0, cancel)


def changes_as_drawn(random: Random) -> Callable[[ServerTransaction, Dialog], None]:
    """What answers the changes of one agent: accepts most, refuses some at once, after ringing or after an early
    answer, and leaves some without a final answer."""

    def respond(server_transaction: ServerTransaction, dialog: Dialog) -> None:
        agent, request = server_transaction.agent, server_transaction.request
        mood = random.random()

        def refuse() -> None:
            if not server_transaction.final:
                server_transaction.say(random.choice(_REFUSALS), dialog.tag, [])

        def accept() -> None:
            if not server_transaction.final and not dialog.ending:
                accept_change(server_transaction, dialog)

        if mood < 0.5:
            accept()
        elif mood < 0.7:
            refuse()
        elif request.method == "INVITE" and mood < 0.95:
            early = agent.describe() if request.body and random.random() < 0.5 else ""
            server_transaction.say(183 if early else 180, dialog.tag, agent.contacts, early)
            if mood < 0.9:  # the others ring until their caller cancels
                agent.after(random.uniform(0.1, 3.0), refuse if mood < 0.8 else accept)

    return respond
