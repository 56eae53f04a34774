"""`python -m cheapfirst` is the `cheapfirst` command."""

from cheapfirst.cli import main

main()
