"""`edgesbc import` reads a dispatcher.list as Kamailio itself does."""

from __future__ import annotations

import re
from pathlib import Path

from support.kamailio import kamailio, shown_list
from support.peers import needs

from edgesbc.inventory.dispatcher_list import import_list

pytestmark = needs("kamailio")

LIST = """\
1 sip:127.0.0.1:7001
1 sip:127.0.0.1:7002 0 5 weight=50
1 sip:127.0.0.1:7003 4
1 sip:127.0.0.1:7004;transport=tcp 0 5 duid=a;maxload=20 # a comment
2 sip:127.0.0.1:7005#comment
2 sip:127.0.0.1:7006 duid=b
# 3 sip:127.0.0.1:7007
"""


async def test_destinations_are_in_the_order_in_which_kamailio_tries_them(tmp_path: Path) -> None:
    async with kamailio(tmp_path, LIST):
        shown = await shown_list(tmp_path)
    theirs: dict[str, list[tuple[str, bool]]] = {}
    for part in re.split(r"^\s*ID: ", shown, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"URI: (\S+)\s+FLAGS: (\w)", part)
        theirs[f"set-{part.split()[0]}"] = [(uri, flag == "D") for uri, flag in rows]
    ours = {
        destinations.set: [(member.uri, member.disabled) for member in destinations.members]
        for destinations in import_list(LIST, "dispatcher.list", {}, 8).sets
    }
    assert ours == theirs
