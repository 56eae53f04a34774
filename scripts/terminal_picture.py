"""Draws what `cheapfirst demo` prints as an SVG picture for the README: `python -m scripts.terminal_picture`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "demo.svg"
WIDTH = 82
LEFT_OUT = ("By feature", "By tenant", "By model", "Why answers", "latency")
"""Tables left out of the picture, which is to fit a screen."""


def main() -> None:
    """Run the demo, and write its screen to docs/images."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "cheapfirst", "demo", "--ledger", "demo.db"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text("$ make demo", style="bold green"))
    console.print(Text.from_ansi(_shortened(done.stdout)))
    svg = console.export_svg(title="cheapfirst demo (simulated models)")
    # The picture must not fetch fonts from anywhere when it is looked at.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")
    print(f"wrote {PICTURE}")


def _shortened(screen: str) -> str:
    """The screen without some of its tables."""
    kept: list[str] = []
    skipping = False
    for line in screen.splitlines():
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
        if plain.startswith(LEFT_OUT):
            skipping = True
        elif plain.startswith(("cheap: ", "Why an answer")):
            skipping = False
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


if __name__ == "__main__":
    main()
