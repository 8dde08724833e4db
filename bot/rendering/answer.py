"""An answer as Slack messages: the card, the thread replies and the file.

The answer is cut into parts, the first for the card and the others for thread replies. Each part has four variants:
a `markdown` block, mrkdwn with tables as aligned text, the same without blocks, and a short text that links to Omni.
The first three hold the whole part, so nothing is lost between card and replies, whichever variants Slack accepts.

Each message stays under 10,000 characters in all: above about 11,000 Slack has refused messages
(`msg_blocks_too_long`, slackapi/bolt-js#2867). chat.update accepts 4,000 of text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from bot.domain import Block, Job, JobState, Message, Upload, strip_control_chars
from bot.rendering.blocks import context, markdown, section
from bot.rendering.markdown.mrkdwn import escape, from_markdown, plain, shortened
from bot.rendering.markdown.sanitize import chat_link, written
from bot.rendering.markdown.split import SHORTEST_PIECE, first_pieces, most_read, pieces

MOST_REPLIES = 5
"""Most thread replies of an answer. A longer one is also uploaded as a file."""
LONGEST_PART = 2_800
"""Most characters of a part, as Markdown and as mrkdwn: 4,000 minus room for the card's other texts."""
FILE_NAME = "answer.md"

_MOST_SPOKEN_BYTES = 2_800
"""Of the text beside blocks. Slack documents 4,000 characters, but an author of its SDK counts bytes
(seratch/ChatGPT-in-Slack), so both are respected."""
_NO_ANSWER = "Omni finished without a written answer."
_CONTINUES = "The answer continues in the thread."
_LONGER = "The answer is longer than this. The full answer follows as a file."
_LONGER_THAN_THE_FILE = "The answer is longer than this. More of the answer follows as a file."
_MOST_PARTS = 1 + MOST_REPLIES
_MOST_READ = most_read(LONGEST_PART, _MOST_PARTS)
_MOST_RENDERED = 128
"""Size of the cache: the replies of this many jobs may wait for the rate limiter."""
_NOT_SHOWN = "could not be shown in Slack"


@dataclass(frozen=True, slots=True)
class AnswerLayout:
    """Texts and blocks of a card around its answer."""

    spoken: str = field(repr=False)
    """The status, for screen readers and notifications."""
    question: tuple[str, ...] = field(repr=False)
    """The question, likewise."""
    above: tuple[Block, ...] = field(repr=False)
    below: tuple[Block, ...] = field(repr=False)
    caution: tuple[str, ...] = field(repr=False)
    """The note about every answer, likewise."""
    signature: tuple[str, ...] = field(repr=False)
    """Ends a variant that has no blocks."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """Thread replies and file after a card with an answer, in this order."""

    replies: tuple[tuple[Message, ...], ...] = ()
    """The variants of each reply, richest first."""
    file: Upload | None = None
    """The full answer, as far as the `Job` has it, if card and replies don't hold it."""
    goes_on_in_omni: bool = False
    """Whether the answer is longer than the file."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the answer, in both markups."""

    markdown: str
    mrkdwn: str
    spoken: tuple[str, ...]
    """Its words, for screen readers and notifications."""


def prepare(job: Job) -> None:
    """Render the parts of an answer into the cache for `answer_card` and `continuation`.

    May take a second, so call it in a thread.
    """
    _parts(job)


def has_answer(job: Job) -> bool:
    """Whether the job has a non-blank answer."""
    return bool(_text(job))


def answer_card(job: Job, frame: AnswerLayout) -> tuple[Message, ...]:
    """Return the variants of the card, richest first."""
    parts, is_more = _parts(job)
    continues = [_CONTINUES] * (is_more or len(parts) > 1)
    messages = []
    for said, shown in _variants(parts[0]) if parts else _no_answer():
        text = [frame.spoken, *frame.question, *said, *continues, *frame.caution]
        if shown:
            blocks = (*frame.above, *shown, *map(context, continues), *frame.below)
            messages.append(Message("\n".join(text), blocks))
        else:
            messages.append(Message("\n".join([*text, *frame.signature])))
    if parts:
        sorry = f"The answer {_NOT_SHOWN}."
        messages.append(Message("\n".join([frame.spoken, sorry, *continues, *frame.signature])))
    return tuple(messages)


def continuation(job: Job, tenant: str) -> Continuation:
    """Return the thread replies and the file after the card. Empty for a short or missing answer.

    Args:
        job: a snapshot; only a COMPLETE one has an answer.
        tenant: Omni's URL without `/api`, for chat addresses without a host.
    """
    if job.state is not JobState.COMPLETE:
        return Continuation()
    parts, is_more = _parts(job)
    link = chat_link(job.chat_url, tenant)
    longer = _LONGER_THAN_THE_FILE if job.answer_is_cut else _LONGER
    ending = [context(longer)] * is_more
    number = len(parts) - 1
    replies = tuple(_reply(part, at, number, ending, link) for at, part in enumerate(parts[1:], start=1))
    return Continuation(replies, _file(job, link) if is_more else None, job.answer_is_cut)


def _text(job: Job) -> str:
    return _cleaned(job.answer or "")


@lru_cache(maxsize=8)
def _cleaned(answer: str) -> str:
    return strip_control_chars(answer).strip()


def _parts(job: Job) -> tuple[tuple[_Part, ...], bool]:
    """Return the parts for card and replies, and whether the answer is longer."""
    answer = _text(job)
    parts, is_more = _rendered(answer[: _MOST_READ + 1])
    return parts, is_more or len(answer) > _MOST_READ or job.answer_is_cut


@lru_cache(maxsize=_MOST_RENDERED)
def _rendered(beginning: str) -> tuple[tuple[_Part, ...], bool]:
    """Cached, because every card of the job and its replies need the parts."""
    found, is_cut = first_pieces(beginning, LONGEST_PART, _MOST_PARTS)
    parts = [part for piece in found for part in _fitting(piece, LONGEST_PART)]
    return tuple(parts[:_MOST_PARTS]), is_cut or len(parts) > _MOST_PARTS


def _fitting(piece: str, limit: int) -> Iterator[_Part]:
    """Cut the piece further where its mrkdwn is too long, which escaping makes longer."""
    mrkdwn = from_markdown(piece)
    if not mrkdwn.strip():
        mrkdwn = escape(piece)
    if len(mrkdwn) <= LONGEST_PART:
        yield _Part(piece, mrkdwn, _spoken(piece))
    elif limit // 2 >= SHORTEST_PIECE:
        for smaller in pieces(piece, limit // 2):
            yield from _fitting(smaller, limit // 2)
    else:
        yield _Part(piece, escape(piece), _spoken(piece))


def _variants(part: _Part) -> Iterator[tuple[tuple[str, ...], tuple[Block, ...]]]:
    """Yield text and blocks of the variants that hold the whole part."""
    yield part.spoken, (markdown(part.markdown),)
    yield part.spoken, (section(part.mrkdwn),)
    yield (part.mrkdwn,), ()


def _no_answer() -> Iterator[tuple[tuple[str, ...], tuple[Block, ...]]]:
    yield (_NO_ANSWER,), (section(_NO_ANSWER),)
    yield (_NO_ANSWER,), ()


def _spoken(piece: str) -> tuple[str, ...]:
    words = plain(piece)
    start = escape(words).encode()[:_MOST_SPOKEN_BYTES].decode(errors="ignore")
    spoken = shortened(words, len(start))
    return (spoken,) if spoken.strip() else ()


def _reply(part: _Part, at: int, number: int, ending: list[Block], link: str | None) -> tuple[Message, ...]:
    where = f"The answer continues, {at} of {number}"
    messages = []
    for said, shown in _variants(part):
        blocks = (context(f"{where}."), *shown, *(ending if at == number else [])) if shown else ()
        messages.append(Message("\n".join([f"{where}.", *said]), blocks))
    sorry = f"{where}: this part {_NOT_SHOWN}."
    return *messages, Message("\n".join([sorry, *written(link)]))


def _file(job: Job, link: str | None) -> Upload:
    if not job.answer_is_cut:
        return Upload(FILE_NAME, "The full answer", _text(job).encode())
    rest = f"[…] The rest of the answer is in Omni{f': {link}' if link else '.'}"
    return Upload(FILE_NAME, "The beginning of the answer", f"{_text(job)}\n\n{rest}\n".encode())
