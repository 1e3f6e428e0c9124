"""``python -m ancf`` is the command ``ancf``."""

from ancf.cli import main

if __name__ == "__main__":
    main()
