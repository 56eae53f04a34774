"""Commands for maintainers, run as `python -m scripts.NAME`."""
