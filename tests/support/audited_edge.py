"""The command line of edgesbc, as a program that writes the name of each module that it imports to a file.

``python audited_edge.py FILE ARGUMENTS``. The file is opened at once: later there may be no descriptor for it.
"""

from __future__ import annotations

import os
import sys

__all__: list[str] = []

if __name__ == "__main__":
    imported = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "import":
            os.write(imported, f"{arguments[0]}\n".encode())

    sys.addaudithook(note)
    from edgesbc.cli import main

    main()
