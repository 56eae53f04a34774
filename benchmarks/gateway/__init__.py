"""The gateway beside other gateways, in front of the same upstream: `python -m benchmarks.gateway --help`."""
