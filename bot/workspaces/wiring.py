"""Builds the object graph between the ports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from slack_bolt.async_app import AsyncApp

from bot.delivery import (
    BlockSupport,
    CardLifecycle,
    CardOutcomes,
    CompletionThread,
    MessagePoster,
    MessageUpdater,
)
from bot.domain import AccessPolicy, ModelId, SlackUser, TeamId, UserId
from bot.domain.ports import (
    NO_METRICS,
    CardRepository,
    EphemeralReply,
    FailedCardRepository,
    Follow,
    IdentityMapper,
    JobDurationRepository,
    Metrics,
    OmniJobs,
    OmniQuestions,
    QuestionRepository,
    Runner,
    SlackDirectory,
    SlackMessages,
    SlackViews,
)
from bot.handlers import (
    CommandHandlers,
    HomeTabs,
    InteractionRunner,
    MessageHandlers,
    ModalHandlers,
    Shortcuts,
)
from bot.ratelimit import RateLimiter
from bot.services import (
    AskService,
    CancelService,
    FollowService,
    Intents,
    JobDataService,
    JobResults,
    Lookups,
    ModelCatalog,
    PolicyAuthorization,
    QuestionSubmitter,
    SharedChannels,
    Targets,
)
from bot.settings import Settings
from bot.tracking import JobEventBus, JobTracker, TypicalDurations
from bot.user_limit import UserLimit


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's decisions for one workspace."""

    tenant: str
    """Omni's address. Only chats at this address become links."""
    settings: Settings
    access: AccessPolicy
    default_model: ModelId | None = None
    """The Omni model for users who have not chosen one."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to Slack, Omni, the database and the time."""

    omni: OmniJobs
    questions: OmniQuestions
    identities: IdentityMapper
    messages: SlackMessages
    directory: SlackDirectory
    people: Lookups[UserId, SlackUser]
    """The directory's users, cached."""
    views: SlackViews
    cards: CardRepository
    failed_cards: FailedCardRepository
    job_durations: JobDurationRepository
    pending_questions: QuestionRepository
    reply_to_response_url: EphemeralReply
    now: Callable[[], datetime]
    """The time, aware UTC."""
    team: TeamId
    bot_user: UserId
    user_limit: UserLimit
    """Limits the requests to Omni that each user causes."""
    events: JobEventBus = field(default_factory=JobEventBus)
    """Webhook events of the team's jobs."""
    metrics: Metrics = NO_METRICS


class Listener(Protocol):
    """Handles a kind of Slack requests."""

    def register(self, app: AsyncApp) -> None:
        """Register listeners with Bolt."""
        ...


@dataclass(frozen=True, slots=True)
class Components:
    """The built components of a workspace."""

    tracker: JobTracker
    durations: TypicalDurations
    runner: Runner
    updater: MessageUpdater
    poster: MessagePoster
    submitter: QuestionSubmitter
    home_tabs: HomeTabs
    interactions: InteractionRunner
    listeners: tuple[Listener, ...]

    def register(self, app: AsyncApp) -> None:
        """Register all listeners, which must match `manifest.yml`."""
        for listener in self.listeners:
            listener.register(app)


def build_components(
    world: Ports, rules: Policy, edits: RateLimiter, outcomes: CardOutcomes, run: Callable[[Follow], Runner]
) -> Components:
    """Build the components. `run` creates the runner for the tracking function that it gets."""
    venues = SharedChannels(world.directory, allow_shared=rules.access.allow_shared_channels)
    access = PolicyAuthorization(
        rules.access,
        people=world.people,
        shared_channels=venues,
        identities=world.identities,
        cards=world.cards,
        questions=world.pending_questions,
        now=world.now,
        user_limit=world.user_limit,
    )
    palette = BlockSupport()
    drawing = MessageUpdater(world.messages, world.cards, edits, palette, world.metrics)
    posting = MessagePoster(world.messages, world.cards, world.now, palette)
    thread = CompletionThread(
        cards=world.cards,
        poster=posting,
        now=world.now,
        tenant=rules.tenant,
        notify_after_seconds=rules.settings.notify_after_seconds,
    )
    cards = CardLifecycle(
        messages=world.messages,
        cards=world.cards,
        failed_cards=world.failed_cards,
        updater=drawing,
        poster=posting,
        thread=thread,
        block_support=palette,
        outcomes=outcomes,
        is_shared=partial(venues.is_shared, fresh=True),
        now=world.now,
        tenant=rules.tenant,
        metrics=world.metrics,
    )
    durations = TypicalDurations(world.job_durations, world.now)
    follower = JobTracker(
        omni=world.omni,
        watches=world.cards,
        cards=cards,
        now=world.now,
        durations=durations,
        follow_for_seconds=rules.settings.max_follow_hours * 3_600.0,
        events=world.events,
    )
    runner = run(follower.track)
    intents = Intents(world.pending_questions, posting.tasks, world.now)
    desk = FollowService(
        omni=world.omni,
        messages=world.messages,
        cards=world.cards,
        questions=world.pending_questions,
        intents=intents,
        failed_cards=world.failed_cards,
        outcomes=outcomes,
        authorization=access,
        start=runner.start,
        now=world.now,
        bot_user=world.bot_user,
    )
    data_desk = JobDataService(
        omni=world.omni,
        results=JobResults(world.omni, world.now),
        messages=world.messages,
        cards=world.cards,
        poster=posting,
        authorization=access,
        tenant=rules.tenant,
        bot_user=world.bot_user,
    )
    submitting = QuestionSubmitter(
        omni=world.omni,
        omni_questions=world.questions,
        messages=world.messages,
        questions=world.pending_questions,
        intents=intents,
        outcomes=outcomes,
        follow_service=desk,
        start=runner.start,
        steps=posting.tasks,
        now=world.now,
        events=world.events,
    )
    ask_desk = AskService(
        omni=world.omni,
        cards=world.cards,
        questions=world.pending_questions,
        authorization=access,
        targets=Targets(world.messages, access, world.bot_user),
        lifecycle=cards,
        submitter=submitting,
        now=world.now,
        default_model=rules.default_model,
    )
    home_tabs = HomeTabs(
        cards=world.cards,
        messages=world.messages,
        views=world.views,
        authorization=access,
        state_of=follower.state_of,
        team=world.team,
    )
    errands = InteractionRunner(world.reply_to_response_url, world.views, world.messages)
    handlers = CommandHandlers(
        follow_service=desk,
        job_data_service=data_desk,
        ask_service=ask_desk,
        cancel_service=CancelService(
            omni=world.questions, cards=world.cards, authorization=access, start=runner.start
        ),
        authorization=access,
        interactions=errands,
        team=world.team,
    )
    modal_handlers = ModalHandlers(
        follow_service=desk,
        ask_service=ask_desk,
        authorization=access,
        catalogue=ModelCatalog(
            omni=world.questions,
            questions=world.pending_questions,
            now=world.now,
            default_model=rules.default_model,
        ),
        views=world.views,
        interactions=errands,
        team=world.team,
    )
    listeners = (
        handlers,
        modal_handlers,
        Shortcuts(desk, modal_handlers, errands, world.team),
        MessageHandlers(desk, ask_desk, errands, team=world.team, bot_user=world.bot_user),
        home_tabs,
    )
    return Components(
        follower, durations, runner, drawing, posting, submitting, home_tabs, errands, listeners
    )
