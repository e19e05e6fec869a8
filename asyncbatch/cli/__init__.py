"""The command line, a user of the public face: `main` is its entry point, and importing it imports next to nothing."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

_INSTALL = "pip install 'asyncbatch[cli]'"


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code.

    Args:
        args: The words after the program's name; those of the process by default.
    """
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        print(f"error: the command line needs {' and '.join(missing)}, not installed here", file=sys.stderr)
        print(f"hint: {_INSTALL}", file=sys.stderr)
        return 2
    from asyncbatch.cli.commands import start

    return start(list(sys.argv[1:] if args is None else args))
