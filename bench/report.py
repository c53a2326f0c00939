"""Formats the figures as plain tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["render"]

_CALLS = [
    ("cpu_us", "CPU a call, µs", "{:.0f}"),
    ("core_share", "of one core", "{:.1%}"),
    ("calls", "calls a round", "{:.0f}"),
    ("failed", "failed, all rounds", "{:.0f}"),
    ("retransmissions", "retransmissions, all rounds", "{:.0f}"),
    ("setup_ms", "mean set-up, ms (20 of ringing)", "{:.1f}"),
    ("rss_mib", "RSS of all processes, MiB", "{:.1f}"),
    ("pss_mib", "the same, shared pages once, MiB", "{:.1f}"),
]
_ANCHORED = [
    *_CALLS[:5],
    ("setup_ms", "mean set-up, ms (20 of ringing)", "{:.1f}"),
    ("sockets", "media ports at once", "{:.0f}"),
    ("sockets_left", "media ports after the last call", "{:.0f}"),
    ("pss_mib", "memory, shared pages once, MiB", "{:.1f}"),
]
_HELD_RATES = [
    ("rate", "calls/s without a failure", "{:.0f}"),
    ("failed", "failed at the rate above", "{:.0f}"),
    ("core_share", "of one core", "{:.0%}"),
    ("sockets", "media ports at once", "{:.0f}"),
    ("setup_ms", "mean set-up, ms", "{:.1f}"),
]
_RELAY = [
    ("cpu_us", "CPU a packet, µs", "{:.2f}"),
    ("whole_us", "the same with the kernel relay's work, µs", "{:.2f}"),
    ("added_p50_us", "added latency p50, µs", "{:.0f}"),
    ("added_p99_us", "added latency p99, µs", "{:.0f}"),
    ("sent", "packets a round", "{:.0f}"),
    ("lost", "lost, all rounds", "{:.0f}"),
    ("pss_mib", "memory, shared pages once, MiB", "{:.1f}"),
]
_FLOODS = [
    ("pps", "sent/s", "{:.0f}"),
    ("core_share", "CPU", "{:.1%}"),
    ("waited_share", "waited", "{:.1%}"),
    ("attack_share", "attack", "{:.1%}"),
    ("read", "read/s", "{:.0f}"),
    ("cpu_us", "µs/sent", "{:.2f}"),
    ("read_us", "µs/read", "{:.2f}"),
    ("answers", "answers", "{:.0f}"),
    ("failed", "failed", "{:.0f}"),
    ("retransmissions", "retrans.", "{:.0f}"),
    ("setup_p50_ms", "p50", "{:.0f}"),
    ("setup_p99_ms", "p99", "{:.0f}"),
    ("setup_max_ms", "max", "{:.0f}"),
    ("pss_before_mib", "MiB", "{:.1f}"),
    ("pss_after_mib", "after", "{:.1f}"),
    ("attacker_share", "sender's CPU", "{:.0%}"),
]
_FAILURES = [
    ("calls", "calls", "{:.0f}"),
    ("failed", "failed", "{:.0f}"),
    ("late", "late", "{:.0f}"),
    ("setup_p50_ms", "set-up p50", "{:.0f}"),
    ("setup_late_p50_ms", "late p50", "{:.0f}"),
    ("setup_max_ms", "longest", "{:.0f}"),
]
_STREAM_ROWS = {
    "message tcp": "message, TCP",
    "message tls": "message, TLS",
    "message wss": "message, WSS",
    "connection tcp": "new connection, TCP",
    "connection tls": "new connection, TLS",
    "connection tls resumed": "the same, resumed",
    "connection wss": "new connection, WSS",
    "connection wss resumed": "the same, resumed",
}
_WAITS = [("p50_us", "p50", "{:.0f}"), ("p99_us", "p99", "{:.0f}"), ("unanswered", "unanswered", "{:.0f}")]
_OPENED = [
    ("rate", "a second", "{:.0f}"),
    ("resumed", "resumed", "{:.0f}"),
    ("failed", "failed", "{:.0f}"),
    ("growth_mib", "MiB more", "{:.1f}"),
]
_SOAK = [
    ("seconds", "seconds", "{:.0f}"),
    ("open", "peers", "{:.0f}"),
    ("opened", "opened", "{:.0f}"),
    ("answered", "answers", "{:.0f}"),
    ("failed", "failed", "{:.0f}"),
    ("refused", "refused", "{:.0f}"),
    ("p99_ms", "p99 ms", "{:.0f}"),
    ("connections", "connections", "{:.0f}"),
    ("descriptors", "descriptors", "{:.0f}"),
    ("tasks", "tasks", "{:.0f}"),
    ("bans", "bans", "{:.0f}"),
    ("rss_mib", "RSS MiB", "{:.1f}"),
    ("core_share", "CPU", "{:.0%}"),
]
_HELD = [
    ("connections", "connections", "{:.0f}"),
    ("descriptors", "descriptors", "{:.0f}"),
    ("tasks", "tasks", "{:.0f}"),
    ("objects", "objects", "{:.0f}"),
    ("rss_mib", "RSS MiB", "{:.1f}"),
]
_CALL_SOAK = [
    ("seconds", "seconds", "{:.0f}"),
    ("open", "at once", "{:.0f}"),
    ("placed", "placed", "{:.0f}"),
    ("failed", "failed", "{:.0f}"),
    ("lost", "packets lost", "{:.0f}"),
    ("calls", "calls", "{:.0f}"),
    ("sessions", "sessions", "{:.0f}"),
    ("ports", "ports", "{:.0f}"),
    ("sockets", "sockets", "{:.0f}"),
    ("descriptors", "descriptors", "{:.0f}"),
    ("pss_mib", "MiB", "{:.1f}"),
    ("core_share", "CPU", "{:.0%}"),
]
_CALLS_HELD = [*_CALL_SOAK[5:11], ("transactions", "transactions", "{:.0f}")]
_CHOICES = [("median_us", "median", "{:.1f}"), ("p99_us", "p99", "{:.1f}"), ("mean_us", "mean", "{:.1f}")]
_SWAPS = [("median_ms", "median", "{:.2f}"), ("max_ms", "longest", "{:.2f}"), ("first_ms", "first choice", "{:.2f}")]
_LOOPS = [("median_us", "median", "{:.2f}"), ("best_us", "best", "{:.2f}")]


def render(results: Mapping[str, Any]) -> str:
    """The report of all measured parts."""
    parts = [_table([[name, value] for name, value in results["machine"].items()])]
    if "calls" in results:
        calls = results["calls"]
        run = calls["settings"]
        parts.append(
            f"Calls: {run['rate']} a second for {run['seconds']} s, 7 messages each, {run['rounds']} rounds, medians\n"
            f"(Kamailio: {run['kamailio_children_per_socket']} processes a socket; "
            f"{'timers run out' if run['settle'] else 'last timers not awaited'})\n"
            + _compared(calls, _CALLS, "Kamailio")
        )
    if "anchored" in results:
        parts.append(_anchored(results["anchored"]))
    if "floods" in results:
        parts.append(_floods(results["floods"]))
    if "relay" in results:
        relay = results["relay"]
        run = relay["settings"]
        parts.append(
            f"RTP relay: {run['flows']} calls, {run['flows'] * 100} packets of 172 bytes a second, {run['seconds']} s, "
            f"{run['rounds']} rounds, medians\n(rtpengine: user space, {run['rtpengine_threads']} worker; latency "
            f"above that of loopback itself, p50 {relay['direct']['p50_us']:.0f} µs)\n"
            + _compared(relay, _RELAY, "rtpengine")
        )
        if ratio := relay.get("kernel_ratios"):
            spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
            parts[-1] += f"\nthe same with the kernel relay's work, kernel to rtpengine: {spread}"
    if "streams" in results:
        parts.append(_streams(results["streams"]))
    if "parse" in results:
        rows = [[name, *_cells(figures, _LOOPS)] for name, figures in results["parse"].items()]
        parts.append("In one process, µs\n" + _table([["", *(title for _, title, _ in _LOOPS)], *rows]))
    if "tracker" in results:
        rows = [["", "bytes"], *([name, f"{size:.0f}"] for name, size in results["tracker"].items())]
        parts.append("Memory for a tracked source, with a full table\n" + _table(rows))
    if "failures" in results:
        parts.append(_failures(results["failures"]))
    if "soak" in results:
        parts.append(_soak(results["soak"]))
    if "call_soak" in results:
        parts.append(_call_soak(results["call_soak"]))
    if "dispatch" in results:
        parts.append(_dispatch(results["dispatch"]))
    parts += [f"not measured: {reason}" for reason in results["left_out"]]
    return "\n\n".join(parts) + "\n"


def _anchored(anchored: Mapping[str, Any]) -> str:
    run, medians = anchored["settings"], anchored["medians"]
    text = (
        f"Calls with anchored media: {run['rate']} a second for {run['seconds']} s, 7 messages each, no RTP, "
        f"{run['rounds']} rounds, medians\n(Kamailio: {run['kamailio_children_per_socket']} processes a socket, "
        f'rtpengine: {run["rtpengine_threads"]} worker; processes: the edge with planes = "processes";\n'
        f"{'timers run out' if run['settle'] else 'last timers not awaited'})\n"
    )
    rows = [["", *medians]]
    rows += [[title, *(form.format(figures[key]) for figures in medians.values())] for key, title, form in _ANCHORED]
    text += _table(rows)
    for name, ratio in anchored["ratios"].items():
        text += f"\nCPU, {name} to peers: {ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
    held = anchored["held"]
    if not held:
        return text
    rows = [["", *held]]
    rows += [[title, *(form.format(figures[key]) for figures in held.values())] for key, title, form in _HELD_RATES]
    first, last = run["ports"]
    return (
        f"{text}\n\nCalls of {run['hold_ms'] / 1000:g} s for {run['seconds']} s with the ports {first} to {last}, "
        f"the first of {', '.join(map(str, run['held_rates']))} a second that all succeed at\n{_table(rows)}"
    )


def _streams(streams: Mapping[str, Any]) -> str:
    run, medians, compared = streams["settings"], streams["medians"], streams.get("ratios", {})
    engines = list(next(iter(medians.values())))
    rounds = "1 round" if run["rounds"] == 1 else f"{run['rounds']} rounds, medians"
    text = (
        f"Streams: OPTIONS, {run['rate']} a second over {run['connections']} connections for {run['seconds']} s; "
        f"{run['new_rate']} new connections a second for {run['new_seconds']} s; {rounds}\n"
        f"(Kamailio: {run['kamailio_tcp_children']} process reads from connections; "
        f"{', '.join(f'{name}: {cipher}' for name, cipher in streams['ciphers'].items())};\n"
        "new connection: with one message, closed by the client)\n"
    )
    costs = [["CPU, µs", *engines, *(["edge to Kamailio", "lowest", "highest"] if compared else [])]]
    waits = [["answer after, µs", *(f"{name}: {title}" for name in engines for _, title, _ in _WAITS)]]
    opened = [["new connections", *(f"{name}: {title}" for name in engines for _, title, _ in _OPENED)]]
    for row, title in _STREAM_ROWS.items():
        figures, ratio = medians[row], compared.get(row)
        quotients = [f"{ratio[key]:.2f}" if ratio else "-" for key in ("median", "lowest", "highest")]
        costs.append([title, *(f"{figures[name]['cpu_us']:.0f}" for name in engines), *(quotients if compared else [])])
        rows, columns = (waits, _WAITS) if row.startswith("message") else (opened, _OPENED)
        rows.append([title, *(cell for name in engines for cell in _cells(figures[name], columns))])
    memory = [[f"KiB of each of {run['idle']} idle connections", *engines]]
    for transport, sizes in streams["idle_kib"].items():
        memory.append([transport.upper(), *(f"{sizes[name]:.1f}" for name in engines)])
    return text + "\n\n".join(_table(rows) for rows in (costs, waits, opened, memory))


def _failures(results: Mapping[str, Any]) -> str:
    run = results["settings"]
    rows = [["", *(title for _, title, _ in _FAILURES)]]
    for kind, rounds in results["rounds"].items():
        rows += [[f"{kind}, round {number}", *_cells(figures, _FAILURES)] for number, figures in enumerate(rounds, 1)]
    return (
        f"One of two destinations fails half-way: {run['rate']} calls a second for {run['seconds']} s, "
        "try_timeout 2 s, no probes\n"
        f"(late: set up after a second or more; times in ms, 100 of them the destination's)\n{_table(rows)}"
    )


def _soak(soak: Mapping[str, Any]) -> str:
    run, begin, end = soak["settings"], soak["begin"], soak["end"]
    rows = [[title for _, title, _ in _SOAK]]
    rows += [_cells(row | {"failed": sum(row["failed"].values())}, _SOAK) for row in soak["rows"]]
    held = [["held by the edge", "before", "after"]]
    held += [[title, form.format(begin[key]), form.format(end[key])] for key, title, form in _HELD]
    left = ", ".join(f"{count:.0f} {key}" for key, count in soak["left"].items())
    return (
        f"Soak: {run['connections']} connections at once over TCP, TLS and WSS for {run['seconds']} s, each for "
        f"{run['least_life']:g} to {run['most_life']:g} s\n"
        "(peers to p99 ms: counted by the peers; the rest: by the edge;\n"
        "refused: over the limit of an address, or banned)\n"
        f"{_table(rows)}\n\n{_table(held)}\n"
        f"objects that only the garbage collector has freed: {end['in_cycles']:.0f}\n"
        f"memory after the first third: {soak['mib_an_hour']:+.1f} MiB an hour\n"
        f"left: {left or 'nothing'}"
        + "".join(f"\nfailed: {count}: {what}" for what, count in sorted(soak["peers"]["failed"].items()))
    )


def _call_soak(soak: Mapping[str, Any]) -> str:
    run, begin, end = soak["settings"], soak["begin"], soak["end"]
    rows = [[title for _, title, _ in _CALL_SOAK]]
    rows += [_cells(row | {"failed": sum(row["failed"].values())}, _CALL_SOAK) for row in soak["rows"]]
    held = [["held by the edge", "before", "after"]]
    held += [[title, form.format(begin[key]), form.format(end[key])] for key, title, form in _CALLS_HELD]
    return (
        f"Soak of calls: {run['calls']} at once for {run['seconds']} s, each for {run['least_life']:g} to "
        f"{run['most_life']:g} s with a packet each {run['interval'] * 1000:g} ms\n"
        "(at once to packets lost: counted by the callers; the rest: by the edge and the kernel)\n"
        f"{_table(rows)}\n\n{_table(held)}\n"
        f"memory after the first third: {soak['kib_a_call']:+.2f} KiB a call, {soak['mib_an_hour']:+.1f} MiB an hour\n"
        f"left: {', '.join(f'{count:.4g} {key}' for key, count in soak['left'].items()) or 'nothing'}"
        + "".join(f"\nfailed: {count}: {what}" for what, count in sorted(soak["failed"].items()))
    )


def _dispatch(results: Mapping[str, Any]) -> str:
    choices = [["", *(title for _, title, _ in _CHOICES)]]
    choices += [[name, *_cells(figures, _CHOICES)] for name, figures in results["choices"].items()]
    shares = [["", "measured"], *([name, f"{share:.4g}"] for name, share in results["shares"].items())]
    swaps = [["", *(title for _, title, _ in _SWAPS)]]
    swaps += [[name, *_cells(figures, _SWAPS)] for name, figures in results["swaps"].items()]
    return (
        f"A choice among 1,000 members of seven weights, with its lease, µs\n{_table(choices)}\n\n"
        "Shares: of 10,000 calls over weights of 70, 20, 5, 3 and 2; of 20,000 keys over 20 members\n"
        f"{_table(shares)}\n\n"
        f"Swap of a set of 1,000 members, by hash, and the first choice after it, ms\n{_table(swaps)}"
    )


def _floods(floods: Mapping[str, Any]) -> str:
    run, medians = floods["settings"], floods["medians"]
    engines = list(next(iter(medians.values())))
    rounds = "1 round" if run["rounds"] == 1 else f"{run['rounds']} rounds, medians"
    text = (
        f"Floods: a trunk's {run['rate']} calls a second for {run['seconds']} s during INVITEs of one banned source, "
        f"or of {run['sources']} in turn; {rounds}\n(the attacker runs on core {run['attackers_core']}, which other "
        f"processes may use; Kamailio: {run['kamailio_children_per_socket']} processes a socket;\n"
        "CPU in parts of one core, attack: without the CPU of the calls at idle; read: not dropped by the kernel, by a "
        "filter or for lack of room;\nset-up in ms, 20 of ringing; memory with shared pages once)\n"
    )
    rows = [["", *(title for _, title, _ in _FLOODS)]]
    rows += [[f"{name}: {engine}", *_cells(medians[name][engine], _FLOODS)] for engine in engines for name in medians]
    return f"{text}{_table(rows)}\n\n{_table(_flood_ratios(medians, floods.get('ratios', {}), engines))}"


def _flood_ratios(medians: Mapping[str, Any], ratios: Mapping[str, Any], engines: Sequence[str]) -> list[list[str]]:
    """For each attack: CPU of the edge relative to Kamailio's, and set-up p99 of each engine relative to idle."""
    prices = {"cpu_us": "CPU a packet sent, edge to Kamailio", "read_us": "a packet read"} if ratios else {}
    rows = [["", *prices.values(), *(f"p99 to idle: {engine}" for engine in engines)]]
    for name in medians:
        if name != "idle":
            slower = [medians[name][it]["setup_p99_ms"] / medians["idle"][it]["setup_p99_ms"] for it in engines]
            cpu = [f"{ratio['median']:.2f}" if (ratio := ratios[name][key]) else "-" for key in prices]
            rows.append([name, *cpu, *(f"{quotient:.2f}" for quotient in slower)])
    return rows


def _compared(measured: Mapping[str, Any], columns: Sequence[tuple[str, str, str]], peer: str) -> str:
    medians = measured["medians"]
    rows = [["", *medians]]
    rows += [[title, *(form.format(figures[key]) for figures in medians.values())] for key, title, form in columns]
    text = _table(rows)
    if ratio := measured.get("ratios"):
        text += f"\nCPU, edge to {peer}: {ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
    return text


def _cells(figures: Mapping[str, float], columns: Iterable[tuple[str, str, str]]) -> list[str]:
    return [form.format(figures[key]) for key, _, form in columns]


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    numbers = len(rows[0]) > 2 or not rows[0][0]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if numbers and column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
