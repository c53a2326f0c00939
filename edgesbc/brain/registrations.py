"""REGISTER on its way inward: Path with a sealed flow token (RFC 3327, RFC 5626), and what comes back."""

from __future__ import annotations

from edgesbc.base.address import Flow, Listener
from edgesbc.brain import topology
from edgesbc.brain.switchboard import Switchboard
from edgesbc.brain.tokens import Target
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Fields, Request, Response

__all__ = ["contacts_of_sender", "path_value", "registered_seconds"]


def path_value(board: Switchboard, request: Request, sender: Flow, listener: Listener) -> Fields:
    """The Path field that leads back to the sender's flow, and *path* in Supported where it is missing."""
    target = Target(sender.listener.name, sender.peer, sender.serial, board.flows.epoch, "")
    uri = topology.contact(listener, board.sealer.seal(target, listener.zone))
    fields = [("Path", f"{uri[:-1]};lr>")]
    if "path" not in (request.get("Supported") or "").replace(",", " ").split():
        fields.append(("Supported", "path"))
    return fields


def contacts_of_sender(request: Request, response: Response) -> list[str]:
    """Those Contacts of a registrar's answer that the request itself named.

    The registrar lists every binding of the address-of-record (RFC 3261 section 10.3); those of phones
    inside would show the inside.
    """
    named = {_uri_text(value) for value in request.get_all("Contact")}
    return [value for value in response.get_all("Contact") if _uri_text(value) in named]


def _uri_text(value: str) -> str:
    return "" if value == "*" else parse_name_addr(value).uri_text


def registered_seconds(request: Request, response: Response) -> int:
    """For how long the answer to a REGISTER binds the sender; 0 where it took a binding away."""
    longest = 0
    for value in contacts_of_sender(request, response):
        expires = parse_name_addr(value).param("expires") or response.get("Expires") or request.get("Expires") or "3600"
        if expires.isascii() and expires.isdigit():
            longest = max(longest, min(int(expires), 7200))
    return longest
