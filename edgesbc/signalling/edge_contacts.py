"""EdgeContacts: Contacts of the edge in the place of a phone's, for registrars and dial plans that ignore Path."""

from __future__ import annotations

import enum

from edgesbc.base.address import Flow, Listener
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.sip.headers import NameAddr, parse_name_addr
from edgesbc.sip.message import Fields, Request, Response

__all__ = ["EdgeContacts", "RegisteredContact"]


class RegisteredContact(enum.StrEnum):
    """What a registrar binds."""

    PATH = "path"
    """The phone's own Contact, and the edge's Path (RFC 3327)."""
    EDGE = "edge"
    """A Contact of the edge, which leads to the phone."""


class EdgeContacts:
    """The Contacts of one REGISTER. That of a flow and a phone's Contact is the same each time, so that a phone which
    registers again renews its binding."""

    __slots__ = ("_phones", "_request", "_sender", "_tokens")

    def __init__(self, tokens: ContactTokens, request: Request, sender: Flow) -> None:
        self._tokens = tokens
        self._request = request
        self._sender = sender
        self._phones: dict[str, str] = {}  # the phone's URI by the token that stands for it

    def fields(self, listener: Listener) -> Fields:
        """The Contact fields as the registrar gets them from ``listener``, with the phone's parameters."""
        fields = []
        for value in self._request.get_all("Contact"):
            if value != "*":
                phone = parse_name_addr(value)
                token = self._tokens.binding(phone.uri_text, self._sender)
                self._phones[token] = phone.uri_text
                value = str(NameAddr(phone.display, str(self._tokens.uri_at(listener, token)), phone.params))
            fields.append(("Contact", value))
        return fields

    def restored(self, response: Response) -> Response:
        """The answer of the registrar with the phone's Contacts again."""
        fields = []
        for name, value in response.fields:
            if name == "Contact" and value != "*":
                contact = parse_name_addr(value)
                phone = self._phones.get(contact.uri.user or "")
                if phone is not None:
                    value = str(NameAddr(contact.display, phone, contact.params))
            fields.append((name, value))
        return response.replace(fields=fields)
