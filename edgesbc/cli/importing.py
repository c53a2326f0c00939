"""``edgesbc import``: converts Kamailio's dispatcher.list to destination sets of a policy."""

from __future__ import annotations

import re
from pathlib import Path

import click

from edgesbc.base import limits
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.cli.group import main
from edgesbc.cli.output import refuse
from edgesbc.inventory.dispatcher_list import ALGORITHMS, NoCounterpart, as_toml, import_list
from edgesbc.inventory.rows import Note, RowError, TableErrors

__all__: list[str] = []

_NAMED = re.compile(r"([0-9]{1,9})=(.+)\Z")


@main.command("import", short_help="Print Kamailio's dispatcher.list as [[destinations]].")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "sets", metavar="NUMBER=NAME", multiple=True, help="Name of a set; without one, set-NUMBER.")
@click.option(
    "--algorithm",
    type=click.IntRange(0, max(ALGORITHMS)),
    help="The number that ds_select_dst is given in kamailio.cfg.",
)
def import_(file: Path, sets: tuple[str, ...], algorithm: int | None) -> None:
    """Print Kamailio's dispatcher list in FILE as [[destinations]] of a policy.

    What has no counterpart is said on stderr, line by line. A list with bad lines is refused: every one is
    named, nothing is printed, and the exit code is 2.

    \b
    Algorithms: 0 to 3 hash, 4 round-robin, 6 random, 8 priority, 9 and 11 weighted, 10 fewest-calls,
    12 broadcast; for 5 and 13 the nearest is taken and said, and 7 has none.

    \b
    Examples:
      edgesbc import /etc/kamailio/dispatcher.list
      edgesbc import dispatcher.list --set 1=gateways --set 2=proxies --algorithm 4 >> edge.toml
    """
    names = _names(sets)
    try:
        imported = import_list(_text(file), str(file), names, algorithm)
    except NoCounterpart as error:
        raise click.UsageError(str(error)) from None
    except TableErrors as errors:
        refuse([_line(error) for error in errors.errors], "nothing was imported")
    for note in imported.notes:
        click.echo(_line(note), err=True)
    click.echo(as_toml(imported.sets), nl=False)


def _line(remark: RowError | Note) -> str:
    return ": ".join(
        filter(None, (f"{remark.table}:{remark.key}" if remark.key else remark.table, remark.column, remark.message))
    )


def _names(sets: tuple[str, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for option in sets:
        match = _NAMED.match(option)
        if match is None:
            raise click.UsageError(f"--set: expected NUMBER=NAME, found {option!r}")
        number = str(int(match[1]))
        if number in names or match[2] in names.values():
            raise click.UsageError(f"--set: expected each number and each name once, found {option!r}")
        names[number] = match[2]
    return names


def _text(file: Path) -> str:
    try:
        data = read_file(file, limits.LIST_BYTES)
    except OSError as error:
        refuse([f"{file}: cannot be read: {error.strerror}"], "nothing was imported")
    except FileTooLarge as error:
        refuse([str(error)], "nothing was imported")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        refuse(
            [f"{file}:{line}: expected text in UTF-8, found the byte {data[error.start]:#04x}"], "nothing was imported"
        )
