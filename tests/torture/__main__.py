"""Prints the table: the expected outcome of each message, and its outcome. Exits with 1 if they differ."""

from __future__ import annotations

import sys

from torture.case import Case
from torture.table import CASES


def main() -> int:
    rows = [("message", "over", "layer", "expected", "got", "")] + [_row(case) for case in CASES]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip())
    wrong = sum(bool(row[5]) for row in rows)
    print(f"{len(CASES)} messages, {wrong} not as expected")
    return int(wrong > 0)


def _row(case: Case) -> tuple[str, ...]:
    try:
        result = case.run()
        for message in result.forwarded:
            for check in case.checks:
                check(message)
    except Exception as error:  # noqa: BLE001 - the row shows it
        return (case.title, case.over, case.layer, case.expected, type(error).__name__, "WRONG")
    wrong = "" if result.outcome == case.expected else "WRONG"
    return (case.title, case.over, case.layer, case.expected, result.outcome, wrong)


if __name__ == "__main__":
    sys.exit(main())
