"""The way into the queue: receipts, messages, and what is safe when Redis dies on the way."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from producers.desk import Desk
from producers.outlook import outlook
from producers.queue import CHUNK, JobQueue, new_batch_name
from producers.receipt import Receipt, Status, Tally
from sandbox.stack import embedded_redis
from sandbox.valkey import Valkey
from tests.desk import audit, id_of, ids, messages, some
from tests.fakes import A_ROOM, a_job
from worker.errors import AccountRefused, InvalidJob, OutcomeUnknown, QueueUnavailable, SettingsError
from worker.health import Sign
from worker.jobs import JobState, Lane, WarRoomJob
from worker.records import Claim
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.redis_store import RedisStore

ACCOUNTS: Final = """
[accounts.acc]
app_key_env = "NO_KEY_IS_READ"
rates = "1000/minute"
[accounts.slow]
app_key_env = "NO_KEY_IS_READ"
rates = "6/minute"
"""


@pytest.fixture
def open_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], JobQueue]]:
    file = tmp_path / "accounts.toml"
    file.write_text(ACCOUNTS)
    monkeypatch.setenv("WARROOMS_ACCOUNTS_FILE", str(file))
    with ExitStack() as opened:

        def open_at(url: str) -> JobQueue:
            monkeypatch.setenv("REDIS_URL", url)
            queue = JobQueue(Settings.load())
            opened.callback(queue.close)
            return queue

        yield open_at


@pytest.fixture
def queue(open_queue: Callable[[str], JobQueue], store: RedisStore, valkey_url: str) -> JobQueue:
    assert store.client.dbsize() == 0
    return open_queue(valkey_url)


def nudges(store: RedisStore, line: str = "warrooms.acc") -> list[str]:
    """The ids of the jobs that a queue's messages are about, oldest first."""
    return [id_of(text) for text in messages(store, line)]


def claim(queue: JobQueue, job: WarRoomJob) -> Claim:
    claim = queue.ledger(job.account).claim(job, "w1")
    assert isinstance(claim, Claim)
    return claim


# --- receipts -----------------------------------------------------------------------------------------------------


def test_a_job_is_recorded_and_its_message_queued(queue: JobQueue, store: RedisStore) -> None:
    queue.ledger("acc").beat("w1")
    before = datetime.now(UTC)
    receipt = queue.enqueue(a_job(batch="b"))
    assert (receipt.job_id, receipt.status, receipt.position) == (a_job().id, Status.QUEUED, 0)
    assert receipt.starts_at is not None
    assert before <= receipt.starts_at <= before + timedelta(seconds=60)
    record = queue.ledger("acc").record(a_job().id)
    assert record is not None
    assert (record.state, record.batches) == (JobState.QUEUED, ("b",))
    assert nudges(store) == [a_job().id]


def test_lanes_have_queues_of_their_own(queue: JobQueue, store: RedisStore) -> None:
    queue.enqueue(a_job(1))
    queue.enqueue(a_job(2, lane=Lane.URGENT))
    assert (nudges(store), nudges(store, "warrooms.acc.urgent")) == ([a_job(1).id], [a_job(2).id])


def test_everyone_behind_has_a_later_place_and_a_later_time(queue: JobQueue) -> None:
    queue.ledger("acc").beat("w1")
    receipts: list[Receipt] = []
    for _ in range(2):
        start = len(receipts) + 1
        jobs = [a_job(n) for n in range(start, start + 3)]
        queue.enqueue_many(jobs, on_receipt=lambda _, receipt: receipts.append(receipt))
    assert [receipt.position for receipt in receipts] == [0, 1, 2, 3, 4, 5]
    times = [receipt.starts_at for receipt in receipts if receipt.starts_at]
    assert times == sorted(times)
    interval = timedelta(microseconds=queue.accounts["acc"].plan.interval_us)
    assert times[2] - times[0] == 2 * interval


def test_an_urgent_job_stands_in_front_of_bulk_and_behind_urgent_ones(queue: JobQueue) -> None:
    jobs = [
        a_job(1),
        a_job(2),
        a_job(3, lane=Lane.URGENT),
        a_job(4, lane=Lane.URGENT),
        a_job(5),
    ]
    positions: list[int | None] = []
    queue.enqueue_many(jobs, on_receipt=lambda _, receipt: positions.append(receipt.position))
    assert positions == [2, 3, 0, 1, 4]


def test_a_job_that_waits_already_is_told_its_place_and_time_too(queue: JobQueue) -> None:
    queue.ledger("acc").beat("w1")
    queue.enqueue_many([a_job(1), a_job(2), a_job(3, lane=Lane.URGENT)])
    receipt = queue.enqueue(a_job(2))
    assert (receipt.status, receipt.position) == (Status.ALREADY_QUEUED, 2)
    assert receipt.starts_at is not None
    urgent = queue.enqueue(a_job(3))
    assert (urgent.status, urgent.position) == (Status.ALREADY_QUEUED, 0), "it is urgent, whoever asks"


def test_what_is_no_job_is_refused_with_the_way_to_make_one(queue: JobQueue) -> None:
    fields: Any = {"incident_id": "a" * 24, "integration_id": 7}
    for refused in (lambda: queue.enqueue_many([a_job(), fields]), lambda: queue.enqueue(fields)):
        with pytest.raises(InvalidJob, match="a job must be a WarRoomJob, got a dict; make one with"):
            refused()
    assert queue.ledger("acc").progress().total == 0


def test_a_room_is_promised_as_late_as_attempts_took_lately(queue: JobQueue, store: RedisStore) -> None:
    queue.enqueue(a_job(1))
    ledger = queue.ledger("acc")
    mine = claim(queue, a_job(1))
    ledger.begin(mine, sent=True)
    began = store.client.hget("warrooms:{acc}:job:" + a_job(1).id.partition(".")[2], "began")
    store.client.hset(
        "warrooms:{acc}:job:" + a_job(1).id.partition(".")[2], "began", f"{int(str(began).rstrip('s')) - 7000}s"
    )
    ledger.has_room(mine, JobState.OPENED, A_ROOM, "r")
    took_s = ledger.standing().took_s
    assert took_s is not None
    assert 7 <= took_s < 8
    assert outlook(Desk(queue.accounts["acc"], ledger, queue.bucket("acc"))).took_s == took_s


def test_nobody_promises_a_time_while_no_worker_lives(queue: JobQueue) -> None:
    receipt = queue.enqueue(a_job(1))
    assert (receipt.position, receipt.starts_at, receipt.done_by) == (0, None, None)


def test_nobody_promises_a_time_while_the_account_is_suspended(queue: JobQueue) -> None:
    queue.bucket("acc").report(Sign.REFUSED, 0, AccountRefused("no key", code="Unauthorized"))
    receipt = queue.enqueue(a_job(1))
    assert (receipt.status, receipt.position) == (Status.QUEUED, 0)
    assert (receipt.starts_at, receipt.done_by) == (None, None)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (JobState.QUEUED, Status.ALREADY_QUEUED),
        (JobState.OPENING, Status.ALREADY_OPENING),
        (JobState.RETRYING, Status.ALREADY_QUEUED),
        (JobState.OPENED, Status.ALREADY_OPEN),
        (JobState.FOUND, Status.ALREADY_OPEN),
        (JobState.FAILED, Status.QUEUED),
        (JobState.CANCELLED, Status.QUEUED),
    ],
)
def test_a_second_enqueue_tells_what_was_there(queue: JobQueue, end: JobState, status: Status) -> None:
    queue.ledger("acc").beat("w1")
    job, error = a_job(), OutcomeUnknown("no", code="Timeout")
    queue.enqueue(job)
    ledger = queue.ledger("acc")
    if end is not JobState.QUEUED:
        mine = claim(queue, job)
        if end is JobState.RETRYING:
            ledger.retry(mine, error, 60, look_first=True)
        elif end is JobState.FAILED:
            ledger.failed(mine, error, "no")
        elif end is JobState.CANCELLED:
            ledger.cancel([job.id])
        elif end.has_room:
            ledger.has_room(mine, end, A_ROOM, "r")
    receipt = queue.enqueue(job)
    assert receipt.status is status
    waits = end in {JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}
    for told in (receipt.position, receipt.starts_at, receipt.done_by):
        assert (told is not None) is waits
    link = (A_ROOM.chat_id, A_ROOM.share_link) if end.has_room else ("", "")
    assert (receipt.chat_id, receipt.share_link) == link


# --- many ---------------------------------------------------------------------------------------------------------


def test_many_jobs_are_nudged_in_their_order(queue: JobQueue, store: RedisStore) -> None:
    jobs = [a_job(n) for n in range(1, CHUNK + 4)]
    tally = queue.enqueue_many(iter(jobs), batch="b")
    assert (tally.batch, tally.total, tally.by_status[Status.QUEUED]) == ("b", CHUNK + 3, CHUNK + 3)
    assert nudges(store) == [job.id for job in jobs]
    batch = queue.ledger("acc").batch("b")
    assert batch is not None
    assert batch.states[JobState.QUEUED] == CHUNK + 3


def test_no_jobs_are_no_jobs(queue: JobQueue, store: RedisStore) -> None:
    tally = queue.enqueue_many([])
    assert (tally.total, tally.last_starts_at, store.client.dbsize()) == (0, None, 0)


def test_one_call_may_hold_several_accounts_and_batches(queue: JobQueue, store: RedisStore) -> None:
    jobs = [a_job(1), a_job(2, account="slow"), a_job(3, batch="x"), a_job(4, account="slow"), a_job(1)]
    got: list[tuple[str, Status, int | None]] = []
    queue.enqueue_many(jobs, on_receipt=lambda job, r: got.append((job.account, r.status, r.position)))
    assert got == [
        ("acc", Status.QUEUED, 0),
        ("slow", Status.QUEUED, 0),
        ("acc", Status.QUEUED, 1),
        ("slow", Status.QUEUED, 1),
        ("acc", Status.ALREADY_QUEUED, 0),
    ]
    assert nudges(store, "warrooms.slow") == [jobs[1].id, jobs[3].id]
    batch = queue.ledger("acc").batch("x")
    assert batch is not None
    assert batch.total == 1


def test_jobs_are_read_a_chunk_at_a_time(queue: JobQueue) -> None:
    read = 0
    ahead: list[int] = []

    def source() -> Iterator[WarRoomJob]:
        nonlocal read
        for n in range(1, 3 * CHUNK + 1):
            read += 1
            yield a_job(n)

    queue.enqueue_many(source(), on_receipt=lambda *_: ahead.append(read - len(ahead)))
    assert max(ahead) == CHUNK


def test_an_account_that_is_not_configured_queues_nothing_of_its_chunk(queue: JobQueue, store: RedisStore) -> None:
    with pytest.raises(InvalidJob, match="'nobody' is not configured here; known: acc, slow"):
        queue.enqueue_many([a_job(1), a_job(2, account="nobody")])
    assert store.client.dbsize() == 0
    for ask in (queue.ledger, queue.bucket):
        with pytest.raises(InvalidJob):
            ask("nobody")


def test_a_tally_knows_when_the_last_one_starts() -> None:
    tally, early, late = Tally(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    for at in (early, late, early, None):
        tally.add(Receipt("a.b.1", Status.QUEUED, 0, at, at))
    assert (tally.last_starts_at, tally.done_by, tally.total) == (late, late, 4)


def test_a_new_batch_name_is_valid_and_another_each_time() -> None:
    first, second = new_batch_name("import"), new_batch_name("import")
    assert first != second
    assert a_job(batch=first).batch == first


# --- Redis is away ------------------------------------------------------------------------------------------------


def test_redis_dying_on_the_way_says_how_many_jobs_are_safe(
    open_queue: Callable[[str], JobQueue], tmp_path: Path
) -> None:
    def source() -> Iterator[WarRoomJob]:
        for n in range(1, 2 * CHUNK + 1):
            if n == 2 * CHUNK:
                server.close()
            yield a_job(n)

    with ExitStack() as server:
        queue = open_queue(server.enter_context(embedded_redis(tmp_path / "mortal", save="")))
        receipts: list[Receipt] = []
        with pytest.raises(QueueUnavailable, match=rf"\({CHUNK} jobs were queued before; hand all in again") as caught:
            queue.enqueue_many(source(), on_receipt=lambda _, receipt: receipts.append(receipt))
    assert "cannot reach Redis" in str(caught.value)
    assert len(receipts) == CHUNK


def test_a_producer_that_died_in_the_middle_hands_all_in_again_and_nothing_doubles(
    queue: JobQueue, store: RedisStore
) -> None:
    class Killed(BaseException):
        pass

    def source() -> Iterator[WarRoomJob]:
        yield from some(1, CHUNK + 10)
        raise Killed

    with pytest.raises(Killed):
        queue.enqueue_many(source(), batch="b")
    assert nudges(store) == ids(some(1, CHUNK)), "a chunk is queued whole or not at all"
    audit(store)
    tally = queue.enqueue_many(some(1, CHUNK + 10), batch="b")
    assert tally.by_status == {**dict.fromkeys(Status, 0), Status.ALREADY_QUEUED: CHUNK, Status.QUEUED: 10}
    assert nudges(store) == ids(some(1, CHUNK + 10))
    audit(store)


def test_a_user_who_may_not_do_what_is_needed_is_told_so(
    open_queue: Callable[[str], JobQueue], store: RedisStore, valkey_url: str
) -> None:
    store.client.acl_setuser(
        "halfway", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-evalsha"], reset=True
    )
    halfway = open_queue(valkey_url.replace("redis://", "redis://halfway:pw@"))
    with pytest.raises(QueueUnavailable, match=r"does not permit .*\(0 jobs were queued before") as caught:
        halfway.enqueue_many(some(1, 3))
    assert "pw" not in str(caught.value)
    assert nudges(store) == []
    store.client.acl_deluser("halfway")
    assert open_queue(valkey_url).enqueue_many(some(1, 3)).by_status[Status.QUEUED] == 3
    audit(store)


# --- on Redis' disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "on_disk"),
    [("no", "everysec", None), ("yes", "no", None), ("yes", "always", True), ("yes", "everysec", True)],
)
def test_a_tally_says_whether_the_jobs_are_on_disk(
    open_queue: Callable[[str], JobQueue],
    tmp_path: Path,
    appendonly: str,
    appendfsync: str,
    on_disk: bool | None,  # noqa: FBT001
) -> None:
    with embedded_redis(tmp_path / "valkey", appendonly=appendonly, appendfsync=appendfsync) as url:
        assert open_queue(url).enqueue_many(some(1, 3)).on_disk is on_disk


def test_what_was_on_disk_is_there_after_a_crash(open_queue: Callable[[str], JobQueue], tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey", appendonly="yes", appendfsync="everysec") as valkey:
        queue = open_queue(valkey.url)
        assert queue.enqueue_many(some(1, 3)).on_disk
        valkey.kill()
        valkey.start()
        assert nudges(queue.store) == ids(some(1, 3))
        audit(queue.store)


def test_no_jobs_wait_for_no_disk(open_queue: Callable[[str], JobQueue], tmp_path: Path) -> None:
    with embedded_redis(tmp_path / "valkey", appendonly="yes") as url:
        assert open_queue(url).enqueue_many([]).on_disk is None


@pytest.mark.parametrize(
    ("then", "why"),
    [
        (lambda _: None, "cannot reach Redis"),
        (lambda valkey: valkey.start(), "was restarted meanwhile; what was written last may be lost"),
    ],
    ids=["and stays away", "and comes back"],
)
def test_a_redis_that_dies_before_they_are_on_disk_says_how_many_jobs_may_be_lost(
    open_queue: Callable[[str], JobQueue], tmp_path: Path, then: Callable[[Valkey], None], why: str
) -> None:
    def die(_: WarRoomJob, receipt: Receipt) -> None:
        receipts.append(receipt)
        if len(receipts) == 3:
            valkey.kill()
            then(valkey)

    receipts: list[Receipt] = []
    with Valkey(tmp_path / "valkey", appendonly="yes") as valkey:
        queue = open_queue(valkey.url)
        with pytest.raises(QueueUnavailable, match=rf"{why}.* \(3 jobs were queued before; hand all in again"):
            queue.enqueue_many(some(1, 3), on_receipt=die)


def test_an_address_that_is_none_is_refused_before_anything_is_tried(open_queue: Callable[[str], JobQueue]) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL"):
        open_queue("amqp://localhost")


def test_a_finished_job_is_not_nudged(queue: JobQueue, store: RedisStore) -> None:
    queue.enqueue(a_job(1))
    queue.ledger("acc").has_room(claim(queue, a_job(1)), JobState.OPENED, A_ROOM, "r")
    store.client.delete("warrooms.acc")
    queue.enqueue_many([a_job(1), a_job(2)])
    assert nudges(store) == [a_job(2).id]


def test_a_closed_queue_leaves_others_of_the_process_alone(
    open_queue: Callable[[str], JobQueue], store: RedisStore, valkey_url: str
) -> None:
    first = open_queue(valkey_url)
    first.enqueue(a_job(1))
    first.close()
    open_queue(valkey_url).enqueue(a_job(2))
    assert nudges(store) == [a_job(1).id, a_job(2).id]


def test_every_queue_publishes_to_the_redis_of_its_own_settings(
    open_queue: Callable[[str], JobQueue], store: RedisStore, valkey_url: str, tmp_path: Path
) -> None:
    with embedded_redis(tmp_path / "other", save="") as other:
        elsewhere, here = open_queue(other), open_queue(valkey_url)
        elsewhere.enqueue(a_job(1))
        here.enqueue(a_job(2))
        assert nudges(elsewhere.store) == [a_job(1).id]
    assert nudges(store) == [a_job(2).id]
