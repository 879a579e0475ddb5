"""``python -m mirrord``, and the entry point of the command ``mirrord``."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line with the arguments of the process, and exit with its code.

    What is imported lives as long as the process: looking through it for garbage, while it comes in (`run_async` ends
    that) and once more at the end, took a tenth of a short run each.
    """
    gc.disable()
    from mirrord.cli.main import run

    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
