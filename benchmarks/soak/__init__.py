"""A long run of the gateway with faults at both ends: nothing lost, doubled or stuck, and books that agree."""
