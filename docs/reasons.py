"""``python -m docs.reasons``: the table of ``reasons.md``, from the reasons in the code and the advice below.

The files that give a reason are read from the source. Exits 1 if the page differs; ``--write`` renews it.
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

__all__ = ["ADVICE", "PAGE", "drawn", "given_by"]

PAGE = Path(__file__).parent / "reference" / "reasons.md"
_PACKAGE = Path(edgesbc.__file__).parent
_NOT_GIVING: Final = ("base", "observe", "demo", "replay", "screen/shadow_policy.py", "screen/misbehaviour.py")
"""Packages and files that name reasons and give none."""

ADVICE: Final[Mapping[Reason, str]] = {
    Reason.CORE_SOURCE: "A server of yours that is no destination: add its address to `[core] allow`. Any other:"
    " somebody outside reaches the private side; see `device` of `[[listen]]`.",
    Reason.ACL_DENIED: "Nothing, or remove the prefix from `[screen.acl] deny`.",
    Reason.BANNED: "Ask for the `ban` of the same address: it names the reason that led to it. It ends by"
    " itself; list a peer that should never be banned as a `[[trunk]]`.",
    Reason.PIKE: "A flood: nothing. A busy peer: list it as a `[[trunk]]`. Many phones behind one address:"
    " raise `[screen.pike] reqs_density_per_unit`.",
    Reason.RATELIMIT: "The detail names the bucket: raise its `rate` or `burst` in `[[screen.ratelimit]]`, or"
    " `max_cps` of the trunk.",
    Reason.CONDUCT: "Correct the client: the decisions before this one say what was refused."
    " `[screen.conduct] points` is the limit.",
    Reason.WORK: "The detail names most of it. A client with a fault, or an attack: nothing. Many clients behind one"
    " address: raise `[screen.work] per_second` and `burst`.",
    Reason.CONNECTIONS: "Many from one address: a client that opens connections and never closes them, or a large"
    " office behind NAT. The limits are in SECURITY.md.",
    Reason.HANDSHAKE: "The peer does not support TLS 1.2, does not trust the certificate, sends plain SIP to a"
    " TLS port, or was too slow; `subprotocol`: its WebSocket does not request `sip`. Scanners of web"
    " ports cause all of these.",
    Reason.ORIGIN: "Add the page's `https://host` to `origins` of the listener, if it is yours.",
    Reason.MALFORMED: "The detail says what cannot be parsed. Correct the sender; the edge does not guess.",
    Reason.SANITY: "The detail names the rule. Correct the sender; to find out what would be refused, put"
    " `sanity` into `[screen] shadow`.",
    Reason.TOO_LARGE: "The limits are in SECURITY.md; no ordinary message comes near them.",
    Reason.SCANNER: "Nothing. For a product of yours with such a name: remove its name from `[screen.scanner]"
    " user_agents`.",
    Reason.METHOD: "Add the method to `[screen.method]` of that side, if peers there need it.",
    Reason.ADMISSION: "A phone has to register first. List a peer that calls without registration as a"
    " `[[trunk]]`, or open its listener in `[screen.admission] open`.",
    Reason.RINGING: "A dialler, or a call centre behind one address: list it as a `[[trunk]]`, or raise"
    " `[screen.admission] ringing`.",
    Reason.SOURCE_CALLS: "A server that registers as one account, or many callers behind one address of an open"
    " listener: list it as a `[[trunk]]`, or raise `[screen.admission] calls`.",
    Reason.GUESS: "The detail says what has no attempts left: the source, its address, or the user that"
    " many sources guess. If a device of your user has a wrong password, correct it.",
    Reason.EXTENSION: "The sender requires, by Require or Proxy-Require, an extension that the edge does not"
    " have; let it use Supported instead.",
    Reason.LOOP: "A destination sends calls back, or a route leads to their origin: check both."
    " Or a proxy forks one call to more than 32 branches.",
    Reason.TOO_MANY_HOPS: "As for `loop`; or the sender starts with too low a Max-Forwards.",
    Reason.NO_DIALOG: "A late message of a call that has ended, or of an edge with another key. Many of them: a"
    " peer with wrong state, or an attacker that guesses.",
    Reason.TOKEN: "The detail says which. A peer without an account whose address has changed during a call has to call"
    " again. List a carrier that sends from several addresses as one `[[trunk]]`. Anything else is an attempt to act"
    " in a call of others.",
    Reason.UNMATCHED: "A late or duplicate message: nothing.",
    Reason.INTERNAL: "A fault of the edge: report it, with the traceback in the log.",
    Reason.NO_ROUTE: "Check `[[route]]`: `from`, `methods` and the patterns are tried in the order of the file.",
    Reason.DOMAIN: "Add the host to `[domains] names`, if private servers serve it; a call to any other host is an"
    " attempt to use them as a relay.",
    Reason.BLOCKED: "A `[[route]]` without `to` refuses it with its `answer`, as the policy says.",
    Reason.NO_DESTINATION: "All members are down, drained or at `max_calls`, or all that were tried failed: see"
    " `edgesbc why` with the address of a member, and the metric `edgesbc_destination_up`.",
    Reason.BODY: "The detail says what is malformed, or Content-Disposition requires a body that may not cross: add its"
    " media type to `[bodies]`, if the peer may send or get it.",
    Reason.NO_MEDIA: "The detail says why: no free port (`[media] ports`, RLIMIT_NOFILE), or SDP that is refused.",
    Reason.OPEN_OFFER: "Both sides changed the call at once: the phones try again by themselves.",
    Reason.MEDIA_TIMEOUT: "The detail names the side that fell silent, if it was one: a phone that disappeared, a"
    " server that was killed, or a firewall between it and `[media] address`. See `[media] timeout`, `one_way` and"
    " `one_way_timeout`.",
    Reason.ONE_WAY_MEDIA: "The call goes on; unless that side is heard, it ends when it was silent for twice as long"
    ' (`[media] one_way = "end"`), or goes on (`"tell"`). Look as for `media-timeout`, and see `latch` for a NAT that'
    " changes ports.",
    Reason.FLOW_GONE: "A client has to register again. For a destination: it does not listen, or its"
    " certificate is refused.",
    Reason.FLOW_MOVED: "Nothing: this is normal. Many of them: the network, or a proxy in between, closes connections"
    " of phones or browsers.",
    Reason.OVERLOAD: "A flood, or too small a machine: check `edgesbc_calls` and `edgesbc_transactions`.",
    Reason.DRAINING: "The edge was told to stop. Direct callers to another edge.",
    Reason.SET_UP_TIMEOUT: "Nobody answered: see `ring_limit`. Let the destination end calls earlier.",
    Reason.DURATION: "`call_limit` of the route or set, or four hours: then most likely both sides have lost the call.",
    Reason.TRUNK_CALLS: "Raise `max_calls` of the trunk, or ask its carrier.",
    Reason.ROUTED: "Nothing: this is normal.",
    Reason.FAILOVER: "The detail says which member failed and how. Check that member.",
    Reason.HEALTH: "The detail shows the old and the new state, and the operator if it was an order. Check"
    " the member if it is `inactive`; `edgesbc destinations list` shows all. From stage `operator`: an"
    " order that changed nothing.",
    Reason.NAME: "The detail shows the addresses of the name now, the query without an answer, or the"
    " address that is not used and why. Ask the same name server: `[edge] resolvers`, otherwise that in"
    " `/etc/resolv.conf`.",
    Reason.BAN: "The detail shows the source and the reason, the number is its seconds. A ban of"
    " datagrams is renewed while they go on; the next ban of connections is twice as long. `edgesbc bans"
    " list` shows it. From stage `operator`: somebody gave an order or lifted a ban.",
    Reason.POLICY: "`edgesbc policy log` shows version, author and reason. From stage `store`: a database of"
    " destinations is unreachable or back, or its rows are refused or have changed.",
}
"""One line for each reason: what an operator can do about it. This is the only place where that is written."""


def given_by() -> dict[Reason, list[str]]:
    """The files, relative to ``edgesbc/``, that give each reason; a comparison does not give one."""
    files: dict[Reason, list[str]] = {reason: [] for reason in Reason}
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE).as_posix()
        if name.split("/")[0] in _NOT_GIVING or name in _NOT_GIVING:
            continue
        for reason in set(_given(ast.parse(path.read_text(encoding="utf-8")))):
            files[reason].append(name)
    return files


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
    """The link to a file: a stage by its name, any other file by package and module."""
    *packages, file = name.removesuffix(".py").split("/")
    text = f"stage `{file}`" if packages == ["screen", "stages"] else ".".join([*packages, file])
    return f"[{text}](../../edgesbc/{name})"


def drawn() -> dict[str, str]:
    """The text between the markers of the page, by the name in the opening marker."""
    where = given_by()
    lines = ["| code | answer | meaning | given by | what to do |", "|---|---|---|---|---|"]
    for reason in Reason:
        files = ", ".join(map(_where, where[reason])) or "-"
        lines.append(f"| `{reason.code}` | {reason.status or '-'} | {reason.meaning} | {files} | {ADVICE[reason]} |")
    return {"reasons": "\n".join(lines)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.reasons", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the page")
    return keep(PAGE, drawn(), parser.parse_args(arguments).write)


if __name__ == "__main__":
    raise SystemExit(main())
