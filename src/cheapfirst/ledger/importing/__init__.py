"""Brings the logs of other tools into the ledger, so that a newcomer sees their own figures on the first day.

`files` reads rows, a module per tool (`litellm`, `langfuse`, `openai`) understands them, `telling` makes each a
finished request, `bringing` enters them, each once.
"""

from cheapfirst.ledger.importing.bringing import SOURCES, Bad, Options, Summary, bring

__all__ = ["SOURCES", "Bad", "Options", "Summary", "bring"]
