"""`python -m polyface`, the same as the command `polyface`."""

from polyface.cli import main

main()
