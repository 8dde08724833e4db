"""Draws failures: of the network, of the bot's process and of its clock."""

from random import Random

from tests.simulation.jobplans import script_seconds
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
    """Events of the process, independent of its work."""
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


def over_charts(random: Random, jobs: tuple[JobPlan, ...]) -> list[Upset]:
    """Now and then the bot is killed or paused over a chart on its way to a card."""
    return [
        Upset(
            random.choice(("kill", "kill", "stop", "pause")),
            job.begins,
            random.choice(("left", "arrived", "answered"))
            + random.choice(
                (" upload", " files.completeUploadExternal", " chat.update of the end, with a chart")
            ),
            random.choice((0, 1, 2, 3, 5, 8, 13)),
            random.choice((0.3, 3.0, 15.0, 70.0)),
        )
        for job in jobs
        if job.chart and random.random() < 0.25
    ]


SWEEP_FAILS = Front("disk", 20.0, 60.0, 1.0, ("locked",), "GROUP BY watches.job")
"""The table can't be searched for what is open, so the next process takes up nothing for a minute."""


def late_edits(random: Random, actions: list[Action]) -> list[Front]:
    """Sometimes Slack takes an edit before a user presses Retry, and answers after the bot has stopped waiting."""
    return [
        Front("slack", max(0.0, action.at - 40.0), action.at, 0.7, ("late",), "chat.update")
        for action in actions
        if action.kind == "retry" and random.random() < 0.3
    ]


def outages(seed: int, actions: list[Action]) -> list[Front]:
    """A gateway in front of Omni, and look-ups in Slack."""
    return _gateways(Random(f"gateways {seed}")) + _busy_look_ups(Random(f"busy look-ups {seed}"), actions)


def _gateways(random: Random) -> list[Front]:
    """Now and then a gateway in front of Omni has no route to it for a while."""
    if random.random() > 0.15:
        return []
    begins = random.uniform(0, ACTIVE_SECONDS - 80)
    return [Front("omni", begins, begins + random.choice((3.0, 20.0, 75.0, 75.0)), 1.0, ("gateway",))]


def _busy_look_ups(random: Random, actions: list[Action]) -> list[Front]:
    """Now and then Slack is too busy for a moment to say who a person is, or what kind of place it is."""
    fronts: list[Front] = []
    for action in actions:
        if action.kind in (*FOLLOWING, "cancel") and random.random() < 0.1:
            begins = action.at + random.choice(action.deliveries)
            ends = begins + random.choice((0.3, 1.5, 3.0))
            on = random.choice(("conversations.info", "users.info"))
            fronts.append(Front("slack", begins, ends, 1.0, ("busy_briefly",), on))
    return fronts


def pause_near_the_end(random: Random, job: JobPlan) -> Upset:
    """A process stands still over an edit until the job has ended, and another has shown that. Where Omni forgets the
    job, it does so over the edit that shows the end."""
    at = max(0.0, script_seconds(job.script) - random.uniform(2, 30))
    on = "left chat.update" if job.vanishes_at is None else "left chat.update of the end"
    return Upset("pause", at, on, back_after=70.0)


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
