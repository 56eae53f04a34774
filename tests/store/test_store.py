"""`ledger.store`: a file that is a ledger, and journals brought into it once, whatever is in them."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import journal, store
from cheapfirst.ledger.rows import AttemptRow, LossRow, PlanRow, RequestRow, cost_line, line, loss_line, rows, values
from cheapfirst.messages import Settled, Story, Usage
from stories import escalated, stories, story

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "ledger.md"


def ids(path: Path) -> list[str]:
    with sqlite3.connect(path) as db:
        return [row[0] for row in db.execute("SELECT id FROM requests ORDER BY rowid")]


def losses(path: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(path) as db:
        return db.execute("SELECT kind, count FROM losses").fetchall()


def left(path: Path, content: bytes, name: str = "1-dead.jsonl") -> Path:
    """A journal that a dead process left beside the ledger."""
    folder = journal.directory(path)
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def replay(path: Path, folder: Path) -> None:
    opened = store.open_store(path)
    store.bring_in_left(opened.db, folder)
    opened.db.close()


def test_what_a_dead_process_left_is_brought_in_and_its_journal_removed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    folder = left(path, line(story(id="a")) + line(escalated(id="b")))
    replay(path, folder)
    assert ids(path) == ["a", "b"]
    assert journal.present(folder) == []
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM attempts").fetchone() == (3,)
        assert db.execute("SELECT count(*) FROM journals").fetchone() == (0,)


def test_a_journal_of_a_living_process_is_read_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    own = journal.create(journal.directory(path))
    own.append(line(story(id="a")))
    opened = store.open_store(path)
    store.bring_in_left(opened.db, own.path.parent)
    assert ids(path) == []
    store.bring_in_live(opened.db, own.path.parent)
    own.append(line(story(id="b")))
    store.bring_in_live(opened.db, own.path.parent)
    store.bring_in_live(opened.db, own.path.parent)
    assert ids(path) == ["a", "b"]
    assert own.path.exists()
    own.close()
    opened.db.close()


def test_the_same_journal_twice_gives_each_request_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    content = line(story(id="a")) + line(escalated(id="b"))
    for name in ("1-first.jsonl", "2-copy.jsonl"):
        replay(path, left(path, content, name))
    assert ids(path) == ["a", "b"]
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT sum(attempts), (SELECT count(*) FROM attempts) FROM requests").fetchone() == (3, 3)


def test_garbage_between_lines_is_skipped_counted_and_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    garbage = b'\x00\x00\xff{"request": 1}\n{"request":{"id":5}}\n\n[]\n'
    replay(path, left(path, line(story(id="a")) + garbage + line(story(id="b"))))
    assert ids(path) == ["a", "b"]
    assert losses(path) == [("unreadable", 3)]


@settings(max_examples=40)
@given(st.data())
def test_a_journal_torn_anywhere_keeps_every_whole_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("store") / "ledger.db"
    told = [data.draw(stories()) for _ in range(3)]
    lines = [line(one) for one in told]
    cut = data.draw(st.integers(0, sum(map(len, lines))))
    replay(path, left(path, b"".join(lines)[:cut]))
    whole, size = 0, 0
    while whole < 3 and size + len(lines[whole]) - 1 <= cut:  # a line is whole without its newline
        size += len(lines[whole])
        whole += 1
    assert ids(path) == [one.request.id for one in told[:whole]]
    assert losses(path) == ([("unreadable", 1)] if cut > size else [])


@settings(max_examples=40)
@given(stories())
def test_what_is_stored_is_what_was_told(tmp_path_factory: pytest.TempPathFactory, told: Story) -> None:
    path = tmp_path_factory.mktemp("store") / "ledger.db"
    replay(path, left(path, line(told)))
    request, attempts = rows(told)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT * FROM requests").fetchall() == [values(request)]
        assert db.execute("SELECT * FROM attempts ORDER BY number").fetchall() == [values(row) for row in attempts]


def test_a_line_whose_values_no_column_holds_is_counted_and_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    huge = line(story(id="huge")).replace(b'"cost_known":2000000', b'"cost_known":' + str(2**64).encode())
    assert str(2**64).encode() in huge
    replay(path, left(path, line(story(id="a")) + huge + line(story(id="b"))))
    assert ids(path) == ["a", "b"]
    assert losses(path) == [("unreadable", 1)]


def test_a_loss_is_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    lost = loss_line(LossRow(id="x", time=1.0, kind="dropped", count=7, reason="disk full"))
    for name in ("1-first.jsonl", "2-copy.jsonl"):
        replay(path, left(path, lost, name))
    assert losses(path) == [("dropped", 7)]


def test_two_connections_bring_one_journal_in_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    folder = left(path, b"".join(line(story(id=str(number))) for number in range(50)) + b"garbage\n")
    one, two = store.open_store(path), store.open_store(path)
    store.bring_in_live(one.db, folder)
    store.bring_in_live(two.db, folder)
    store.bring_in_left(two.db, folder)
    store.bring_in_left(one.db, folder)
    assert len(ids(path)) == 50
    assert losses(path) == [("unreadable", 1)]
    one.db.close()
    two.db.close()


def test_a_journal_that_its_owner_has_just_removed_is_not_brought_in_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    folder = left(path, b"garbage\n")
    opened = store.open_store(path)
    fd = os.open(folder / "1-dead.jsonl", os.O_RDONLY)  # a slow reader has it open
    store.bring_in_left(opened.db, folder)
    store.bring_in(opened.db, "1-dead.jsonl", fd, ended=False)
    assert losses(path) == [("unreadable", 1)]
    os.close(fd)
    opened.db.close()


def test_a_new_ledger_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.db"
    opened = store.open_store(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {other.stat().st_mode & 0o777 for other in path.parent.iterdir()} == {0o600}
    opened.db.close()


def test_a_file_that_is_not_a_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"these are my notes, not a ledger\n" * 100)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger"):
        store.open_store(path)
    with pytest.raises(LedgerError, match="not a ledger"):
        store.open_for_reading(path)
    assert path.read_bytes() == before


def test_somebody_elses_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE users (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger"):
        store.open_store(path)
    assert path.read_bytes() == before


def test_a_newer_ledger_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    opened = store.open_store(path)
    opened.db.execute(f"PRAGMA user_version = {store.VERSION + 1}")
    opened.db.close()
    for opener in (store.open_store, store.open_for_reading):
        with pytest.raises(LedgerError, match="Upgrade cheapfirst"):
            opener(path)


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    store.open_store(path).db.close()
    assert ids(path) == []


def test_a_path_with_signs_that_mean_something_in_a_uri_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "what? 100%#1" / "my ledger.db"
    store.open_store(path).db.close()
    assert ids(path) == []
    store.open_for_reading(path).close()


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("requests", RequestRow.__struct_fields__),
        ("attempts", AttemptRow.__struct_fields__),
        ("plans", PlanRow.__struct_fields__),
        ("losses", LossRow.__struct_fields__),
        ("journals", ("name", "offset")),
    ],
)
def test_every_column_is_a_field_in_the_same_order_and_documented(
    tmp_path: Path, table: str, fields: tuple[str, ...]
) -> None:
    opened = store.open_store(tmp_path / "ledger.db")
    columns = tuple(row[1] for row in opened.db.execute(f"PRAGMA table_info({table})"))
    opened.db.close()
    assert columns == fields
    _, _, section = DOCS.read_text(encoding="utf-8").partition(f"\n## `{table}`\n")
    section = section.partition("\n#")[0]
    documented = [row.split("`")[1] for row in section.splitlines() if row.startswith("| `")]
    assert documented == list(columns)


def test_every_query_of_the_documentation_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    replay(path, left(path, line(escalated()) + line(story())))
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) >= 5
    with sqlite3.connect(path) as db:
        for query in queries:
            db.execute(query).fetchall()


def test_a_ledger_of_version_1_is_brought_up_to_date_and_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    opened = store.open_store(path)
    db = opened.db
    db.execute("DROP TABLE plans")
    for column in ("key", "prompt_estimate"):
        db.execute(f"ALTER TABLE requests DROP COLUMN {column}")
    columns = [row[1] for row in db.execute("PRAGMA table_info(requests)")]
    for number, tokens in enumerate((7, 9)):
        plan = json.dumps(
            {"task": "chat", "attempts": [{"model": "a/b", "worst_case": "0.1"}], "prompt_tokens": tokens}
        )
        cells = {"id": f"req_{number}", "plan": plan, "task": "chat", "feature": None}
        db.execute(
            f"INSERT INTO requests VALUES ({', '.join('?' * len(columns))})", [cells.get(name, 0) for name in columns]
        )
    db.execute("PRAGMA user_version = 1")
    db.close()
    db = store.open_store(path).db
    found = db.execute(
        "SELECT id, key, prompt_estimate, plans.plan FROM requests JOIN plans ON plans.hash = requests.plan ORDER BY id"
    ).fetchall()
    assert [(id, key, tokens) for id, key, tokens, _ in found] == [("req_0", None, 7), ("req_1", None, 9)]
    assert {text for *_, text in found} == {'{"task":"chat","attempts":[{"model":"a/b"}]}'}
    assert db.execute("PRAGMA user_version").fetchone() == (store.VERSION,)
    db.close()


def later(request_id: str, number: int, cost: str, **usage: int) -> bytes:
    """A cost that comes later, as a journal line."""
    settled = Settled(
        request_id=request_id,
        attempt=number,
        cost=Decimal(cost),
        usage=Usage(**usage) if usage else None,
        reported_cost=Decimal(cost),
    )
    made = cost_line(settled)
    assert made is not None
    return made


def unknown(told: Story, *numbers: int) -> Story:
    """The story with attempts that did not say what they cost."""
    attempts = [
        structs.replace(attempt, cost=None, outcome=structs.replace(attempt.outcome, usage=None))
        if attempt.number in numbers
        else attempt
        for attempt in told.attempts
    ]
    return structs.replace(told, attempts=tuple(attempts), cost=None)


def cells(path: Path, columns: str, table: str = "requests") -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as db:
        return db.execute(f"SELECT {columns} FROM {table}").fetchall()


def test_a_cost_that_comes_later_is_entered_once_and_its_request_summed_up_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    told = unknown(escalated(id="a"), 1)
    replay(path, left(path, line(told)))
    spent = told.attempts[1].cost
    assert spent is not None
    rest = int(spent * 10**12)
    assert cells(path, "cost, cost_known, unknown_attempts") == [(None, rest, 1)]
    before = cells(path, "prompt_tokens, completion_tokens")[0]
    for amount in ("0.5", "0.7"):  # the second finds it known
        replay(path, left(path, later("a", 1, amount, prompt_tokens=7, completion_tokens=5)))
        assert cells(path, "cost, cost_known, unknown_attempts") == [(5 * 10**11 + rest, 5 * 10**11 + rest, 0)]
    assert cells(path, "prompt_tokens, completion_tokens") == [(before[0] + 7, before[1] + 5)]  # type: ignore[operator]
    assert cells(path, "cost, reported_cost, prompt_tokens", "attempts")[0] == (5 * 10**11, 5 * 10**11, 7)


def test_a_cost_of_one_of_two_unknown_attempts_leaves_the_sum_unknown(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    replay(path, left(path, line(unknown(escalated(id="a"), 1, 2)) + later("a", 2, "0.000000000001")))
    assert cells(path, "cost, cost_known, unknown_attempts") == [(None, 1, 1)]


def test_a_cost_of_a_request_or_an_attempt_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    lines = line(story(id="a")) + later("b", 1, "1") + later("a", 9, "1") + later("a", 1, "1")
    replay(path, left(path, line(story(id="a"))))
    before = cells(path, "*"), cells(path, "*", "attempts")
    replay(path, left(path, lines, "2-dead.jsonl"))
    assert (cells(path, "*"), cells(path, "*", "attempts")) == before
    assert losses(path) == []


def test_a_cost_that_no_column_holds_is_not_written_and_one_that_no_sum_holds_is_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    huge = Settled(request_id="a", attempt=1, cost=Decimal(10**8))
    assert cost_line(huge) is None
    told = unknown(escalated(id="a"), 1, 2)
    replay(path, left(path, line(told) + later("a", 1, "9000000") + later("a", 2, "9000000")))
    assert losses(path) == [("unreadable", 1)]
    assert cells(path, "cost, unknown_attempts") == [(None, 1)]


@settings(max_examples=40, deadline=None)
@given(stories(), st.data())
def test_a_story_whose_costs_come_later_ends_as_one_that_knew_them(told: Story, data: st.DataObject) -> None:
    known = [attempt.number for attempt in told.attempts if attempt.cost is not None]
    hidden = data.draw(st.sets(st.sampled_from(known))) if known else set()
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = Path(folder) / "whole.db", Path(folder) / "pieces.db"
        replay(whole, left(whole, line(told)))
        lacking = structs.replace(
            told,
            attempts=tuple(
                structs.replace(attempt, cost=None) if attempt.number in hidden else attempt
                for attempt in told.attempts
            ),
        )
        settled = [
            cost_line(Settled(request_id=told.request.id, attempt=attempt.number, cost=attempt.cost)) or b""
            for attempt in told.attempts
            if attempt.number in hidden and attempt.cost is not None
        ]
        replay(pieces, left(pieces, line(lacking) + b"".join(data.draw(st.permutations(settled)))))
        columns = "cost, cost_known, unknown_attempts, prompt_tokens, completion_tokens"
        assert cells(pieces, columns) == cells(whole, columns)
