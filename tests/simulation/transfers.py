"""Transfers of calls by REFER (RFC 3515, RFC 5589): blind ones to a number, and attended ones to the Contact of another
call, with Replaces (RFC 3891)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from urllib.parse import quote, unquote

from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response
from simulation.agent import Agent, Dialog, ServerTransaction

__all__ = ["follow_refers", "replaced_dialog", "transfer"]


def transfer(dialog: Dialog, random: Random) -> None:
    """Refer the peer of a dialog to the peer of another one, or to a number."""
    if dialog.ending or not dialog.agent.alive:
        return
    agent = dialog.agent
    others = [
        other
        for other in agent.dialogs.values()
        if other is not dialog and not other.ending and _can_be_replaced(other)
    ]
    if others and random.random() < 0.8:
        other = random.choice(others)
        replaces = f"{other.call_id};to-tag={_remote_tag(other)};from-tag={other.tag}"
        uri = f"{other.target}?Replaces={quote(replaces, safe='')}"
    else:
        uri = f"sip:200@{agent.host if agent.host.startswith('10.') else '192.0.2.1'}"

    def heard(response: Response | None) -> None:
        if response is None or response.status in (408, 481):
            dialog.hang_up()

    lines = [f"Refer-To: <{uri}>", f"Referred-By: <sip:{agent.name}@example.com>"]
    dialog.ask("REFER", heard, lines=lines)


def follow_refers(call: Callable[[Agent, str, list[str]], None]) -> Callable[[ServerTransaction, Dialog], None]:
    """What follows a REFER: a NOTIFY, after which its sender hangs up, and the ``call`` to a URI with further fields.
    A server inside calls what is at the edge; one at another server needs no edge."""

    def follow(server_transaction: ServerTransaction, dialog: Dialog) -> None:
        agent, request = server_transaction.agent, server_transaction.request
        uri, _, headers = parse_name_addr(request.get("Refer-To") or "").uri_text.partition("?")
        lines = [f"Replaces: {unquote(headers.removeprefix('Replaces='))}"] if headers else []
        dialog.ask("NOTIFY", lambda response: None, lines=["Event: refer", "Subscription-State: terminated"])
        if not agent.host.startswith("10.") or "@10.0.0.1:" in uri:
            call(agent, uri, lines)

    return follow


def replaced_dialog(agent: Agent, request: Request) -> Dialog | None:
    """The dialog that an INVITE with Replaces takes the place of; None if it has ended."""
    call_id, _, params = (request.get("Replaces") or "").partition(";")
    tags = dict(param.partition("=")[::2] for param in params.split(";"))
    return agent.dialogs.get((call_id.strip(), tags.get("to-tag", "")))


def _can_be_replaced(dialog: Dialog) -> bool:
    """Whether Replaces can name it: with both tags, and of a peer with an address of its own (no flood)."""
    return (
        dialog.call_id.startswith("call") and dialog.tag != "" and "/" not in dialog.tag and _remote_tag(dialog) != ""
    )


def _remote_tag(dialog: Dialog) -> str:
    return parse_name_addr(dialog.remote).tag
