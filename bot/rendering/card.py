"""The messages about a job: its card at one moment, the thread reply at its end, the card nobody follows.

Every form of a card stays under 10,000 characters in all, its text under 4,000: `answered` says why.
"""

from datetime import datetime

from bot.domain import (
    Block,
    Card,
    Job,
    JobNotFound,
    JobState,
    JobStatus,
    KeyRefused,
    Message,
    OmniBusy,
    Upload,
    UserId,
)
from bot.rendering import answer
from bot.rendering.blocks import buttons, context, quote, section, task
from bot.rendering.markdown.mrkdwn import code, excerpt, moment, shortened
from bot.rendering.markdown.sanitize import chat_link, written
from bot.rendering.status import StatusText, describe

TROUBLE_SHOWN_AFTER_SECONDS = 60.0
"""How long Omni may leave questions unanswered before the card says so."""

_LONGEST_PROMPT = 300
_LONGEST_PROMPT_WITH_ANSWER = 150
_LONGEST_PROMPT_TOLD = 100
_LONGEST_TOPIC = 100
_MOST_DETAILS_TOLD = 1
_PROMPT_LINES = 3
_MOST_NAMED = 3
_MOST_MENTIONED = 60
_CANCELLABLE = (JobState.QUEUED, JobState.EXECUTING, JobState.UNKNOWN)
_ASKED_AGAIN = "The bot asks Omni once more in about 10 minutes. To follow the job again now, press *Resume*."
_CHECK_IT = "AI-generated: check before you decide."


def render_card(card: Card, status: JobStatus, now: datetime, tenant: str) -> tuple[Message, ...]:
    """The card's forms, richest first; Slack is more certain to take a later one. Never empty.

    An unchanged job gives equal messages at any `now`, except that trouble is told once it has lasted.

    Args:
        card: whose card it is.
        status: what is known of its job.
        now: aware UTC.
        tenant: Omni's address without `/api`; only links to it become links.
    """
    job = status.job
    if job is not None and job.state is JobState.COMPLETE and not status.is_missing:
        return _answered(card, status, job, chat_link(job.chat_url, tenant))
    link = chat_link(job.chat_url, tenant) if job else None
    stands = describe(status, card.cancelled_by)
    outlook = [_ASKED_AGAIN] if _is_resumable(card, status) else _trouble(status, now)
    told = [*stands.details, *outlook]
    above = [section(stands.heading), *_prompt(job, _LONGEST_PROMPT)]
    below = [section("\n".join(told))] if told else []
    below += [*_buttons(card, status, link), context(_people(card))]
    text = "\n".join([stands.plain_text, *outlook, *_spoken_prompt(job, _LONGEST_PROMPT)])
    forms = [Message(text, (*above, *doing, *below)) for doing in _doing(card, stands)]
    return *forms, _text_only(text, card, link)


def render_completion_reply(card: Card, status: JobStatus, tenant: str) -> Message | None:
    """The reply in the card's thread that tells every follower how the job ended; None if there is no news."""
    told = card.followers
    is_cancelled = status.has_ended and status.job is not None and status.job.state is JobState.CANCELLED
    if is_cancelled:
        # Who cancelled it knows; and naming them would ring for them as well.
        told = tuple(follower for follower in told if follower != card.cancelled_by)
    if not (status.is_final or card.ended) or not told:
        return None
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    # A card that says how the job ended stays when Omni forgets the job; what it says is not stored.
    ended = (
        describe(status)
        if status.has_ended or not card.ended
        else StatusText("", "The job has ended; its card shows how")
    )
    details = () if is_cancelled and card.cancelled_by else ended.details[:_MOST_DETAILS_TOLD]
    news = [f"{_mentions(told)} {ended.title}{' ' * bool(ended.aside)}{ended.aside}."]
    news += [*details, *_spoken_prompt(status.job, _LONGEST_PROMPT_TOLD)]
    text = "\n".join([*news, *written(link)])
    return Message(text, (section(text),))


def rest_in_omni(job: Job, tenant: str) -> Message:
    """The reply that ends a tall answer where its file can't be put into the thread."""
    text = "\n".join(["The rest of the answer is in Omni.", *written(chat_link(job.chat_url, tenant))])
    return Message(text, (section(text),))


def chart(job: Job, image: bytes) -> Upload:
    """The chart of an answer, a PNG, as a file that says what is known of it to those who can't see it."""
    topic = excerpt(job.topic or "", _LONGEST_TOPIC, 1)
    question = excerpt(job.prompt, _LONGEST_PROMPT, _PROMPT_LINES)
    said = [
        "Chart drawn by Omni.",
        *[f"Topic: {topic}."] * bool(topic),
        *[f"Question: {question}"] * bool(question),
    ]
    return Upload("chart.png", f"Chart: {topic}" if topic else "Chart", image, alt=" ".join(said))


def render_unfollowed(card: Card, status: JobStatus, tenant: str) -> Message:
    """The card once its last follower has stopped."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    goes_on = _goes_on(card, status)
    again = f"To follow it again, type {code(f'/omni-job {card.job}', 100)}."
    title = "The bot no longer follows this job"
    blocks = [section(f"🔕 *{title}*\n{goes_on} {again}"), *_prompt(status.job, _LONGEST_PROMPT)]
    blocks += [*buttons(link), context(_people(card))]
    text = "\n".join([f"{title}. {goes_on} {again}", *_spoken_prompt(status.job, _LONGEST_PROMPT)])
    return Message(text, tuple(blocks))


def _goes_on(card: Card, status: JobStatus) -> str:
    if status.is_final:
        return "The job has ended in Omni."
    if status.job is None:
        return "That does not cancel the job."
    return (
        "The job keeps running in Omni." if card.cancelled_by is None else "Omni was asked to cancel the job."
    )


def render_paused(card: Card, status: JobStatus, tenant: str) -> Message:
    """The card of a job that has run for so long that the bot stops looking."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    title = "The bot stopped watching this job"
    since = f"It has not ended since {moment(card.tracked_since)}."
    go_on = "To follow it again, press *Resume*."
    blocks = [section(f"💤 *{title}*\n{since} {go_on}"), *_prompt(status.job, _LONGEST_PROMPT)]
    blocks += [*buttons(link, resume=card.id), context(_people(card))]
    text = "\n".join([f"{title}. {since} {go_on}", *_spoken_prompt(status.job, _LONGEST_PROMPT)])
    return Message(text, tuple(blocks))


def render_withheld(card: Card, status: JobStatus, tenant: str) -> Message:
    """The card of a job that has ended where people of another organisation would read the answer."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    title = "The job has ended, but its answer is not shown here"
    why = "This channel is shared with another organization, or I can't see whether it is."
    there = "Followers get the answer in their DMs with me."
    text = f"{title}. {why} {there}"
    return Message(text, (section(f"🔒 *{title}*\n{why} {there}"), *buttons(link), context(_people(card))))


def _answered(card: Card, status: JobStatus, job: Job, link: str | None) -> tuple[Message, ...]:
    """The card that has become the answer."""
    caution = (_CHECK_IT,) * answer.has_answer(job)
    frame = answer.AnswerLayout(
        spoken=describe(status).plain_text,
        question=tuple(_spoken_prompt(job, _LONGEST_PROMPT_WITH_ANSWER)),
        above=(section(describe(status).heading), *_prompt(job, _LONGEST_PROMPT_WITH_ANSWER)),
        below=(
            *buttons(link, show=card.id, follow_up=card.id),
            context(" ".join([*caution, _people(card)])),
        ),
        caution=caution,
        signature=(*written(link), _people(card)),
    )
    return answer.answer_card(job, frame)


def _buttons(card: Card, status: JobStatus, link: str | None) -> list[Block]:
    """What can be done with a card that has no answer."""
    state = status.job.state if status.job else None
    if _is_resumable(card, status):
        return buttons(link, resume=card.id)
    if status.is_final:
        is_retriable = status.has_ended and state is not JobState.COMPLETE and card.retried_by is None
        return buttons(link, retry=card.id if is_retriable else None)
    is_cancellable = state in _CANCELLABLE and card.cancelled_by is None
    return buttons(link, cancel=card.id if is_cancellable else None, stop=card.id)


def _is_resumable(card: Card, status: JobStatus) -> bool:
    """Whether the follow ends because Omni does not know the job, which may have been wrong."""
    return status.is_missing and not card.ended


def _doing(card: Card, stands: StatusText) -> list[list[Block]]:
    """What the AI does now, richest form first."""
    if not stands.step:
        return [[]]
    return [[task(card.job, stands.step)], [section(stands.step_line)]]


def _text_only(text: str, card: Card, link: str | None) -> Message:
    return Message("\n".join([text, *written(link), _people(card)]))


def _prompt(job: Job | None, limit: int) -> list[Block]:
    start = excerpt(job.prompt, limit, _PROMPT_LINES) if job else ""
    return [quote(start)] if start else []


def _spoken_prompt(job: Job | None, limit: int) -> list[str]:
    start = excerpt(job.prompt, limit, _PROMPT_LINES) if job else ""
    return [f"Question: {shortened(start, 2 * limit)}"] if start else []


def _trouble(status: JobStatus, now: datetime) -> list[str]:
    """What to say about questions that Omni leaves unanswered, once that has lasted."""
    since = status.failing_since
    if status.error is None or status.is_final or since is None:
        return []
    if (now - since).total_seconds() <= TROUBLE_SHOWN_AFTER_SECONDS:
        return []
    match status.error:
        case KeyRefused():
            told = (
                f"Omni has refused the bot's key since {moment(since)}. The bot's operator has to fix this."
            )
        case OmniBusy():
            told = f"Omni has been limiting the bot's requests since {moment(since)}; still trying."
        case JobNotFound():
            told = f"Omni has not found this job since {moment(since)}; still trying."
        case _:
            told = f"Omni has not answered since {moment(since)}; still trying."
    return [f"⚠️ {told}"]


def _people(card: Card) -> str:
    """Who asked, who else follows, who has had it asked again, and the id that support asks for."""
    others = [follower for follower in card.followers if follower != card.requester]
    also = f", also followed by {_listed(others)}" if others else ""
    retried = f" · retried by <@{card.retried_by}>" if card.retried_by else ""
    return f"Asked by <@{card.requester}>{also}{retried} · job {code(card.job, 60)}"


def _listed(people: list[UserId]) -> str:
    named = [f"<@{person}>" for person in people[:_MOST_NAMED]]
    if len(people) > _MOST_NAMED:
        return f"{', '.join(named)} and {len(people) - _MOST_NAMED} more"
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _mentions(people: tuple[UserId, ...]) -> str:
    names = " ".join(f"<@{person}>" for person in people[:_MOST_MENTIONED])
    more = len(people) - _MOST_MENTIONED
    return f"{names} and {more} more:" if more > 0 else f"{names}:"
