"""The documentation names what exists, its links resolve and its snippets compile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripts import cli_reference

import cheapfirst
import stories
from cheapfirst import errors
from cheapfirst.gateway import logs, metrics, tracing
from cheapfirst.policy.checks import CHECKS
from cheapfirst.upstream.faults import FAULTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
VARIABLES = re.compile(r"\bCHEAPFIRST_[A-Z_]+\b|\bXDG_[A-Z]+_HOME\b")


def _reference(page: str) -> str:
    return (DOCS / "reference" / page).read_text("utf-8")


def _missing(names: set[str], text: str) -> list[str]:
    return sorted(name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))


def test_every_error_class_is_in_the_errors_page() -> None:
    names = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.CheapfirstError)}
    assert _missing(names, _reference("errors.md")) == []


def test_every_public_name_is_in_the_library_or_errors_page() -> None:
    assert _missing(set(cheapfirst.__all__), _reference("library.md") + _reference("errors.md")) == []


def test_every_check_is_in_the_checks_page() -> None:
    assert _missing(set(CHECKS), _reference("checks.md")) == []


def test_every_upstream_fault_is_in_the_upstream_page() -> None:
    assert _missing(set(FAULTS), _reference("upstream.md")) == []


def test_every_metric_log_field_and_span_attribute_is_in_the_observability_page() -> None:
    told = stories.escalated(first_token=0.1)
    names = {family.full for family in metrics.FAMILIES}
    names |= {label for family in metrics.FAMILIES for label in family.labels}
    names |= set(logs.of_story(told, "0" * 32)) | set(tracing.of_story(told, "chat"))
    names |= {name for attempt in told.attempts for name in tracing.of_attempt(attempt, "chat")}
    assert _missing(names, _reference("observability.md")) == []


def test_every_environment_variable_of_the_source_is_in_the_environment_page() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert _missing(set(VARIABLES.findall(source)), _reference("environment.md")) == []


def test_the_command_line_page_is_what_the_commands_say_of_themselves() -> None:
    assert cli_reference.page() == _reference("cli.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_other_files_resolve(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    inside = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert not {link for link in inside if not (page.parent / link).exists()}


@pytest.mark.parametrize("page", [PAGES[0], DOCS / "tutorial" / "first-steps.md"], ids=lambda page: page.name)
def test_python_snippets_compile(page: Path) -> None:
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(snippet, page.name, "exec")
