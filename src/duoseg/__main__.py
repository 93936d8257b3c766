"""``python -m duoseg``: the same as the command ``duoseg``."""

from duoseg.cli import main

main()
