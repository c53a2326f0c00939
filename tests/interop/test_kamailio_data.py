"""A list of Kamailio's means here what it means there: its attributes, and how many calls each destination gets."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from support.kamailio import kamailio, selected, shown_list
from support.peers import needs

from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.settings import SetSettings
from edgesbc.inventory.dispatcher_list import import_list
from edgesbc.inventory.tables import read_rows

pytestmark = needs("kamailio")

ATTRIBUTES = """\
1 sip:127.0.0.1:1 0 0 weight="50";note="a;b"
1 sip:127.0.0.1:2 0 0 ping_reply_codes="class=2;code=404";weight=30
1 sip:127.0.0.1:3 0 0 flag;weight=20
1 sip:127.0.0.1:4 0 0 a=1,weight=20
1 sip:127.0.0.1:5 0 0 Weight=7;DUID=x
1 sip:127.0.0.1:6 0 0 weight=10;weight=20
1 sip:127.0.0.1:7 0 -5 weight=10
1 sip:127.0.0.1:8 0 5 weight=10 extra words
1 sip:127.0.0.1:9 weight=11
1 sip:127.0.0.1:10 0 0 foo
1 sip:127.0.0.1:11 0 0 weight=5;;duid=z;rweight=6;
1 sip:127.0.0.1:12 0 0 weight=5x;maxload=7y
1 127.0.0.1:13 0 0 weight=5
1 sip:127.0.0.1:14 0 0 weight='7';duid='q'
1 sip:127.0.0.1:15 0 0 duid=e weight=5
1 sip:127.0.0.1:16 0 0 weight=6;#duid=e
1 sip:127.0.0.1:17 8 0 weight=6#x
1 sip:127.0.0.1:18 0 0 weight=+8
1 sip:127.0.0.1:19 0 0 #weight=9
1 sip:127.0.0.1:20#weight=9
"""
LEFT_OUT = ('note="x"y;weight=3', "weight=;duid=q", "duid='q", "socket=udp:192.0.2.9:5060;weight=5")
"""Attributes for which Kamailio leaves the destination out."""


async def test_attributes_are_read_as_kamailio_reads_them(tmp_path: Path) -> None:
    left_out = "".join(f"1 sip:127.0.0.1:{number} 0 0 {text}\n" for number, text in enumerate(LEFT_OUT, 100))
    async with kamailio(tmp_path, ATTRIBUTES + left_out):
        shown = await shown_list(tmp_path)
    theirs = {}
    for part in shown.split("DEST: {")[1:]:
        values = dict(re.findall(r"(URI|PRIORITY|DUID|MAXLOAD|WEIGHT|RWEIGHT): (.+)", part))
        duid, maxload = values.get("DUID", "<null string>"), int(values.get("MAXLOAD", 0))
        weight = int(values.get("WEIGHT", 0)) or 1
        theirs[values["URI"]] = ("" if duid == "<null string>" else duid, maxload, weight)
    (settings,) = import_list(ATTRIBUTES, "dispatcher.list", {}, None).sets
    ours = {
        member.uri: (member.attributes.get("duid", ""), member.max_calls or 0, member.weight)
        for member in settings.members
    }
    assert ours == theirs
    for number, text in enumerate(LEFT_OUT, 1):
        row = {"id": number, "setid": 1, "destination": f"sip:127.0.0.1:{number}", "flags": 0, "attrs": text}
        good = {**row, "id": 99, "destination": "sip:127.0.0.1:99", "attrs": ""}
        groups = read_rows([row, good], "kamailio-dispatcher", "t", ["1"], {}, skip=True)
        assert [member.uri for member in groups.members["1"]] == ["sip:127.0.0.1:99"], text


SHARES = (
    ("weight=80;rweight=20", "weight=20;rweight=80"),
    ("weight=0;rweight=0", "weight=0;rweight=0", "weight=0;rweight=0"),
    ("weight=60;rweight=10", "weight=60;rweight=10", "weight=60;rweight=10"),
    ("weight=30;rweight=1", "weight=20;rweight=100"),
    ("weight=0;rweight=1", "weight=50;rweight=100", "weight=50;rweight=100"),
    ("weight=50;rweight=50", "weight=50", "weight=0;rweight=50"),
    ("weight=50;rweight=7", "weight=150;rweight=101", "weight=10;rweight=5"),
    ("weight=30;rweight=30", "4 weight=40;rweight=40", "weight=30;rweight=30"),
    ("0 5 weight=10;rweight=1", "0 9 weight=90;rweight=2", "0 1 weight=50;rweight=3"),
    ("", "", ""),
    ("rweight=5;weight=5",),
)


def list_of_sets() -> str:
    lines = []
    for number, rows in enumerate(SHARES, 1):
        for port, row in enumerate(rows, 1):
            *columns, attributes = row.split(" ") if row else [""]
            flags, priority = [*columns, "0", "0"][:2]
            lines.append(f"{number} sip:127.0.0.1:{port} {flags} {priority} {attributes}\n")
    lines.append("90 sip:127.0.0.1:1\n90 sip:127.0.0.1:2\n90 sip:127.0.0.1:1\n")  # one of them twice
    return "".join(lines)


def chosen_here(settings: SetSettings, calls: int, held: bool = False) -> Counter[str]:
    dispatcher = Dispatcher([settings], Random(7).random, 0.0)
    counts: Counter[str] = Counter()
    for _ in range(calls):
        lease = dispatcher.acquire(settings.set, 0.0)
        assert lease is not None
        counts[lease.member.settings.uri] += 1
        if not held:
            lease.release()
    return counts


@pytest.mark.parametrize("algorithm", [4, 8, 9, 11])
async def test_each_destination_gets_as_many_calls_as_in_kamailio(tmp_path: Path, algorithm: int) -> None:
    sets = import_list(list_of_sets(), "dispatcher.list", {}, algorithm).sets
    async with kamailio(tmp_path, list_of_sets()) as port:
        for settings in sets:
            number = settings.set.removeprefix("set-")
            assert chosen_here(settings, 300) == await selected(port, f"{number}-{algorithm}", 300), number


async def test_random_gives_about_as_many_calls_as_in_kamailio(tmp_path: Path) -> None:
    """A third of them each; the bounds are six standard deviations from that."""
    text = "1 sip:127.0.0.1:1 0 0 weight=9\n1 sip:127.0.0.1:2\n1 sip:127.0.0.1:3\n"
    (settings,) = import_list(text, "dispatcher.list", {}, 6).sets
    async with kamailio(tmp_path, text) as port:
        for counts in (chosen_here(settings, 300), await selected(port, "1-6", 300)):
            assert all(50 < count < 150 for count in counts.values()), counts
            assert len(counts) == 3


async def test_held_calls_are_spread_by_their_number_as_in_kamailio(tmp_path: Path) -> None:
    rows = ("duid=a;maxload=90", "duid=b;maxload=10", "duid=c")
    text = "".join(f"1 sip:127.0.0.1:{port} 0 0 {row}\n" for port, row in enumerate(rows, 1))
    (settings,) = import_list(text, "dispatcher.list", {}, 10).sets
    async with kamailio(tmp_path, text) as port:
        assert chosen_here(settings, 60, held=True) == await selected(port, "1-10", 60)
