"""``python -m cases``: play the ten cases and print the output of ``edgesbc why``, or write it into its page.

The page is docs/how_to_guides/why.md.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import trio

from cases.play import Report, play
from docs.draw import keep

PAGE = Path(__file__).parents[2] / "docs" / "how_to_guides" / "why.md"


def drawn(reports: dict[str, Report]) -> str:
    """The text of the page: when and where the cases ran, then the command and its output for each."""
    release = ".".join(platform.release().split(".")[:2])
    lines = [
        f"A run of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on Linux {release} with CPython {platform.python_version()}."
    ]
    for heading, report in reports.items():
        lines += ["", f"### {heading}", "", "```", f"$ edgesbc why {report.subject} --policy policy.toml"]
        lines += [*report.output.splitlines(), "```"]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cases", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = drawn(trio.run(play, Path(folder), True))
    if options.write:
        return keep(PAGE, {"cases": text}, write=True)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
