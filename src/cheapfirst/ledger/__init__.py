"""Where finished requests are recorded, and the single source of every figure shown.

`Recorder` takes stories, `report` answers questions about them, `locate` says where the ledger is.
"""

from cheapfirst.ledger.place import locate
from cheapfirst.ledger.recorder import Recorder
from cheapfirst.ledger.writer import Losses

__all__ = ["Losses", "Recorder", "locate"]
