"""The command line by the package's name: `python -m asyncbatch`."""

import sys

from asyncbatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
