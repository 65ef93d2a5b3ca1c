"""The command line as a module: `python -m aimed.cli`."""

from aimed.cli.app import main

main()
