"""ChallengeMemory: makes refusals of users that do not exist look like challenges (``same_answer`` of ``guess``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from edgesbc.sip.digest import renewed
from edgesbc.sip.message import Response
from edgesbc.sip.phrases import phrase

__all__ = ["ChallengeMemory"]

_TELLS_OF_USERS = frozenset({403, 404, 410, 604})
_OF_EACH = frozenset({"Via", "From", "To", "Call-ID", "CSeq", "Date"})
"""Fields of a response that belong to its request, or to its time."""
_DIGITS, _LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"
_HEX = "0123456789abcdef"
_WORD = re.compile(r"[0-9A-Za-z]+")


class ChallengeMemory:
    """How each destination set asks for a password: its last 401, one message a set.

    For a user that does not exist the like of it is sent, again and again, as to a user that exists and gives a wrong
    password. ``entropy`` gives n random bytes.
    """

    __slots__ = ("_entropy", "_last")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._last: dict[str, Response] = {}

    def disguise(self, set_name: str, response: Response) -> Response:
        """The answer of ``set_name`` to a REGISTER as a stranger may see it: a 401 is remembered, and stands in for
        403, 404, 410 and 604. Before there was one, these are all 403."""
        if response.status == 401 and response.get("WWW-Authenticate") is not None:
            self._last[set_name] = response
            return response
        if response.status not in _TELLS_OF_USERS:
            return response
        last = self._last.get(set_name)
        if last is None:
            fields = [pair for pair in response.fields if pair[0] in _OF_EACH]
            return response.replace(status=403, phrase=phrase(403), fields=fields, body=b"")
        fields = [pair for pair in response.fields if pair[0] == "Via"]
        for name, value in last.fields:
            if name == "WWW-Authenticate":
                fields.append((name, renewed(value, self._random_like)))
            elif name not in _OF_EACH and name != "Contact":
                fields.append((name, value))
            elif name != "Via" and (own := response.get(name)) is not None:
                fields.append((name, own))
        return response.replace(status=last.status, phrase=last.phrase, fields=fields, body=b"")

    def _random_like(self, sample: str) -> str:
        """A text of the same length and kind: in each word of it hex digits for a word in hex, otherwise digits for
        digits and letters for letters; the signs between the words stay."""
        entropy = iter(self._entropy(len(sample)))
        return _WORD.sub(lambda match: _random_word(match[0], entropy), sample)


def _random_word(word: str, entropy: Iterator[int]) -> str:
    if all(sign in _HEX for sign in word) and not word.isdigit():
        return "".join(_HEX[next(entropy) % 16] for _ in word)
    alphabets = (_DIGITS if sign.isdigit() else _LOWER if sign.islower() else _LOWER.upper() for sign in word)
    return "".join(alphabet[next(entropy) % len(alphabet)] for alphabet in alphabets)
