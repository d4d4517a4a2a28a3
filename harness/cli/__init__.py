"""The `pathproof` command: one file per group of commands. Wiring and words, no logic of tests.

Modules that take long to import are imported where they are used, so that `--help` is quick.
"""

import sys


def main() -> None:
    """Run the command line of this process; ends the process."""
    try:
        from harness.cli.app import app

        app()
    except KeyboardInterrupt:  # before any command had begun
        sys.exit(130)
