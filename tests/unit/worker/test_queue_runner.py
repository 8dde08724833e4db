"""Several processes on one PostgreSQL share the follows: each job has one, whatever becomes of the processes."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic
from typing import Any, LiteralString

import psycopg
import pytest
from procrastinate import utils
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from bot.domain.cards import TeamId
from bot.domain.errors import StoreUnavailable
from bot.domain.jobs import JobId
from bot.tasks import end
from bot.worker.heartbeats import Timing, held_by_the_dead
from bot.worker.job_queue import FollowQueue
from bot.worker.pg import Connector, open_pool
from bot.worker.schema import prepare
from tests.support.processes import CALM, HASTY, TEAM, Follows, Process, process, processes, until

OTHER_TEAM = TeamId("T0OTHER")
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
OTHER = JobId("660e8400-e29b-41d4-a716-446655440000")
MANY = [JobId(f"{number:08}-e29b-41d4-a716-446655440000") for number in range(40)]


class Queue:
    """The queue as the database has it, past all processes."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def do(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        done = self._connection.execute(statement.encode(), values)
        return done.fetchall() if done.description else []

    def entries(self, job: JobId = JOB) -> list[tuple[object, ...]]:
        """The state and the holder of each of a job's entries, oldest first."""
        return self.do(
            "SELECT status, worker_id FROM procrastinate_jobs WHERE lock = %s ORDER BY id", f"{TEAM} {job}"
        )


@pytest.fixture
async def follows() -> Follows:
    return Follows()


@pytest.fixture
async def queue(new_postgresql: str) -> AsyncIterator[Queue]:
    queue = Queue(new_postgresql)
    yield queue
    queue.close()


@pytest.fixture
async def two(new_postgresql: str, follows: Follows) -> AsyncIterator[list[Process]]:
    async with processes(new_postgresql, follows, "ab") as two:
        yield two


@pytest.fixture
async def three(new_postgresql: str, follows: Follows) -> AsyncIterator[list[Process]]:
    async with processes(new_postgresql, follows, "abc") as three:
        yield three


async def followed_by(follows: Follows, name: str, job: JobId = JOB) -> float:
    """Wait until that process follows the job, alone. Returns how long it took."""
    return await until(lambda: follows.by[job] == [name])


async def follow_in(one: Process, follows: Follows, job: JobId = JOB) -> None:
    """Let that process follow a job: it begins before any other can see it."""
    while follows.by[job] != [one.name]:
        for other in list(follows.by[job]):
            follows.end(job)
            await until(lambda other=other: other not in follows.by[job])  # type: ignore[misc]
        follows.ended.discard(job)
        await one.runner.start(job)
        await until(lambda: bool(follows.by[job]))


# Sharing


async def test_each_job_is_tracked_by_one_process(three: list[Process], follows: Follows) -> None:
    await asyncio.gather(*(one.runner.start_missing(MANY) for one in three))
    await asyncio.gather(*(one.runner.start_missing(MANY) for one in three))
    await until(lambda: sum(map(follows.count, "abc")) == len(MANY))
    await asyncio.sleep(3 * CALM.poll_seconds)
    assert sorted(job for job, _ in follows.begun) == MANY


async def test_ended_tracker_leaves_no_entry(two: list[Process], follows: Follows, queue: Queue) -> None:
    await two[0].runner.start(JOB)
    await until(lambda: bool(follows.by[JOB]))
    follows.end(JOB)
    await until(lambda: queue.entries() == [])
    assert queue.do("SELECT * FROM procrastinate_events") == []


async def test_only_what_nobody_follows_is_queued(two: list[Process], follows: Follows, queue: Queue) -> None:
    await two[0].runner.start_missing([JOB, OTHER])
    await until(lambda: bool(follows.by[JOB] and follows.by[OTHER]))
    before = queue.do("SELECT id, attempts FROM procrastinate_jobs ORDER BY id")
    await two[1].runner.start_missing([JOB, MANY[0], OTHER])
    await until(lambda: bool(follows.by[MANY[0]]))
    after = queue.do("SELECT id, attempts FROM procrastinate_jobs ORDER BY id")
    assert after[:2] == before and len(after) == 3
    assert len(follows.begun) == 3 and not follows.woken


async def test_interactive_entry_is_fetched_first(two: list[Process], new_postgresql: str) -> None:
    async with open_pool(new_postgresql) as pool:
        entries = await FollowQueue.over(pool)
        for one in two:
            await one.stop()
        await entries.add(TEAM, MANY)
        await entries.add(TEAM, [JOB], urgent=True)
        fetched = await entries.fetch_job(["follows"], await entries.register_worker())
    assert fetched is not None and fetched.task_kwargs["job"] == JOB


# Several workspaces


async def test_two_teams_track_one_job_independently(
    new_postgresql: str, follows: Follows, queue: Queue
) -> None:
    async with processes(new_postgresql, follows, "a") as (a,):
        theirs = Follows()
        other = a.queue.runner_for(OTHER_TEAM, theirs.of("a"))
        await a.runner.start(JOB)
        await other.start_missing([JOB])
        await followed_by(follows, "a")
        await followed_by(theirs, "a")
        assert len(queue.do("SELECT id FROM procrastinate_jobs")) == 2
        await other.stop()
        # Its entry ends; the neighbour goes on.
        await until(lambda: len(queue.do("SELECT id FROM procrastinate_jobs")) == 1)
        assert (follows.by[JOB], theirs.by[JOB]) == (["a"], [])


async def test_message_wakes_only_its_teams_tracker(two: list[Process], follows: Follows) -> None:
    theirs = Follows()
    here = [one.queue.runner_for(OTHER_TEAM, theirs.of(one.name)) for one in two]
    await follow_in(two[0], follows)
    await here[0].start(JOB)
    await until(lambda: len(theirs.by[JOB]) == 1)
    before = follows.woken[JOB, "a"]
    woken = sum(theirs.woken.values())
    for runner in here:
        await runner.start(JOB)
    await until(lambda: sum(theirs.woken.values()) > woken)
    assert follows.woken[JOB, "a"] == before
    for runner in here:
        await runner.stop()


async def test_entry_opens_its_workspace(new_postgresql: str, follows: Follows, queue: Queue) -> None:
    await prepare(new_postgresql)
    asked: list[TeamId] = []
    async with process(new_postgresql, follows, "a", run=False) as a:

        async def find(team: TeamId) -> None:
            asked.append(team)
            if team == OTHER_TEAM:
                a.queue.runner_for(team, follows.of("a"))
            if team == "T0AWAY":
                raise StoreUnavailable("away")

        running = asyncio.create_task(a.queue.run(find))
        for team in (OTHER_TEAM, TeamId("T0STRANGER"), TeamId("T0AWAY")):
            await a.entries.add(team, [JOB])
        await followed_by(follows, "a")
        # The others' have ended: whoever knows their teams queues them anew.
        await until(lambda: len(queue.do("SELECT id FROM procrastinate_jobs")) == 1)
        assert sorted(asked) == ["T0AWAY", OTHER_TEAM, "T0STRANGER"]
        await end([running])


async def test_old_entry_ends_and_recovery_requeues(
    two: list[Process], follows: Follows, queue: Queue
) -> None:
    queue.do(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args) "
        "VALUES ('follows', 'follow', %s, %s, jsonb_build_object('job', %s::text))",
        JOB,
        JOB,
        JOB,
    )
    await until(lambda: queue.do("SELECT id FROM procrastinate_jobs") == [])
    assert follows.begun == []
    await two[0].runner.start_missing([JOB])
    await until(lambda: len(follows.by[JOB]) == 1)


# Telling whoever follows


async def test_start_wakes_a_tracker_here(two: list[Process], follows: Follows, queue: Queue) -> None:
    await follow_in(two[0], follows)
    await two[0].runner.start(JOB)
    await until(lambda: follows.woken[JOB, "a"] > 0)
    assert len(queue.entries()) == 1


async def test_start_wakes_a_tracker_elsewhere(two: list[Process], follows: Follows) -> None:
    a, b = two
    await follow_in(a, follows)
    for number in range(1, 4):
        await b.runner.start(JOB)
        assert await until(lambda number=number: follows.woken[JOB, "a"] == number) < 1.0  # type: ignore[misc]
    assert follows.by[JOB] == ["a"]


async def test_reconnect_wakes_every_tracker(two: list[Process], follows: Follows) -> None:
    a, b = two
    await follow_in(a, follows)
    a.cable.cut()
    await until(lambda: not a.relay.listening.is_set())
    await b.runner.start(JOB)
    await asyncio.sleep(0.1)
    assert follows.woken[JOB, "a"] == 0
    a.cable.mend()
    await until(lambda: follows.woken[JOB, "a"] > 0)


async def test_start_during_a_trackers_end_counts(new_postgresql: str) -> None:
    """Work is put on a table and announced. A follow does what it finds there, and ends when it finds nothing."""
    table: set[int] = set()
    random = Random(7)

    class Work(Follows):
        async def _follow(self, job: JobId, name: str, wake: asyncio.Event) -> None:
            self.begun.append((job, name))
            while table:
                wake.clear()
                table.clear()
                await asyncio.sleep(0)
                if not wake.is_set():
                    break

    follows = Work()
    async with processes(new_postgresql, follows, "ab") as two:
        for number in range(150):
            table.add(number)
            await random.choice(two).runner.start(JOB)
            await asyncio.sleep(random.choice((0.0, 0.0, 0.001, 0.002, 0.004, 0.01)))
            if number % 10 == 9:
                await until(lambda: not table, 2.0)
    assert len(follows.begun) > 15


# Processes that come and go


async def test_stopping_process_hands_over_within_seconds(new_postgresql: str, follows: Follows) -> None:
    async with processes(new_postgresql, follows, "ab", Timing()) as (a, _):
        await a.runner.start_missing(MANY)
        await until(lambda: follows.count("a") + follows.count("b") == len(MANY))
        began = monotonic()
        await a.stop()
        assert all("a" not in names for names in follows.by.values())
        await until(lambda: follows.count("b") == len(MANY))
        assert monotonic() - began < 2.0
        # What is asked of a process in its last moments is done by the others.
        await a.runner.start(JOB)
        assert await followed_by(follows, "b") < 2.0


async def test_stopping_process_announces_its_release(new_postgresql: str, follows: Follows) -> None:
    seldom = replace(CALM, poll_seconds=60.0, rescue_seconds=60.0)
    async with processes(new_postgresql, follows, "ab", seldom) as (a, _):
        await follow_in(a, follows)
        await a.stop()
        assert await followed_by(follows, "b") < 2.0


async def test_stopping_process_refetches_nothing(
    two: list[Process], follows: Follows, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = two
    await follow_in(a, follows)
    connector = a.entries.connector
    ask, tell = connector.execute_query_all_async, connector.execute_query_async
    asking, given_back = asyncio.Event(), asyncio.Event()

    async def dawdle(query: LiteralString, **values: object) -> list[dict[str, object]]:
        if "fetch_job" in query:
            asking.set()
            await asyncio.wait({asyncio.ensure_future(given_back.wait())}, timeout=0.3)
        return await ask(query, **values)

    async def told(query: LiteralString, **values: object) -> None:
        await tell(query, **values)
        given_back.set()

    monkeypatch.setattr(connector, "execute_query_all_async", dawdle)
    await asking.wait()
    monkeypatch.setattr(connector, "execute_query_async", told)
    await a.stop()
    assert await followed_by(follows, "b") < 2.0


async def test_last_process_leaves_its_entries(new_postgresql: str, follows: Follows, queue: Queue) -> None:
    async with processes(new_postgresql, follows, "a", Timing()) as (a,):
        await a.runner.start_missing(MANY)
        await until(lambda: follows.count("a") == len(MANY))
    assert len(queue.do("SELECT * FROM procrastinate_jobs")) == len(MANY)
    async with process(new_postgresql, follows, "b", Timing()):
        assert await until(lambda: follows.count("b") == len(MANY)) < 3.0


async def test_vanished_process_is_taken_over(new_postgresql: str, follows: Follows) -> None:
    async with processes(new_postgresql, follows, "abc", HASTY) as three:
        await three[0].runner.start_missing(MANY)
        await until(lambda: all(follows.by[job] for job in MANY))
        gone = three[0]
        gone.cable.cut()
        took = await until(lambda: all(names[-1] in "bc" for names in follows.by.values()))
        assert took > HASTY.stalled_after_seconds - 2 * HASTY.heartbeat_seconds


async def test_killed_process_is_taken_over_sooner(new_postgresql: str, follows: Follows) -> None:
    sees_ends = replace(CALM, ended_after_seconds=1.0)
    async with processes(new_postgresql, follows, "ab", sees_ends) as (a, _):
        await follow_in(a, follows)
        a.cable.cut()
        took = await until(lambda: follows.by[JOB] == ["a", "b"])
        assert took < sees_ends.stalled_after_seconds / 3


async def test_session_is_shown_after_reconnecting(two: list[Process], queue: Queue) -> None:
    def shows(one: Process) -> bool:
        locks = "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
        return (one.entries._worker,) in queue.do(locks)

    a, b = two
    await until(lambda: shows(a) and shows(b))
    a.cable.cut()
    await until(lambda: not shows(a))
    assert shows(b)
    a.cable.mend()
    await until(lambda: shows(a))


async def test_resumed_process_takes_nothing_back(
    new_postgresql: str, follows: Follows, queue: Queue
) -> None:
    async with processes(new_postgresql, follows, "ab", HASTY) as (a, b):
        await follow_in(a, follows)
        begun = len(follows.begun)
        a.cable.cut()
        await until(lambda: follows.by[JOB] == ["a", "b"])
        held = queue.entries()
        a.cable.mend()
        await until(a.relay.listening.is_set)
        # Woken, its follow finds that it has lost its claim, and ends.
        await followed_by(follows, "b")
        await asyncio.sleep(5 * HASTY.heartbeat_seconds)
        assert queue.entries() == held and len(follows.begun) == begun + 1
        # And it is a full member again.
        await b.stop()
        await followed_by(follows, "a")


def take_claim(of: Process, follows: Follows) -> None:
    """Let a follow find that another process, which is gone by now, has claimed its job."""
    follows.by[JOB].append("gone")
    of.runner.here.wake(JOB)


async def test_entry_outlives_lost_ownership(new_postgresql: str, follows: Follows, queue: Queue) -> None:
    """A claim that was under way when its process stopped takes the job from its successor, and follows nothing."""
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        take_claim(a, follows)
        await until(lambda: follows.by[JOB] == ["gone", "a"])
        await until(lambda: [state for state, _ in queue.entries()] == ["doing"])


async def test_refetched_entry_outlives_its_first_tracker(
    new_postgresql: str, follows: Follows, queue: Queue
) -> None:
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        # It was paused, taken for dead, and woke up in time to fetch what was given back.
        queue.do("UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL, attempts = attempts + 1")
        await until(lambda: follows.woken[JOB, "a"] > 0)
        take_claim(a, follows)
        await until(lambda: len(follows.begun) > 1 and follows.by[JOB][-1] == "a")
        await asyncio.sleep(1.0)
        assert follows.by[JOB] == ["gone", "a"]
        assert [state for state, _ in queue.entries()] == ["doing"]


async def test_forgotten_process_registers_again(new_postgresql: str, follows: Follows, queue: Queue) -> None:
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        queue.do("DELETE FROM procrastinate_workers")
        await a.runner.start(OTHER)
        await until(lambda: follows.by[OTHER] == ["a"])
        await until(lambda: [status for status, _ in queue.entries()] == ["doing"])
        await asyncio.sleep(3 * CALM.rescue_seconds)
        assert follows.begun == [(JOB, "a"), (OTHER, "a")]
        workers = queue.do("SELECT id FROM procrastinate_workers")
        assert [(worker,) for _, worker in queue.entries() + queue.entries(OTHER)] == 2 * workers


async def test_requeued_job_of_dead_process_is_tracked_once(
    new_postgresql: str, follows: Follows, queue: Queue
) -> None:
    async with processes(new_postgresql, follows, "ab", HASTY) as (a, b):
        await follow_in(a, follows)
        await b.runner.start(JOB)
        assert [status for status, _ in queue.entries()] == ["doing", "todo"]
        a.cable.cut()
        await until(lambda: follows.by[JOB] == ["a", "b"])
        assert [status for status, _ in queue.entries()] == ["doing"]


async def test_takeover_ignores_a_fast_clock(
    two: list[Process], follows: Follows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utils, "utcnow", lambda: datetime.now(UTC) + timedelta(hours=1))
    a, _ = two
    await follow_in(a, follows)
    await a.stop()
    assert await followed_by(follows, "b") < 2.0


async def test_no_process_is_dead_right_after_an_outage(
    new_postgresql: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("bot.worker.job_queue.monotonic", lambda: clock[0])
    await prepare(new_postgresql)
    async with open_pool(new_postgresql) as pool:
        entries = await FollowQueue.over(pool, Timing(stalled_after_seconds=7.5))
        await entries.add(TEAM, [JOB])
        await entries.fetch_job(["follows"], await entries.register_worker())
        queue.do("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '30 s'")
        mine = await entries.register_worker()

        async def states(seconds: float, *, beat: bool) -> object:
            clock[0] += seconds
            if beat:
                await entries.update_heartbeat(mine)
            await entries.reclaim_stalled()
            return queue.entries()[0][0]

        assert await states(30.0, beat=False) == "doing", "my own heart has stopped"
        assert await states(0.0, beat=True) == "doing", "it has just begun to beat again"
        assert await states(5.0, beat=True) == "doing"
        assert await states(3.0, beat=True) == "todo"


async def test_reclaimed_entry_is_not_released_twice(
    new_postgresql: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(new_postgresql)
    async with open_pool(new_postgresql) as pool:
        dead, quick, slow = [await FollowQueue.over(pool) for _ in range(3)]
        await dead.add(TEAM, [JOB])
        await dead.fetch_job(["follows"], await dead.register_worker())
        queue.do("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '30 s'")
        mine = await quick.register_worker()
        await slow.register_worker()

        async def find_and_dawdle(*of: Any) -> list[tuple[int, int | None]]:
            found = await held_by_the_dead(*of)
            monkeypatch.setattr("bot.worker.job_queue.held_by_the_dead", held_by_the_dead)
            await quick.reclaim_stalled()
            await quick.fetch_job(["follows"], mine)
            return found

        monkeypatch.setattr("bot.worker.job_queue.held_by_the_dead", find_and_dawdle)
        await slow.reclaim_stalled()
    assert queue.entries() == [("doing", mine)]
    assert queue.do("SELECT attempts FROM procrastinate_jobs") == [(1,)]


async def test_new_process_takes_over_at_once(new_postgresql: str, queue: Queue) -> None:
    await prepare(new_postgresql)
    async with open_pool(new_postgresql) as pool:
        entries = await FollowQueue.over(pool)
        await entries.add(TEAM, [JOB])
        await entries.fetch_job(["follows"], await entries.register_worker())
        queue.do("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '30 s'")
        await entries.register_worker()
        await entries.reclaim_stalled()
    assert [status for status, _ in queue.entries()] == ["todo"]


# The database away


async def test_trackers_survive_a_database_outage(
    new_postgresql: str, follows: Follows, queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    def heart_beats() -> bool:
        age = queue.do("SELECT extract(epoch FROM now() - last_heartbeat)::float FROM procrastinate_workers")
        return age < [(5 * CALM.heartbeat_seconds,)]

    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        a.cable.cut()
        await asyncio.gather(a.runner.start(OTHER), a.runner.start_missing([JOB, OTHER]))
        assert (follows.by[JOB], follows.by[OTHER]) == (["a"], [])
        await until(lambda: not heart_beats())
        a.cable.mend()
        await until(a.relay.listening.is_set)
        await a.runner.start(OTHER)
        assert await followed_by(follows, "a", OTHER) < 3.0
        await until(heart_beats)
        await asyncio.sleep(5 * CALM.rescue_seconds)
        assert follows.begun == [(JOB, "a"), (OTHER, "a")]
        assert queue.do("SELECT attempts FROM procrastinate_jobs WHERE args->>'job' = %s", JOB) == [(0,)]
    log = capsys.readouterr().out
    assert "follow not queued" in log and "follows not queued" in log


async def test_new_entry_is_fetched_at_once(new_postgresql: str, follows: Follows) -> None:
    async with processes(new_postgresql, follows, "a", replace(CALM, poll_seconds=60.0)) as (a,):
        await a.runner.start(JOB)
        await followed_by(follows, "a")
        a.cable.cut()
        await asyncio.sleep(0.7)
        a.cable.mend()
        await until(a.relay.listening.is_set)
        await asyncio.sleep(2.5)
        await a.runner.start(OTHER)
        await followed_by(follows, "a", OTHER)


async def test_tracker_ending_during_outage_leaves_no_entry(
    new_postgresql: str, follows: Follows, queue: Queue
) -> None:
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        a.cable.cut()
        follows.end(JOB)
        await until(lambda: not follows.by[JOB])
        await asyncio.sleep(0.3)
        assert [status for status, _ in queue.entries()] == ["doing"]
        a.cable.mend()
        await until(lambda: queue.entries() == [])


async def test_undeleted_entry_does_not_stay(new_postgresql: str, follows: Follows, queue: Queue) -> None:
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        queue.do(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$"
        )
        queue.do("CREATE TRIGGER refuse BEFORE DELETE ON procrastinate_jobs EXECUTE FUNCTION refuse()")
        follows.end(JOB)
        await until(lambda: not follows.by[JOB])
        await asyncio.sleep(0.3)
        assert len(queue.entries()) == 1
        queue.do("DROP FUNCTION refuse CASCADE")
        await until(lambda: queue.entries() == [])


async def test_entry_of_a_lost_answer_is_tracked(
    new_postgresql: str, follows: Follows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for_one, ask_for_all = Connector.execute_query_one_async, Connector.execute_query_all_async
    lost: list[str] = []

    def lose_the_first(query: str, answer: object) -> None:
        if "fetch_job" in query and "follow" in str(answer) and not lost:
            lost.append(query)
            raise ConnectorException("connection lost")

    async def one(self: Connector, query: LiteralString, **values: object) -> dict[str, object]:
        answer = await ask_for_one(self, query, **values)
        lose_the_first(query, answer)
        return answer

    async def several(self: Connector, query: LiteralString, **values: object) -> list[dict[str, object]]:
        answer = await ask_for_all(self, query, **values)
        lose_the_first(query, answer)
        return answer

    monkeypatch.setattr(Connector, "execute_query_one_async", one)
    monkeypatch.setattr(Connector, "execute_query_all_async", several)
    async with processes(new_postgresql, follows, "a") as (a,):
        await a.runner.start(JOB)
        await followed_by(follows, "a")
    assert lost and len(follows.begun) == 1


async def test_failing_worker_keeps_its_trackers(
    new_postgresql: str, follows: Follows, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = FollowQueue.fetch_job
    broken: list[int] = []

    async def break_once(self: FollowQueue, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        if follows.by[JOB] and not broken:
            broken.append(worker_id)
            raise ZeroDivisionError
        return await fetch(self, queues, worker_id)

    monkeypatch.setattr(FollowQueue, "fetch_job", break_once)
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        await until(lambda: bool(broken))
        await until(lambda: a.entries._worker not in {None, *broken})
        await until(lambda: queue.entries() == [("doing", a.entries._worker)])
        assert follows.begun == [(JOB, "a")]


async def test_process_stops_despite_a_silent_database(new_postgresql: str, follows: Follows) -> None:
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
        a.cable.fall_silent()
        began = monotonic()
        await a.stop()
        assert monotonic() - began < 2.0
        assert not follows.by[JOB]
        a.cable.mend()


# Numbers and words


def test_the_numbers_keep_their_promises() -> None:
    timing = Timing()
    giving_back_and_fetching_seconds = 2.0
    assert timing.ended_after_seconds + timing.rescue_seconds + giving_back_and_fetching_seconds <= 5.0, (
        "fully at work again within 5 s of a kill"
    )
    assert timing.heartbeat_seconds < timing.ended_after_seconds, "whoever connects anew has a beat to spare"
    assert timing.stalled_after_seconds + timing.rescue_seconds + giving_back_and_fetching_seconds < 12.0, (
        "taken over within 15 s, whatever happens"
    )
    held_up_seconds, database_seconds = 3.0, 2.0
    assert timing.heartbeat_seconds + held_up_seconds + database_seconds < timing.stalled_after_seconds


async def test_the_log_has_our_own_lines_only(
    new_postgresql: str, follows: Follows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with processes(new_postgresql, follows, "a") as (a,):
        await follow_in(a, follows)
    assert [record.name for record in caplog.records if record.name.startswith("procrastinate")] == []


async def test_signals_stay_with_the_process(new_postgresql: str, follows: Follows) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with processes(new_postgresql, follows, "a"):
        assert signal.getsignal(signal.SIGTERM) is before


async def test_a_process_needs_few_connections(two: list[Process], follows: Follows, queue: Queue) -> None:
    for one in two:
        await one.runner.start_missing(MANY)
    await until(lambda: follows.count("a") + follows.count("b") == len(MANY))
    held = queue.do("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'omni-job-bot'")
    assert held <= [(2 * 3,)]


async def test_job_is_looked_up_by_index(new_postgresql: str) -> None:
    async with open_pool(new_postgresql) as pool, pool.connection() as connection:
        for setting in ("enable_sort", "enable_bitmapscan", "enable_seqscan"):
            shown = await (await connection.execute(f"SHOW {setting}".encode())).fetchone()
            assert shown == ("off",)


# Whether anybody follows at all


async def test_any_live_process_counts_as_alive(two: list[Process]) -> None:
    assert [await one.queue.is_any_process_alive() for one in two] == [True, True]


async def test_other_live_process_is_seen(two: list[Process], queue: Queue) -> None:
    a, b = two
    await a.stop()
    assert await a.queue.is_any_process_alive()
    await b.stop()
    queue.do("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '14 seconds'")
    assert await a.queue.is_any_process_alive()
    queue.do("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '16 seconds'")
    assert not await a.queue.is_any_process_alive()


async def test_liveness_is_unknown_during_an_outage(two: list[Process]) -> None:
    two[0].cable.cut()
    with pytest.raises(StoreUnavailable):
        await two[0].queue.is_any_process_alive()
