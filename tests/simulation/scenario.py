"""A scenario: settings, jobs, user actions, failures and kills."""

from dataclasses import dataclass, field

from bot.demo.omni.conversations import Listing
from bot.demo.omni.timeline import Script
from tests.simulation.weather import Front

ACTIVE_SECONDS = 200.0
"""For so long people do things and things go wrong; then everything has time to come to its end."""

PEOPLE = ("U0ADABYRON", "U0GRACEHOP", "U0LINUSPAU", "U0MARYSOME", "U0EMMYNOET")
OPEN_PLACES = ("C0DATATEAM", "C0SALES000")
CLOSED_PLACES = ("C0RANDOM00", "G0LEADERSH", "D0ADAGRACE")
MORE_PLACES = tuple(f"C0PLACE{number:03d}" for number in range(14))


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job of Omni's."""

    id: str
    conversation: str
    begins: float
    script: Script
    token: str
    """A word of its answer that no other job's has."""
    vanishes_at: float | None = None
    cancelled_at: float | None = None
    odd_state: tuple[float, float] | None = None
    """Period with an unknown state."""
    exists: bool = True
    chart: bool = False
    """Whether Omni draws its answer."""
    is_asked: bool = False
    """Whether it begins when its question is submitted to Omni; `begins` then says nothing."""

    again: "JobPlan | None" = None
    """The job whose question it asks once more, in case that one fails and a user presses Retry."""

    @property
    def question(self) -> str:
        """The prompt: unique per job, except for a retry."""
        return self.again.question if self.again else f"Question {self.token}?"


ASKING = ("ask", "retry")
"""The kinds of actions that Omni is asked for."""
FOLLOWING = ("follow", "chat", *ASKING)
"""The kinds of actions that a card comes of."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person does."""

    at: float
    kind: str
    """follow, chat, ask, retry, cancel, data, stop, forge, resume, list, help, nonsense, delete, archive, unarchive,
    expel, invite, revoke, reinstall."""
    person: str
    place: str
    job: int = 0
    deliveries: tuple[float, ...] = (0.0,)
    """After how many seconds Slack delivers it, each time that it does."""
    by: str = "command"
    """command; or in a new thread: mention, of the bot, or shortcut, on a reply. Of follow, chat and ask only."""

    @property
    def delivered_by(self) -> float:
        """When Slack has delivered it for the last time."""
        return self.at + max(self.deliveries)


@dataclass(frozen=True, slots=True)
class Upset:
    """Events of the bot's process."""

    kind: str
    """kill, stop, or pause."""
    at: float
    """Not before."""
    on: str = ""
    """The next event with this in its name; at once if empty."""
    callbacks: int = 0
    """How many of its callbacks still run before it is killed."""
    back_after: float = 1.0
    """After how long it is started again, or goes on where it was paused."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a seed decides in advance."""

    seed: int
    history_scopes: bool
    requests_per_minute: int
    notify_after_seconds: float
    max_follow_hours: float
    retention_days: float
    jobs: tuple[JobPlan, ...]
    actions: tuple[Action, ...]
    fronts: tuple[Front, ...]
    upsets: tuple[Upset, ...]
    clock_steps: tuple[tuple[float, float], ...]
    """When the bot's clock is set, and by how many seconds."""
    closed_direct_messages: frozenset[str] = field(default_factory=frozenset)
    is_grid: bool = False
    """Whether the workspace belongs to an Enterprise Grid organization."""
    listing: Listing = field(default_factory=Listing)
    """How Omni's list of conversations behaves."""
    has_slow_history: bool = False
    """Whether Slack allows one page of 15 messages a minute."""
    files_arrive: bool = False
    """Whether the bytes of files arrive in Slack."""
    processing_seconds: float = 0.0
    """How long Slack processes a file before a card can show it. Infinite: for ever."""
    processes: int = 1
    """How many processes of the bot run at once on the database, each following all that it finds."""

    @property
    def acts_until(self) -> float:
        """When the last event is over."""
        times = [action.delivered_by for action in self.actions]
        times += [front.ends for front in self.fronts] + [upset.at for upset in self.upsets]
        times += [job.vanishes_at for job in self.jobs if job.vanishes_at is not None]
        return max([ACTIVE_SECONDS, *times])

    @property
    def max_follow_seconds(self) -> float:
        """When a job that does not end is left alone."""
        return self.max_follow_hours * 3_600.0
