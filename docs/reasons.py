"""``python -m docs.reasons``: the table of ``reasons.md``, from the reasons in the code and the advice below.

Who says a reason is read from the source. Exits 1 where the page says something else; ``--write`` renews it.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import edgesbc
from docs.draw import keep
from edgesbc.base.reasons import Reason

__all__ = ["ADVICE", "PAGE", "drawn", "said_by"]

PAGE = Path(__file__).parent / "reference" / "reasons.md"
_HOUSE = Path(edgesbc.__file__).parent
_SAY_NOTHING: Final = ("base", "observe", "demo", "replay", "screen/shadow_policy.py", "screen/misbehaviour.py")
"""Rooms and files that name reasons and give none."""

ADVICE: Final[Mapping[Reason, str]] = {
    Reason.ACL_DENIED: "Nothing, or take the prefix out of `[screen.acl] deny`.",
    Reason.BANNED: "Ask for the `ban` of the same address: it says which reason led to it. It ends by itself; a peer"
    " that should never be banned is listed as a `[[trunk]]`.",
    Reason.PIKE: "A flood: nothing. A busy peer: list it as a `[[trunk]]`; many phones behind one address: raise"
    " `[screen.pike] reqs_density_per_unit`.",
    Reason.RATELIMIT: "The detail names the bucket: raise its `rate` or `burst` in `[[screen.ratelimit]]`, or"
    " `max_cps` of the trunk.",
    Reason.CONDUCT: "Mend the client: the decisions before this one say what was refused. `[screen.conduct]"
    " points` is how much may be.",
    Reason.CONNECTIONS: "Many from one address: a client that opens and never closes, or a large office behind NAT."
    " The bounds are in SECURITY.md.",
    Reason.HANDSHAKE: "The peer speaks no TLS 1.2, does not trust the certificate, speaks plain SIP on a TLS port, or"
    " was too slow; `subprotocol`: its WebSocket does not ask for `sip`. Scanners of web ports do all of this.",
    Reason.ORIGIN: "Add the page's `https://host` to `origins` of the listener, if it is yours.",
    Reason.MALFORMED: "The detail says what cannot be read. Mend the sender; the edge does not guess.",
    Reason.SANITY: "The detail says which rule. Mend the sender; while it is found out what would break, put `sanity`"
    " into `[screen] shadow`.",
    Reason.TOO_LARGE: "The bounds are in SECURITY.md; no sound message comes near them.",
    Reason.SCANNER: "Nothing. A product of yours with such a name: take its name out of `[screen.scanner]"
    " user_agents`.",
    Reason.METHOD: "Add the method to `[screen.method]` of that side, if peers there need it.",
    Reason.ADMISSION: "A phone has to register first. A peer that calls without: list it as a `[[trunk]]`, or open its"
    " listener in `[screen.admission] open`.",
    Reason.RINGING: "A dialler, or a call centre behind one address: list it as a `[[trunk]]`, or raise"
    " `[screen.admission] ringing`.",
    Reason.GUESS: "The detail says who has run out of tries: the source, its address, or the user that many guess at. A"
    " user of yours with a wrong password in a device: mend that.",
    Reason.EXTENSION: "The sender insists, by Require or Proxy-Require, on what the edge does not have; let it ask by"
    " Supported.",
    Reason.LOOP: "A destination sends calls back, or a route leads to where they came from: look at both.",
    Reason.TOO_MANY_HOPS: "As for `loop`; or the sender begins with too low a Max-Forwards.",
    Reason.TOKEN: "The URI is forged, or from another edge, or from before the key in `state_dir` was lost.",
    Reason.NO_DIALOG: "A late message of a call that is over, or of an edge with another key. Many of them: a peer"
    " that has lost track, or somebody who guesses.",
    Reason.UNMATCHED: "A late or doubled message: nothing.",
    Reason.INTERNAL: "A fault of the edge: report it, with the traceback in the log.",
    Reason.NO_ROUTE: "Look at `[[route]]`: `from`, `methods` and the patterns are tried in the order of the file.",
    Reason.BLOCKED: "A `[[route]]` without `to` refuses it with its `answer`, as the policy wants.",
    Reason.NO_DESTINATION: "All members are down, drained or at `max_calls`, or all that were tried failed: `edgesbc"
    " why` with the address of a member, and the metric `edgesbc_destination_up`.",
    Reason.NO_MEDIA: "The detail says what: no free port (`[media] ports`, RLIMIT_NOFILE), or SDP that is refused.",
    Reason.MEDIA_TIMEOUT: "A phone that went away, or a firewall between it and `[media] address`; silence of a sound"
    " call for longer than `[media] timeout`.",
    Reason.FLOW_GONE: "The client has to register again. A destination's: it does not listen, or its certificate is"
    " refused.",
    Reason.OVERLOAD: "A flood, or too little machine: look at `edgesbc_calls` and `edgesbc_transactions`.",
    Reason.DRAINING: "The edge was told to end. Point callers at its neighbour.",
    Reason.SET_UP_TIMEOUT: "Nobody answered in three minutes. Let the destination end calls earlier.",
    Reason.DURATION: "Four hours: most likely both sides have forgotten the call.",
    Reason.TRUNK_CALLS: "Raise `max_calls` of the trunk, or ask its carrier.",
    Reason.ROUTED: "Nothing: this is how it should be.",
    Reason.FAILOVER: "The detail says which member failed and how. Look after that one.",
    Reason.HEALTH: "The detail says from which state to which, by whose order if it was one. Look after the member if"
    " it is `inactive`; `edgesbc destinations list` has all. From stage `operator`: an order that changed nothing.",
    Reason.NAME: "The detail says what the name stands for now, what nobody answered, or what is not used and why."
    " Ask the same of the name server: `[edge] resolvers`, otherwise that of `/etc/resolv.conf`.",
    Reason.BAN: "The detail says who and for what, the number is its seconds. Of datagrams it is renewed while that"
    " goes on, of connections the next is twice as long. `edgesbc bans list` shows it."
    " From stage `operator`: somebody gave an order, or lifted a ban.",
    Reason.POLICY: "`edgesbc policy log` says which version, who and why. From stage `store`: a database of"
    " destinations is away or back, or its rows are refused or are others.",
}
"""What an operator can do about each, in a line; the one place where that is written."""


def said_by() -> dict[Reason, list[str]]:
    """The files, from ``edgesbc/`` on, in which each reason is given; a comparison gives none."""
    found: dict[Reason, list[str]] = {each: [] for each in Reason}
    for path in sorted(_HOUSE.rglob("*.py")):
        name = path.relative_to(_HOUSE).as_posix()
        if name.split("/")[0] in _SAY_NOTHING or name in _SAY_NOTHING:
            continue
        for reason in set(_given(ast.parse(path.read_text(encoding="utf-8")))):
            found[reason].append(name)
    return found


def _given(node: ast.AST) -> Iterator[Reason]:
    if isinstance(node, ast.Compare):
        return
    if isinstance(node, ast.Attribute):
        if node.attr == "status":
            return  # an answer, which is not entered in the ledger
        if isinstance(node.value, ast.Name) and node.value.id == "Reason" and node.attr in Reason.__members__:
            yield Reason[node.attr]
    for child in ast.iter_child_nodes(node):
        yield from _given(child)


def _where(name: str) -> str:
    """A file as the page names it: a stage by its name, everything else by room and file."""
    *rooms, file = name.removesuffix(".py").split("/")
    text = f"stage `{file}`" if rooms == ["screen", "stages"] else ".".join([*rooms, file])
    return f"[{text}](../../edgesbc/{name})"


def drawn() -> dict[str, str]:
    """What stands between the markers of the page, by the name in the first of them."""
    where = said_by()
    lines = ["| code | answer | meaning | said by | what to do |", "|---|---|---|---|---|"]
    for each in Reason:
        files = ", ".join(map(_where, where[each])) or "-"
        lines.append(f"| `{each.code}` | {each.status or '-'} | {each.meaning} | {files} | {ADVICE[each]} |")
    return {"reasons": "\n".join(lines)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.reasons", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the page")
    return keep(PAGE, drawn(), parser.parse_args(arguments).write)


if __name__ == "__main__":
    raise SystemExit(main())
