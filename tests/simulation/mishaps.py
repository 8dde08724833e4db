"""Draws what goes wrong: the weather, what happens to the process of the bot, and to its clock."""

from random import Random

from bot.demo.timeline import Script
from tests.simulation.scenario import ACTIVE_SECONDS, FOLLOWING, Action, JobPlan, Upset
from tests.simulation.weather import DISK_TROUBLE, OMNI_TROUBLE, SLACK_TROUBLE, Front

POINTS = (
    "left chat.postMessage",
    "arrived chat.postMessage",
    "answered chat.postMessage",
    "left chat.update",
    "arrived chat.update",
    "answered chat.update",
    "answered GET",
    "left conversations",
    "answered conversations",
    "committed",
    "delivered",
)


def any_upsets(random: Random) -> list[Upset]:
    """What happens to the process, whatever it does."""
    if random.random() < 0.25:
        return []
    return [
        Upset(
            random.choice(("kill", "kill", "kill", "kill", "stop", "pause")),
            random.uniform(0, ACTIVE_SECONDS - 20),
            random.choice(("", *POINTS)),
            random.choice((0, 1, 2, 3, 5, 8, 13, 30, 100)),
            random.choice((0.3, 0.5, 3.0, 15.0, 40.0)),
        )
        for _ in range(random.choice((1, 1, 2, 4)))
    ]


def any_fronts(random: Random) -> list[Front]:
    """The weather."""
    fronts: list[Front] = []
    if random.random() < 0.2:
        return fronts
    if random.random() < 0.15:
        fronts.append(Front("slack", 0.0, ACTIVE_SECONDS - 20, 0.4, ("slow",), "chat.update"))
    for _ in range(random.choice((1, 2, 3, 5))):
        service = random.choice(("slack", "slack", "slack", "omni", "omni", "disk", "whisper"))
        kinds = {"omni": OMNI_TROUBLE, "disk": DISK_TROUBLE}.get(service, SLACK_TROUBLE)
        begins = random.uniform(0, ACTIVE_SECONDS - 70)
        on = ""
        if service == "slack":
            on = random.choice(("", "", "chat.postMessage", "chat.update", "conversations", "Permalink"))
        fronts.append(
            Front(
                service,
                begins,
                begins + random.choice((3.0, 15.0, 60.0)),
                random.choice((0.2, 0.5, 0.5, 1.0)),
                tuple(random.sample(kinds, random.choice((1, 2, len(kinds))))),
                on,
            )
        )
    return fronts


def clock_steps(random: Random) -> list[tuple[float, float]]:
    """When the clock is set, and by how many seconds."""
    if random.random() > 0.15:
        return []
    return [
        (random.uniform(0, ACTIVE_SECONDS), random.choice((-60.0, -5.0, -0.5, 0.5, 5.0, 60.0)))
        for _ in range(random.choice((1, 2)))
    ]


def kill_over_a_post(random: Random) -> Upset:
    """The bot is killed over one reply or another of a tall answer."""
    when = random.choice(("left", "arrived", "answered"))
    return Upset(
        "kill",
        random.uniform(4, 25),
        f"{when} chat.postMessage",
        random.choice((0, 1, 2, 3, 5, 8, 13)),
        random.choice((0.3, 3.0, 15.0)),
    )


def kills_over(random: Random, asking: list[Action]) -> list[Upset]:
    """The bot is killed, now and then, over what Omni is asked to do."""
    return [
        Upset(
            "kill",
            asked.at,
            random.choice(("left POST", "arrived POST", "answered POST", "delivered", "answered users.info")),
            random.choice((0, 1, 2, 3, 5, 8, 13, 30)),
            random.choice((0.3, 3.0)),
        )
        for asked in asking
        if random.random() < 0.3
    ]


SWEEP_FAILS = Front("disk", 20.0, 60.0, 1.0, ("locked",), "GROUP BY watches.job")
"""The table can't be searched for what is open, so the next process takes up nothing for a minute."""


def late_edits(random: Random, actions: list[Action]) -> list[Front]:
    """Now and then Slack takes the edits before somebody presses Retry, and answers when nobody waits any more."""
    return [
        Front("slack", max(0.0, action.at - 40.0), action.at, 0.7, ("late",), "chat.update")
        for action in actions
        if action.kind == "retry" and random.random() < 0.3
    ]


def pause_near_the_end(random: Random, script: Script) -> Upset:
    """A process stands still over an edit until the job has ended, and another has shown that."""
    ends = sum(seconds for seconds, _, _ in script.steps) + script.delivering_seconds
    return Upset("pause", max(0.0, ends - random.uniform(2, 30)), "left chat.update", back_after=70.0)


def unheard(
    random: Random, jobs: tuple[JobPlan, ...], actions: list[Action]
) -> tuple[list[Front], list[Upset]]:
    """Over a job that is none: the line that says so does not arrive, or the bot is killed before it has said so."""
    fronts: list[Front] = []
    upsets: list[Upset] = []
    for action in actions:
        if action.kind not in FOLLOWING or jobs[action.job].exists or random.random() < 0.3:
            continue
        if random.random() < 0.4:
            kind = random.choice(("refused", "reset", "down"))
            fronts.append(Front("whisper", action.at, action.at + 15.0, 1.0, (kind,)))
        else:
            on = random.choice(("answered GET", "answered GET", "left response_url"))
            callbacks = random.choice((5, 8, 13, 20, 30, 50, 80)) if on == "answered GET" else 0
            upsets.append(Upset("kill", action.at, on, callbacks, random.choice((0.3, 3.0))))
    return fronts, upsets
