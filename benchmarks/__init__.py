"""Measurements of cheapfirst beside named baselines; each module is one command."""
