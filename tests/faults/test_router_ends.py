"""How programs with a router go on and end: forked, or never closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cheapfirst.ledger.report import report
from cheapfirst.simulator import serve_in_thread

PROGRAM = """
import os, sys
from cheapfirst import Router

router = Router(base_url=sys.argv[1], ledger=sys.argv[2])
router.run("classify", "Where is my parcel?")
child = os.fork()
if child == 0:
    router.run("classify", "Where is my other parcel?")
    router.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
router.run("classify", "Where is my third parcel?")
router.close()
"""


def test_a_used_router_works_on_in_parent_and_child_and_no_row_is_lost(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with serve_in_thread() as simulator:
        command = [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, simulator.base_url, str(ledger)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert report(ledger).total.requests == 3


FORGETFUL = """
import sys
from cheapfirst import Router

router = Router(base_url=sys.argv[1], ledger=sys.argv[2])
router.run("classify", "Where is my parcel?")
"""


def test_a_router_that_nobody_closes_ends_quietly_and_loses_nothing(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with serve_in_thread() as simulator:
        command = [sys.executable, "-W", "error::ResourceWarning", "-c", FORGETFUL, simulator.base_url, str(ledger)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert report(ledger).total.requests == 1
