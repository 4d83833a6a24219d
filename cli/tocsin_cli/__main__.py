"""This module runs the command as `python -m tocsin_cli`."""

from tocsin_cli.main import main

main()
