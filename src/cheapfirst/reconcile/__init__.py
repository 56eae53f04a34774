"""Compares the ledger with the upstream's own books, and names each difference.

`differences` compares (pure), `asking` asks the upstream, `kept` keeps its answers so that a comparison that was
interrupted goes on, `comparing` is the whole walk.
"""

from cheapfirst.reconcile.comparing import Reconciled, reconcile
from cheapfirst.reconcile.differences import Difference

__all__ = ["Difference", "Reconciled", "reconcile"]
