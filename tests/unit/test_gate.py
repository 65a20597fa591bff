"""Which queues may be popped now."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Barrier, Event, Thread
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.gate import (
    ALL_EVERY_S,
    ASKING_S,
    BELIEVE_S,
    BULK_FIRST_EVERY,
    EARLY_S,
    FORGET_S,
    GRAIN_S,
    LATE_S,
    MANY,
    MOST_ASKING,
    MOST_TURN_S,
    NEAR_S,
    Gate,
    GatedCycle,
)
from worker.jobs import Lane
from worker.messages import queues_of
from worker.slots import Lines

A, A_URGENT, B, B_URGENT = "warrooms.a", "warrooms.a.urgent", "warrooms.b", "warrooms.b.urgent"
EVERY_S: Final = 0.05  # the accounts' interval between two slots


@dataclass
class Desk:
    now_s: float = 1000.0
    gate: Gate = field(init=False)
    cycle: GatedCycle = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Gate(clock=lambda: self.now_s)
        self.gate.add("a", EVERY_S, [(A, Lane.BULK), (A_URGENT, Lane.URGENT)])
        self.gate.add("b", EVERY_S, [(B, Lane.BULK), (B_URGENT, Lane.URGENT)])
        self.cycle = GatedCycle([A, B, A_URGENT, B_URGENT], self.gate)

    def next(self) -> list[str]:
        return self.cycle.consume(4)


@pytest.fixture
def here() -> Desk:
    return Desk()


# --- what shows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("urgent_s", "bulk_s", "shows_urgent", "shows_bulk"),
    [
        (0.0, 0.0, True, True),
        (EARLY_S - 0.01, EARLY_S - 0.01, True, True),
        (0.0, EARLY_S + 0.001, True, False),
        (EARLY_S + 0.001, EARLY_S + 0.001, False, False),
        (60.0, 60.0, False, False),
    ],
)
def test_a_queue_shows_when_its_next_slot_is_near(
    here: Desk,
    urgent_s: float,
    bulk_s: float,
    shows_urgent: bool,  # noqa: FBT001
    shows_bulk: bool,  # noqa: FBT001
) -> None:
    here.gate.learn("a", Lines(urgent_s, bulk_s, 0.0))
    assert (here.gate.shows(A_URGENT), here.gate.shows(A)) == (shows_urgent, shows_bulk)
    assert here.gate.shows(B), "one account's line is not another's"


def test_what_is_not_known_yet_shows(here: Desk) -> None:
    assert here.next() == [A_URGENT, B_URGENT, A, B]


def test_queues_that_nobody_made_known_show(here: Desk) -> None:
    here.cycle.update([A, "celery"])
    here.gate.learn("a", Lines(60.0, 60.0, 60.0))
    assert here.next() == ["celery"]


def test_a_paused_account_is_hidden_until_shortly_before_its_pause_ends(here: Desk) -> None:
    here.gate.learn("a", Lines(3.0, 3.0, 3.0))
    assert here.next() == [B_URGENT, B]
    here.now_s += 3.0 - EARLY_S - 0.001
    assert here.next() == [B_URGENT, B]
    here.now_s += 0.002
    assert here.next() == [A_URGENT, B_URGENT, A, B]


def test_a_long_pause_is_asked_about_now_and_then_since_it_may_have_been_lifted(here: Desk) -> None:
    here.gate.learn("a", Lines(3600.0, 3600.0, 3600.0))
    here.now_s += BELIEVE_S - EARLY_S - 0.001
    assert not here.gate.shows(A)
    here.now_s += 0.002
    assert here.gate.shows(A)


def test_a_slow_accounts_next_slot_is_believed_since_who_asks_for_it_holds_a_thread(here: Desk) -> None:
    here.gate.add("slow", 3600.0, [("slow", Lane.BULK)])
    here.gate.learn("slow", Lines(3000.0, 3000.0, 0.0))
    here.now_s += 3000.0 - EARLY_S - 0.001
    assert not here.gate.shows("slow")
    here.now_s += 0.002
    assert here.gate.shows("slow")


def test_the_last_reply_counts(here: Desk) -> None:
    here.gate.learn("a", Lines(30.0, 30.0, 30.0))
    here.gate.learn("a", Lines(0.0, 0.0, 0.0))
    assert here.gate.shows(A)


def test_an_account_that_nobody_made_known_teaches_nothing(here: Desk) -> None:
    here.gate.learn("stranger", Lines(60.0, 60.0, 60.0))
    assert here.next() == [A_URGENT, B_URGENT, A, B]


# --- what was fetched and has not asked ---------------------------------------------------------------------------


def test_each_message_under_way_counts_as_one_slot(here: Desk) -> None:
    under_way = 0
    while here.gate.shows(A):
        here.cycle.rotate(A)
        under_way += 1
    assert under_way == 3, "three slots of 0.05 s are more than the window of 0.13 s"
    assert not here.gate.shows(A_URGENT), "the account's lanes share its slots"
    assert here.gate.shows(B)


@pytest.mark.parametrize(
    ("slack_s", "shows_s"),
    [(0.0, EARLY_S), (0.06, EARLY_S - 0.06), (0.18, LATE_S)],
    ids=["a late slot is lost", "a little slack", "as at 1,000 a minute"],
)
def test_a_queue_shows_as_late_as_its_slots_allow(here: Desk, slack_s: float, shows_s: float) -> None:
    here.gate.add("c", 0.06, [("warrooms.c", Lane.BULK)], slack_s)
    for ahead_s, shows in ((shows_s + 0.001, False), (shows_s - 0.001, True)):
        here.gate.learn("c", Lines(ahead_s, ahead_s, 0.0, interval_s=0.06))
        assert here.gate.shows("warrooms.c") is shows


@pytest.mark.parametrize(("interval_s", "under_way"), [(60.0, 1), (0.06, 1), (0.02, 3), (0.01, 5)])
def test_at_least_one_message_is_under_way_and_more_of_a_fast_account(
    here: Desk, interval_s: float, under_way: int
) -> None:
    here.gate.add("c", interval_s, [("warrooms.c", Lane.BULK)], slack_s=1.0)
    fetched = 0
    while here.gate.shows("warrooms.c"):
        here.gate.fetched("warrooms.c")
        fetched += 1
    assert fetched == pytest.approx(under_way, abs=0.1 * ASKING_S)


def test_of_a_persons_rates_the_slack_is_not_known(here: Desk) -> None:
    here.gate.add("c", 0.06, [("warrooms.c", Lane.BULK)], slack_s=0.18)
    here.gate.learn("c", Lines(0.1, 0.1, 0.0, interval_s=0.1))
    assert here.gate.shows("warrooms.c")


def test_a_message_that_asked_counts_no_longer(here: Desk) -> None:
    for _ in range(3):
        here.cycle.rotate(A)
    here.gate.asked(A)
    assert here.gate.shows(A)


def test_asking_more_often_than_fetched_opens_no_credit(here: Desk) -> None:
    for _ in range(9):
        here.gate.asked(A)
    for _ in range(3):
        here.cycle.rotate(A)
    assert not here.gate.shows(A)


def test_messages_that_never_ask_hide_their_queue_for_a_few_seconds_only(here: Desk) -> None:
    for _ in range(100):  # a foreign client's: an unknown task, wrong arguments
        here.cycle.rotate(A)
    assert not here.gate.shows(A)
    here.now_s += FORGET_S - 0.001
    assert not here.gate.shows(A)
    here.now_s += 0.001
    assert here.gate.shows(A)


def test_messages_of_unknown_queues_are_not_counted(here: Desk) -> None:
    here.gate.fetched("celery")
    here.gate.asked("celery")
    assert here.gate.shows("celery")


def test_threads_lose_no_count(here: Desk) -> None:
    start = Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(500):
            here.gate.fetched(A)
            here.gate.shows(A)
            here.gate.asked(A)
            here.gate.learn("a", Lines(0.0, 0.0, 0.0))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(2):
        here.gate.fetched(A)
    assert here.gate.shows(A)
    here.gate.fetched(A)
    assert not here.gate.shows(A)


# --- when the consumer's loop wakes -------------------------------------------------------------------------------


class Loop:
    """The consumer's loop, which rests at the beginning: what the gate tells it, and its turns."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.woken = 0
        self.wakes_at: list[float] = []
        desk.gate.wake = self._wake
        desk.gate.wake_in = lambda seconds: self.wakes_at.append(desk.now_s + seconds)
        self.fetches = bool(desk.cycle.consume(99))
        self.turns = 0

    def _wake(self) -> None:
        self.woken += 1

    def turn(self) -> None:
        self.turns += 1
        self.desk.gate.look()
        self.fetches = self.fetches or bool(self.desk.cycle.consume(99))

    def answered(self, queue: str | None) -> None:
        if queue is not None:
            self.desk.cycle.rotate(queue)
        self.desk.cycle.answered()
        self.fetches = False
        self.turn()

    def pass_time(self, seconds: float) -> None:
        """Lets it go by, and the loop turn whenever it has to."""
        end = self.desk.now_s + seconds
        while (due := [at for at in self.wakes_at if at <= end]) != []:
            self.desk.now_s = max(self.desk.now_s, min(due))
            self.wakes_at.remove(min(due))
            self.turn()
        self.desk.now_s = end


def only(desk: Desk, interval_s: float = 0.06) -> None:
    """One queue, of an account whose slots may come late."""
    desk.gate.add("c", interval_s, [("warrooms.c", Lane.BULK)], slack_s=1.0)
    desk.cycle = GatedCycle(["warrooms.c"], desk.gate)


def slot_in(desk: Desk, seconds: float) -> None:
    desk.gate.learn("c", Lines(seconds, seconds, 0.0))


def test_with_everything_hidden_the_loop_wakes_when_the_first_queue_shows(here: Desk) -> None:
    here.gate.learn("a", Lines(3.0, 4.0, 0.0))
    here.gate.learn("b", Lines(5.0, 2.0, 0.0))
    loop = Loop(here)
    assert loop.wakes_at == [pytest.approx(here.now_s + 2.0 - EARLY_S + GRAIN_S)]
    here.now_s = loop.wakes_at[0]
    assert here.next() == [B]


def test_a_loop_that_has_decided_how_long_it_sleeps_is_woken_to_decide_anew(here: Desk) -> None:
    only(here)
    slot_in(here, 1.0)
    told = Event()
    here.gate.wake = told.set
    assert here.next() == []
    assert told.wait(30), "it would sleep past the slot"


def test_a_fetched_message_is_expected_to_ask_so_the_next_slot_is_known_beforehand(here: Desk) -> None:
    only(here)
    slot_in(here, 0.0)
    loop = Loop(here)
    loop.answered("warrooms.c")
    assert loop.wakes_at == [pytest.approx(here.now_s + 0.06 + GRAIN_S)]
    slot_in(here, 0.07)
    here.gate.asked("warrooms.c")
    loop.turn()
    assert len(loop.wakes_at) == 1
    assert loop.woken == 0
    loop.pass_time(0.07)
    assert loop.fetches


def test_a_slot_that_comes_sooner_than_was_expected_wakes_the_loop_once(here: Desk) -> None:
    only(here)
    slot_in(here, 5.0)
    loop = Loop(here)
    slot_in(here, 4.0)
    slot_in(here, 0.0)
    assert loop.woken == 1
    loop.turn()
    assert loop.fetches


def test_one_that_comes_hardly_sooner_does_not(here: Desk) -> None:
    only(here)
    slot_in(here, 4.0)
    loop = Loop(here)
    slot_in(here, 4.0 - NEAR_S + 0.001)
    assert loop.woken == 0


def test_one_that_comes_later_is_waited_for_again(here: Desk) -> None:
    only(here)
    slot_in(here, 1.0)
    loop = Loop(here)
    slot_in(here, 3.0)
    loop.pass_time(2.9)
    assert not loop.fetches
    loop.pass_time(0.1)
    assert loop.fetches


def test_while_redis_is_asked_nothing_wakes_the_loop(here: Desk) -> None:
    loop = Loop(here)
    assert loop.fetches
    here.gate.learn("a", Lines(0.0, 0.0, 0.0))
    here.gate.asked(A)
    assert (loop.woken, loop.wakes_at) == (0, [])


def test_for_a_message_that_does_not_ask_the_loop_turns_a_few_times_only(here: Desk) -> None:
    only(here)
    loop = Loop(here)
    loop.answered("warrooms.c")
    loop.turns = 0
    loop.pass_time(FORGET_S + 2 * GRAIN_S)
    assert loop.fetches
    assert loop.turns == 2


def test_a_loop_that_forgot_its_timers_is_told_again(here: Desk) -> None:
    only(here)
    slot_in(here, 1.0)
    loop = Loop(here)
    loop.turn()
    assert len(loop.wakes_at) == 1
    loop.wakes_at.clear()
    here.gate.forgets_to_wake()
    loop.turn()
    assert len(loop.wakes_at) == 1


ANY: Final = st.integers(0, 11)
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), ANY, st.floats(0, 2), st.floats(0, 2)),
        st.tuples(st.just("asked"), ANY),
        st.tuples(st.just("message"), ANY),
        st.tuples(st.just("message"), ANY),
        st.tuples(st.just("nothing")),
        st.tuples(st.just("time"), st.floats(0, 1)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS, st.sampled_from([0.0, 0.18]), st.sampled_from([0.005, 0.06, 3.0]), st.sampled_from([1, 2, 12]))
def test_whatever_happens_no_queue_shows_while_the_loop_sleeps(
    steps: list[tuple[Any, ...]], slack_s: float, interval_s: float, accounts: int
) -> None:
    here = Desk()
    queues = [f"queue.{number}" for number in range(accounts)]
    for number, queue in enumerate(queues):
        lanes = [(queue, Lane.BULK), (f"{queue}.urgent", Lane.URGENT)]
        here.gate.add(str(number), interval_s, lanes, slack_s)
    here.cycle = GatedCycle([*queues, "queue.0.urgent"], here.gate)
    loop = Loop(here)
    for what, *details in steps:
        match what:
            case "learn":
                here.gate.learn(str(details[0] % accounts), Lines(details[1], details[2], 0.0))
            case "asked":
                here.gate.asked(queues[details[0] % accounts])
            case "message" if loop.fetches:
                loop.answered(here.cycle._asked[details[0] % len(here.cycle._asked)])
            case "nothing" if loop.fetches:
                loop.answered(None)
            case "time":
                loop.pass_time(details[0])
        if loop.woken:
            loop.woken = 0
            loop.turn()
        if not loop.fetches and any(map(here.gate.shows, here.cycle.items)):
            assert min(loop.wakes_at) <= here.now_s + NEAR_S + 2 * GRAIN_S


# --- turns --------------------------------------------------------------------------------------------------------


def ask(desk: Desk, ahead_s: float, **lines: Any) -> None:  # noqa: ANN401
    """A message of the account c was told a slot so far ahead, and what that does to the next one."""
    next_s = ahead_s + 0.06
    desk.gate.learn("c", Lines(**({"urgent_s": next_s, "bulk_s": next_s, "pause_s": 0.0} | lines)))


def late_s(desk: Desk, ahead_s: float) -> float:
    """How much later than the next slot asks for does the queue show?"""
    desk.gate.forgets_to_wake()
    (at,) = Loop(desk).wakes_at
    return at - GRAIN_S - desk.now_s - (ahead_s + 0.06 - LATE_S)


def test_who_is_told_what_it_asked_for_comes_for_the_next_slot(here: Desk) -> None:
    only(here)
    for _ in range(5):
        ask(here, LATE_S)
        assert late_s(here, LATE_S) == pytest.approx(0.0)


def test_who_comes_at_the_same_time_as_others_comes_later_the_next_time(here: Desk) -> None:
    only(here)
    late: list[float] = []
    for _ in range(3):
        ask(here, 0.13)
        late.append(late_s(here, 0.13))
    assert late[0] > 0.01
    assert late == sorted(late)


def test_who_is_alone_again_comes_as_before(here: Desk) -> None:
    only(here)
    for _ in range(50):
        ask(here, 0.13)
    assert late_s(here, 0.13) == pytest.approx(MOST_TURN_S)
    for _ in range(10):
        ask(here, 0.0)
    assert late_s(here, 0.0) == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize("lines", [{"pause_s": 3.0}, {"bulk_s": 5.0, "urgent_s": 5.0}], ids=["a pause", "far ahead"])
def test_a_pause_is_no_turn(here: Desk, lines: dict[str, float]) -> None:
    only(here)
    for _ in range(9):
        ask(here, 0.13)
    ask(here, 0.0, **lines)
    ask(here, 0.0)
    assert late_s(here, 0.0) == pytest.approx(0.0)


def test_where_a_late_slot_is_lost_everybody_comes(here: Desk) -> None:
    here.gate.add("c", 0.06, [("warrooms.c", Lane.BULK)])
    here.cycle = GatedCycle(["warrooms.c"], here.gate)
    for _ in range(9):
        ask(here, 0.13)
    assert late_s(here, 0.13) == pytest.approx(LATE_S - EARLY_S)


# --- the order ----------------------------------------------------------------------------------------------------


def test_urgent_lines_come_first_except_every_tenth_time(here: Desk) -> None:
    fetches = [here.next() for _ in range(3 * BULK_FIRST_EVERY)]
    bulk_first = [n for n, queues in enumerate(fetches, start=1) if queues[0] in {A, B}]
    assert bulk_first == [10, 20, 30]
    assert all(sorted(queues) == sorted([A, B, A_URGENT, B_URGENT]) for queues in fetches)


def test_accounts_take_turns(here: Desk) -> None:
    here.cycle.rotate(A_URGENT)
    assert here.next() == [B_URGENT, A_URGENT, A, B]
    here.cycle.rotate(A)
    assert here.next() == [B_URGENT, A_URGENT, B, A]
    here.cycle.rotate(B)
    assert here.next() == [B_URGENT, A_URGENT, A, B]


def test_a_message_of_an_unknown_queue_turns_nothing(here: Desk) -> None:
    assert here.cycle.rotate("gone") == "gone"
    assert here.cycle.items == [A, B, A_URGENT, B_URGENT]


def test_an_update_keeps_the_turn_of_those_that_stay(here: Desk) -> None:
    here.cycle.rotate(A)
    here.cycle.update(["new", A, A_URGENT, B])
    assert here.cycle.items == [B, A_URGENT, A, "new"]


def test_the_cycle_keeps_a_list_of_its_own(here: Desk) -> None:
    queues = [A]
    here.cycle.update(queues)
    queues.clear()
    assert here.cycle.items == [A]


def test_no_more_queues_than_asked_for(here: Desk) -> None:
    assert len(here.cycle.consume(2)) == 2
    assert here.cycle.consume(0) == []
    assert GatedCycle(gate=here.gate).consume(5) == []


def test_an_accounts_queues_are_its_two_lanes_and_urgent_is_popped_first_but_for_every_tenth_time() -> None:
    gate = Gate(clock=lambda: 0.0)
    gate.add("a", EVERY_S, queues_of("a"))
    cycle = GatedCycle(reversed([A_URGENT, A]), gate)
    turns = [cycle.consume(2) for _ in range(BULK_FIRST_EVERY)]
    assert turns == [[A_URGENT, A]] * (BULK_FIRST_EVERY - 1) + [[A, A_URGENT]]


def test_an_account_that_is_down_is_asked_again_every_few_seconds(here: Desk) -> None:
    for _ in range(3):
        here.gate.learn("a", Lines(45.0, 45.0, 45.0))
        here.now_s += BELIEVE_S - EARLY_S - 0.001
        assert not here.gate.shows(A)
        here.now_s += 0.002
        assert here.gate.shows(A)
        assert here.gate.shows(A_URGENT)


def test_what_was_no_message_hides_nothing(here: Desk) -> None:
    for _ in range(100):
        here.gate.fetched(A)
        here.gate.dropped()
    assert here.gate.shows(A)


# --- many accounts ------------------------------------------------------------------------------------------------

MANY_QUEUES: Final = [f"warrooms.{number}" for number in range(MANY + 1)]


@pytest.fixture
def crowd(here: Desk) -> Desk:
    """So many queues that not all of them are named each time, and all were named just now."""
    for number, queue in enumerate(MANY_QUEUES):
        here.gate.add(str(number), EVERY_S, [(queue, Lane.BULK)], slack_s=1.0)
    here.cycle = GatedCycle(MANY_QUEUES, here.gate)
    assert here.cycle.consume(99) == MANY_QUEUES
    return here


def pops(here: Desk, queue: str) -> None:
    """A message of the queue came, and asked."""
    here.cycle.rotate(queue)
    here.gate.asked(queue)


def finds(here: Desk, queue: str) -> None:
    """A message of a queue that was not known to be busy; all are looked into, and it has another."""
    pops(here, queue)
    assert sorted(here.cycle.consume(99)) == sorted(MANY_QUEUES), "there may be more of them"
    pops(here, queue)


def test_of_many_queues_only_those_that_gave_something_are_named(crowd: Desk) -> None:
    finds(crowd, MANY_QUEUES[3])
    assert crowd.cycle.consume(99) == [MANY_QUEUES[3]]


def test_all_of_them_are_named_ten_times_a_second(crowd: Desk) -> None:
    finds(crowd, MANY_QUEUES[3])
    crowd.now_s += ALL_EVERY_S
    assert sorted(crowd.cycle.consume(99)) == sorted(MANY_QUEUES)


def test_those_in_front_of_what_was_popped_are_known_to_be_empty(crowd: Desk) -> None:
    three, five, seven = (MANY_QUEUES[number] for number in (3, 5, 7))
    for queue in three, five, seven:
        pops(crowd, queue)
        assert sorted(crowd.cycle.consume(99)) == sorted(MANY_QUEUES), "each was new"
    pops(crowd, three)
    assert crowd.cycle.consume(99) == [five, seven, three]
    pops(crowd, seven)
    assert crowd.cycle.consume(99) == [three, seven], "5 was in front of 7, so it is empty"


def test_a_brpop_that_popped_nothing_says_that_all_of_its_queues_are_empty(crowd: Desk) -> None:
    finds(crowd, MANY_QUEUES[3])
    assert crowd.cycle.consume(99) == [MANY_QUEUES[3]]
    assert sorted(crowd.cycle.consume(99)) == sorted(MANY_QUEUES), "nobody is busy: all of them, at once"


def test_a_busy_queue_that_is_hidden_is_not_named_and_not_forgotten(crowd: Desk) -> None:
    busy = MANY_QUEUES[3]
    pops(crowd, busy)
    crowd.gate.learn("3", Lines(1.0, 1.0, 0.0, interval_s=EVERY_S))
    assert busy not in crowd.cycle.consume(99)
    pops(crowd, MANY_QUEUES[4])
    crowd.gate.learn("3", Lines(0.0, 0.0, 0.0, interval_s=EVERY_S))
    assert busy in crowd.cycle.consume(99)


def test_a_few_queues_are_all_named_always(here: Desk) -> None:
    here.next()
    here.cycle.rotate(A)
    here.gate.asked(A)
    assert here.next() == [A_URGENT, B_URGENT, B, A]


def test_more_than_a_few_messages_under_way_hide_every_queue_until_one_has_asked(crowd: Desk) -> None:
    for queue in MANY_QUEUES[:MOST_ASKING]:
        assert crowd.gate.shows(MANY_QUEUES[-1])
        crowd.cycle.rotate(queue)
    assert not any(map(crowd.gate.shows, MANY_QUEUES))
    loop = Loop(crowd)
    crowd.gate.asked(MANY_QUEUES[0])
    assert crowd.gate.shows(MANY_QUEUES[-1])
    crowd.gate.asked(MANY_QUEUES[1])
    assert loop.woken == 1, "once: the consumer's loop must not spin"


def test_others_need_not_wait_until_those_who_asked_have_their_next_slots(crowd: Desk) -> None:
    for queue in MANY_QUEUES[:MOST_ASKING]:
        crowd.cycle.rotate(queue)
    loop = Loop(crowd)
    for number in range(MOST_ASKING):
        crowd.gate.learn(str(number), Lines(9.0, 9.0, 0.0))
        crowd.gate.asked(MANY_QUEUES[number])
    assert loop.woken == 1
    loop.turn()
    assert loop.fetches


def test_messages_that_never_ask_do_not_hide_the_others_for_ever(crowd: Desk) -> None:
    for queue in MANY_QUEUES[:MOST_ASKING]:
        crowd.cycle.rotate(queue)
    crowd.now_s += FORGET_S
    assert crowd.cycle.consume(99) == [*MANY_QUEUES[MOST_ASKING:], *MANY_QUEUES[:MOST_ASKING]]


def test_who_looks_at_some_only_is_told_so_and_must_not_wait(crowd: Desk) -> None:
    finds(crowd, MANY_QUEUES[3])
    assert crowd.cycle.looks_at_some(99)
    assert crowd.cycle.consume(99) == [MANY_QUEUES[3]]
    assert not crowd.cycle.looks_at_some(99), "that one was empty: now all of them"
    assert sorted(crowd.cycle.consume(99)) == sorted(MANY_QUEUES)
