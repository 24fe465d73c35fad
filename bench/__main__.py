"""``python -m vecstore.bench``: the same as the command ``vecstore bench``."""

import sys

from vecstore.cli import main

if __name__ == "__main__":
    main(["bench", *sys.argv[1:]])
