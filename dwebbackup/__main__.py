"""`python -m dwebbackup`: the same as the command `dwebbackup`."""

from dwebbackup.cli import main

main()
