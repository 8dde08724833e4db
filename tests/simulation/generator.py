"""Draws the scenario of a seed: user actions, and failures from `mishaps`. Network delays are drawn during the run."""

import math
from dataclasses import replace
from random import Random

from bot.demo.omni.conversations import Listing
from bot.demo.omni.timeline import Cancelled, Failed
from tests.simulation.jobplans import (
    a_job,
    forgotten_soon,
    long_and_failing,
    quick_steps,
    script_seconds,
    tall_and_quick,
    waiting,
)
from tests.simulation.mishaps import (
    POINTS,
    SWEEP_FAILS,
    any_fronts,
    any_upsets,
    clock_steps,
    kill_over_a_post,
    kills_over,
    late_edits,
    outages,
    over_charts,
    pause_near_the_end,
    unheard,
)
from tests.simulation.scenario import (
    ACTIVE_SECONDS,
    CLOSED_PLACES,
    FOLLOWING,
    MORE_PLACES,
    OPEN_PLACES,
    PEOPLE,
    Action,
    JobPlan,
    Scenario,
    Upset,
)
from tests.simulation.weather import Front


def plan(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(f"scenario {seed}")
    theme = random.random()
    is_busy = theme < 0.08
    changes_mind = theme > 0.96
    has_slow_edits = 0.92 < theme <= 0.96
    is_shared = 0.84 < theme <= 0.92
    is_tall = 0.76 < theme <= 0.84
    jobs = tuple(
        a_job(random, seed, number) for number in range(random.randint(8, 14) if is_busy else _few(random))
    )
    places = _places(random, is_busy)
    actions = _busy_actions(random, jobs, places) if is_busy else _actions(random, jobs, places)
    upsets = any_upsets(random)
    if changes_mind:
        jobs = (waiting(jobs[0]),)
        actions = _change_of_mind(random)
        upsets = [Upset("kill", 20.0, "arrived chat.update", random.randint(0, 3), 0.3)]
    if is_tall:
        jobs = (tall_and_quick(random, jobs[0]), *jobs[1:])
        actions.append(Action(1.0, "follow", random.choice(PEOPLE), random.choice(OPEN_PLACES)))
        upsets += [kill_over_a_post(random) for _ in range(2)]
    if is_shared:
        shared = forgotten_soon(Random(f"forgotten {seed}"), long_and_failing(random, jobs[0]))
        jobs = (shared, *jobs[1:])
        actions += [
            Action(random.uniform(2, 20), "follow", random.choice(PEOPLE), random.choice(OPEN_PLACES))
            for _ in range(2)
        ]
        upsets.append(
            Upset(
                "pause",
                random.uniform(20, 150),
                random.choice(POINTS),
                back_after=random.choice((5.0, 30.0, 70.0)),
            )
        )
        upsets.append(pause_near_the_end(random, shared))
    if not (is_shared or changes_mind):
        asked, asking, killing = _asks(Random(f"asks {seed}"), seed, len(jobs), places)
        jobs += asked
        actions += asking
        upsets += killing
        again, pressing, killing = _presses(Random(f"presses {seed}"), seed, jobs, actions)
        jobs += again
        actions += pressing
        upsets += killing
    if not changes_mind:
        again, taking_over = _takeovers(Random(f"takeovers {seed}"), seed, jobs, actions, is_shared=is_shared)
        jobs += again
        actions += taking_over
    fronts = [SWEEP_FAILS] if changes_mind else any_fronts(random)
    fronts += late_edits(Random(f"late edits {seed}"), actions)
    silent, killing = unheard(Random(f"unheard {seed}"), jobs, actions)
    fronts += silent
    upsets += killing
    if not changes_mind:
        fronts += outages(seed, actions)
    if has_slow_edits:
        jobs = tuple(replace(job, script=quick_steps(job.script)) for job in jobs)
        fronts.append(Front("slack", 0.0, ACTIVE_SECONDS - 20, 0.6, ("slow",), "chat.update"))
    actions = sorted(_in_threads(Random(f"threads {seed}"), actions), key=lambda action: action.at)
    return Scenario(
        seed=seed,
        history_scopes=random.random() < 0.65,
        requests_per_minute=_requests_per_minute(random, is_busy=is_busy, is_quick=has_slow_edits),
        notify_after_seconds=random.choice((0.0, 30.0, 30.0)),
        max_follow_hours=random.choice((0.1, 0.1, 0.2)),
        retention_days=random.choice((0.01, 30.0)),
        jobs=jobs,
        actions=tuple(actions),
        fronts=tuple(fronts),
        upsets=(*upsets, *over_charts(Random(f"over charts {seed}"), jobs)),
        clock_steps=tuple(clock_steps(random)),
        closed_direct_messages=frozenset(random.sample(PEOPLE, 1) if random.random() < 0.15 else ()),
        has_slow_history=Random(f"history {seed}").random() < 0.15,
        is_grid=Random(f"grid {seed}").random() < 0.2,
        listing=_listing(Random(f"listing {seed}")),
        processes=2 if is_shared else 1,
        files_arrive=Random(f"files {seed}").random() < 0.75,
        processing_seconds=Random(f"processing {seed}").choice((0.0, 0.0, 0.0, 0.8, 4.0, math.inf)),
    )


def _listing(random: Random) -> Listing:
    """One of the ways in which Omni may list conversations."""
    return random.choice(
        (
            Listing("step"),
            Listing("end"),
            Listing("question"),
            Listing("step", late_seconds=random.uniform(1.0, 20.0)),
            Listing("end", late_seconds=random.uniform(1.0, 20.0)),
            Listing("end", crowd=random.choice((50, 99, 150))),
            Listing(has_times=False),
            Listing(refusal=random.choice((400, 401, 403, 404))),
        )
    )


def _requests_per_minute(random: Random, *, is_busy: bool, is_quick: bool) -> int:
    if is_quick:
        return 300
    return random.choice((6, 12, 60) if is_busy else (6, 12, 30, 60, 60, 300))


def _few(random: Random) -> int:
    return random.choice((1, 1, 2, 2, 3, 5))


def _places(random: Random, is_busy: bool) -> list[str]:
    if is_busy:
        return [*MORE_PLACES, *OPEN_PLACES]
    places = random.sample(OPEN_PLACES + MORE_PLACES[:2], random.choice((1, 1, 2, 3)))
    if random.random() < 0.3:
        places.append(random.choice(CLOSED_PLACES))
    if random.random() < 0.2:
        places.append("dm")
    return places


def _busy_actions(random: Random, jobs: tuple[JobPlan, ...], places: list[str]) -> list[Action]:
    """Many cards at once, for the budgets."""
    return [
        Action(random.uniform(0, 60), "follow", random.choice(PEOPLE), random.choice(places), job)
        for job in range(len(jobs))
        for _ in range(random.randint(1, 4))
    ]


def _change_of_mind(random: Random) -> list[Action]:
    """Somebody follows a job that has long to wait, stops, and follows it again."""
    person, place = random.choice(PEOPLE), random.choice(OPEN_PLACES)
    return [
        Action(1.0, "follow", person, place),
        Action(20.0, "stop", person, place),
        Action(random.uniform(65, 80), "follow", person, place),
    ]


_KINDS = {
    "follow": 30,
    "chat": 3,
    "stop": 9,
    "forge": 1,
    "list": 2,
    "help": 1,
    "nonsense": 1,
    "delete": 4,
    "archive": 1,
    "expel": 2,
    "invite": 2,
    "revoke": 1,
}


def _actions(random: Random, jobs: tuple[JobPlan, ...], places: list[str]) -> list[Action]:
    people = random.sample(PEOPLE, random.choice((1, 2, 3)))
    actions = [Action(random.uniform(0, 20), "follow", people[0], places[0], 0, _deliveries(random))]
    clusters = [random.uniform(0, ACTIVE_SECONDS - 20) for _ in range(3)]
    for _ in range(random.choice((1, 3, 6, 12))):
        near = random.choice(clusters) + random.choice((0.0, 0.0, 0.01, 0.2, 2.0))
        kind = random.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
        action = Action(
            random.choice((near, random.uniform(0, ACTIVE_SECONDS - 20))),
            kind,
            random.choice(people),
            random.choice(places),
            random.randrange(len(jobs)),
            _deliveries(random),
        )
        actions.append(action)
        if kind == "revoke":
            actions.append(
                Action(action.at + random.uniform(1, 40), "reinstall", action.person, action.place)
            )
        if kind == "archive":
            actions.append(
                Action(action.at + random.uniform(1, 60), "unarchive", action.person, action.place)
            )
    if any(job.script.queued_seconds == math.inf for job in jobs):
        actions += [
            Action(random.uniform(400, 900), "resume", random.choice(people), place, job)
            for place in places
            for job in range(len(jobs))
            if random.random() < 0.3
        ]
    return actions


def _asks(
    random: Random, seed: int, first: int, places: list[str]
) -> tuple[tuple[JobPlan, ...], list[Action], list[Upset]]:
    """Questions, who asks them, and now and then a kill over one. Where two processes share one SQLite file there are
    none: each of them takes itself for the only one, and what the other has in hand for an orphan."""
    number = random.choice((0, 0, 1, 1, 3))
    jobs = tuple(_asked(a_job(random, seed, first + more)) for more in range(number))
    actions = [
        Action(
            random.uniform(0, ACTIVE_SECONDS - 20),
            "ask",
            random.choice(PEOPLE),
            random.choice(places),
            first + more,
            _deliveries(random),
        )
        for more in range(number)
    ]
    return jobs, actions, kills_over(random, actions)


def _in_threads(random: Random, actions: list[Action]) -> list[Action]:
    """Some of the commands are mentions or shortcuts in threads of channels instead."""
    return [
        replace(action, by="mention" if action.kind == "ask" else random.choice(("mention", "shortcut")))
        if action.kind in ("follow", "chat", "ask")
        and action.place in OPEN_PLACES + MORE_PLACES + CLOSED_PLACES[:2]
        and random.random() < 0.25
        else action
        for action in actions
    ]


def _presses(
    random: Random, seed: int, jobs: tuple[JobPlan, ...], actions: list[Action]
) -> tuple[tuple[JobPlan, ...], list[Action], list[Upset]]:
    """Who presses Cancel on a card, or Retry on one whose job has failed, and now and then a kill over it."""
    again: list[JobPlan] = []
    pressing: list[Action] = []
    for asked in [action for action in actions if action.kind in FOLLOWING]:
        job = jobs[asked.job]
        # Only what the bot has asked itself has the button.
        if random.random() < (0.5 if asked.kind == "ask" else 0.03):
            at = asked.at + random.choice((random.uniform(1, 20), random.uniform(1, 90)))
            who = random.choice((asked.person, random.choice(PEOPLE)))
            pressing.append(Action(at, "cancel", who, asked.place, asked.job, _deliveries(random)))
        ends_badly = isinstance(job.script.end, Failed | Cancelled) or job.cancelled_at is not None
        if ends_badly and random.random() < 0.5 and not any(plan.again is job for plan in again):
            number = len(jobs) + len(again)
            again.append(replace(_asked(a_job(random, seed, number)), again=job))
            at = asked.at + random.uniform(20, 150)
            pressers = random.choice((1, 1, 2))
            # Two press at one moment: what reaches a later process may come after the word that nobody knows what came
            # of the first, and asks again as it should.
            pressing += [
                Action(
                    at + more * random.choice((0.0, 0.05)),
                    "retry",
                    random.choice((asked.person, random.choice(PEOPLE))),
                    asked.place,
                    number,
                    _deliveries(random) if pressers == 1 else (0.0,),
                )
                for more in range(pressers)
            ]
    return tuple(again), pressing, kills_over(random, pressing)


def _takeovers(
    random: Random, seed: int, jobs: tuple[JobPlan, ...], actions: list[Action], *, is_shared: bool
) -> tuple[tuple[JobPlan, ...], list[Action]]:
    """Now and then a second person follows a job after the first has left or the job has ended, and both press Cancel
    or Retry."""
    asked = [a for a in actions if a.kind in FOLLOWING and a.place in OPEN_PLACES + MORE_PLACES]
    if not asked or random.random() > 0.2:
        return (), []
    first = random.choice(asked)
    second = random.choice([person for person in PEOPLE if person != first.person])
    job = jobs[first.job]
    begins = first.at if job.is_asked else job.begins
    ends = min(begins + script_seconds(job.script), job.cancelled_at or math.inf)
    left_at = first.at + random.uniform(4, 60)
    came_at = left_at + random.uniform(0.5, 30)
    taking_over: list[Action] = []
    if ends < ACTIVE_SECONDS and random.random() < 0.6:
        came_at = max(first.at + 5.0, ends + random.uniform(5, 40))
    else:
        taking_over.append(Action(left_at, "stop", first.person, first.place, first.job))
    taking_over.append(
        Action(came_at, "follow", second, first.place, first.job, deliveries=_deliveries(random))
    )
    again: tuple[JobPlan, ...] = ()
    kind, pressed = "cancel", first.job
    if isinstance(job.script.end, Failed | Cancelled) and came_at > ends and not is_shared:
        kind, pressed = "retry", next((n for n, plan in enumerate(jobs) if plan.again is job), len(jobs))
        if pressed == len(jobs):
            again = (replace(_asked(a_job(random, seed, pressed)), again=job),)
    at = came_at + random.uniform(4, 20)
    for person in (second, first.person):
        taking_over.append(Action(at, kind, person, first.place, pressed))
        at += random.uniform(4, 20)
    return again, taking_over


def _asked(job: JobPlan) -> JobPlan:
    """The same job, begun by being asked for."""
    return replace(job, is_asked=True, vanishes_at=None, cancelled_at=None, odd_state=None, exists=True)


def _deliveries(random: Random) -> tuple[float, ...]:
    first = random.choice((0.0, 0.0, 0.05, 1.0, 3.0))
    if random.random() < 0.15:
        return first, first + random.choice((0.0, 0.05, 1.0, 15.0))
    return (first,)
