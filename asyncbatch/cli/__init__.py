"""The command line, a user of the public face: `main` is its entry point, and importing it imports next to nothing."""

import sys
from collections.abc import Sequence
from importlib import import_module

_INSTALL = "pip install 'asyncbatch[cli]'"


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code.

    Args:
        args: The words after the program's name; those of the process by default.
    """
    try:
        for name in ("click", "rich"):
            import_module(name)  # asked for here, so that its absence can be explained
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(f"error: the command line needs {error.name}, which is not installed", file=sys.stderr)
        print(f"hint: {_INSTALL}", file=sys.stderr)
        return 2
    from asyncbatch.cli.commands import start

    return start(list(sys.argv[1:] if args is None else args))
