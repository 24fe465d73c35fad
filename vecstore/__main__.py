"""``python -m vecstore``: the same as the command ``vecstore``."""

from vecstore.cli import main

if __name__ == "__main__":
    main()
