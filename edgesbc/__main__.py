"""``python -m edgesbc``."""

from edgesbc.cli import main

if __name__ == "__main__":
    main()
