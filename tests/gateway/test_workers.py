"""`cheapfirst serve --workers N`: one port, several processes, and what happens to them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path

from workers import ENVIRONMENT, POLICY, Running, alive, asking, command, running, started_as

ENDED = b"cheapfirst_requests_total{"


def recorded(folder: Path) -> list[str]:
    """Ids in the ledger, each as often as it is there."""
    with sqlite3.connect(folder / "ledger.db") as db:
        return sorted(row[0] for row in db.execute("SELECT id FROM requests"))


def served(gateway: Running) -> dict[int, int]:
    """How many requests each worker's number ended."""
    return {one["number"]: one["requests"]["ended"] for one in gateway.health()["workers"]["answering"]}


def test_every_worker_serves_and_whichever_is_asked_answers_for_all(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        asked = 0
        while asked < 30 or min(served(gateway).values()) == 0:
            gateway.write()
            asked += 1
            assert asked < 1000
        for _ in range(10):
            assert sum(served(gateway).values()) == asked
            assert gateway.metric("cheapfirst_requests_total") == asked
            assert gateway.metric("cheapfirst_request_duration_seconds_count") == asked
            assert gateway.metric("cheapfirst_policy_info") == 1
            assert gateway.metric("cheapfirst_workers_answering") == gateway.metric("cheapfirst_workers") == 2
        page = gateway.ask("/metrics")[1]
        assert b'process_resident_memory_bytes{worker="1"}' in page
        assert b'process_resident_memory_bytes{worker="2"}' in page
        told = gateway.health()["workers"]
        assert told["all"] == 2
        assert sorted(one["pid"] for one in told["answering"]) == sorted(gateway.workers())


def test_no_counter_falls_when_a_worker_is_slow_or_dies(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        for _ in range(20):
            gateway.write()
        assert gateway.metric("cheapfirst_requests_total") == 20
        first, second = gateway.workers()
        os.kill(first, signal.SIGSTOP)
        try:
            while True:  # the stopped one may have been given the connection
                try:
                    found = gateway.ask("/metrics", timeout=2.0)[1]
                    break
                except TimeoutError:
                    continue
            assert b"\ncheapfirst_workers_answering 1.0\n" in found
            assert sum(float(line.split()[-1]) for line in found.splitlines() if line.startswith(ENDED)) == 20
        finally:
            os.kill(first, signal.SIGCONT)
        gateway.until(lambda: gateway.metric("cheapfirst_workers_answering") == 2)
        for one in (first, second):
            os.kill(one, signal.SIGKILL)
        gateway.until(lambda: len(set(gateway.workers()) - {first, second}) == 2)
        gateway.until(lambda: gateway.metric("cheapfirst_workers_answering") == 2)
        assert gateway.metric("cheapfirst_requests_total") == 20
        gateway.write()
        assert gateway.metric("cheapfirst_requests_total") == 21


def test_a_worker_that_is_killed_under_load_is_replaced_and_no_answered_request_is_lost(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        first = gateway.workers()
        assert len(first) == 2
        answered: list[str] = []
        broken: list[Exception] = []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    answered.append(gateway.write())
                except (OSError, http.client.HTTPException) as error:
                    broken.append(error)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            gateway.until(lambda: len(answered) >= 30)
            os.kill(first[0], signal.SIGKILL)
            before = len(answered)
            gateway.until(lambda: len(answered) >= before + 30)
            gateway.until(lambda: len(gateway.workers()) == 2 and first[0] not in gateway.workers())
            before = len(answered)
            gateway.until(lambda: len(answered) >= before + 30)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert len(broken) <= len(threads)  # what the killed one was about to answer
        assert gateway.heard(f"worker 1 (process {first[0]}) was ended by SIGKILL") + gateway.heard(
            f"worker 2 (process {first[0]}) was ended by SIGKILL"
        )
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(10)
        found = recorded(tmp_path)
        assert len(found) == len(set(found))
        assert set(answered) <= set(found)
        assert len(found) <= len(answered) + len(broken)
        assert not list((tmp_path / "ledger.db.journals").glob("*.jsonl"))


def test_sigterm_lets_streams_end_takes_nothing_new_and_ends_everything(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        streams = []
        for _ in range(4):
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
            body = json.dumps(asking("slow", stream=True))
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            streams.append(connection.getresponse())
        workers = gateway.workers()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.until(lambda: refuses(gateway.port))
        for stream in streams:
            told = stream.read()
            assert b"word29" in told
            assert told.rstrip().endswith(b"data: [DONE]")
        assert gateway.process.wait(10) == 0
        gateway.until(lambda: not any(alive(one) for one in workers))
        assert len(recorded(tmp_path)) == 4


def refuses(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


def test_sighup_loads_the_policy_in_every_worker_and_a_wrong_one_is_said_once(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        file = tmp_path / "cheapfirst.toml"
        file.write_text("[routes]\nwrite = { tier = 'nowhere' }\n")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: gateway.heard("the changed policy is wrong") > 0)
        gateway.write()
        file.write_text(POLICY.replace("write = {", "compose = {"))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: all(b"compose" in gateway.ask("/v1/models")[1] for _ in range(10)))
        assert gateway.heard("the changed policy is wrong") == 1
        assert gateway.heard("is in force now") == 1


def test_a_replaced_worker_serves_the_policy_in_force_and_not_the_wrong_one_in_the_file(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        file = tmp_path / "cheapfirst.toml"
        file.write_text(POLICY.replace("write = {", "compose = {"))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until(lambda: gateway.heard("is in force now") > 0)
        file.write_text("nonsense")
        first = gateway.workers()
        for one in first:
            os.kill(one, signal.SIGKILL)
        gateway.until(lambda: len(set(gateway.workers()) - set(first)) == 2)
        assert b"compose" in gateway.ask("/v1/models")[1]


def test_no_worker_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        gateway.write()
        workers = gateway.workers()
        gateway.process.kill()
        gateway.until(lambda: not any(alive(one) for one in workers))
        assert len(recorded(tmp_path)) == 1


def test_a_gateway_whose_workers_cannot_start_ends_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "cheapfirst.toml").write_text(POLICY)
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ModuleNotFoundError(name='opentelemetry')")
    ended = subprocess.run(
        [*command(2), "--otel"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=15
    )
    assert ended.returncode == 1
    assert "opentelemetry" in ended.stderr
    assert "before it was ready" in ended.stderr


def test_one_worker_is_the_process_itself(tmp_path: Path) -> None:
    with running(tmp_path, many=1) as gateway:
        gateway.write()
        assert [one for one in gateway.workers() if "cheapfirst.ledger.apart" not in started_as(one)] == []
