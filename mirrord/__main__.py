"""``python -m mirrord``, and the entry point of the command ``mirrord``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line with the arguments of the process, and exit with its code."""
    from mirrord.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
