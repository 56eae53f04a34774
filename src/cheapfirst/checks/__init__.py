"""Verdicts in code: reads an answer, holds it against the schema and the checks, and says everything that is wrong."""

from cheapfirst.checks.context import Context
from cheapfirst.checks.custom import Function, load
from cheapfirst.checks.judge import Judgment, judge
from cheapfirst.checks.schema import Schema
from cheapfirst.checks.schema import read as read_schema

__all__ = ["Context", "Function", "Judgment", "Schema", "judge", "load", "read_schema"]
