"""An answer in Slack: the card that has become it, and what follows in the card's thread.

The answer is cut into parts, the first for the card and the others for replies. A part is so short that each
of its forms but the last says all of it: as a `markdown` block, as mrkdwn with tables as aligned text, as
the same without any block. So nothing is lost between card and replies, whichever forms Slack takes. The
last form is one short text that leads to Omni, and that nothing in an answer can spoil.

All that is said in one message stays under 10,000 characters: above about 11,000 Slack has refused messages
(`msg_blocks_too_long`, slackapi/bolt-js#2867). chat.update takes 4,000 of text.
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
"""Replies in which an answer goes on; one that needs more is given as a file besides."""
LONGEST_PART = 2_800
"""Characters of a part, as Markdown and as mrkdwn: text of 4,000 with room for what the card says around it."""
FILE_NAME = "answer.md"

_MOST_HEARD_BYTES = 2_800
"""Of the text beside blocks. Slack's 4,000 are documented as characters, but an author of its SDK counts
bytes (seratch/ChatGPT-in-Slack), so it is short enough either way."""
_NO_ANSWER = "Omni finished without a written answer."
_CONTINUES = "The answer continues in the thread."
_LONGER = "The answer is longer than this. The full answer follows as a file."
_LONGER_THAN_THE_FILE = "The answer is longer than this. More of the answer follows as a file."
_MOST_PARTS = 1 + MOST_REPLIES
_MOST_READ = most_read(LONGEST_PART, _MOST_PARTS)
_MOST_RENDERED = 128
"""How many answers are remembered in parts: of so many jobs, the replies may still wait for their turn."""
_NOT_SHOWN = "could not be shown in Slack"


@dataclass(frozen=True, slots=True)
class AnswerLayout:
    """What the answered card says around its answer."""

    spoken: str = field(repr=False)
    """How the job ended, for those who hear the card."""
    question: tuple[str, ...] = field(repr=False)
    """The same for what was asked."""
    above: tuple[Block, ...] = field(repr=False)
    below: tuple[Block, ...] = field(repr=False)
    caution: tuple[str, ...] = field(repr=False)
    """What is said of every answer, for those who hear it."""
    signature: tuple[str, ...] = field(repr=False)
    """Ends a form that has no blocks."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What follows an answered card in its thread, in this order."""

    replies: tuple[tuple[Message, ...], ...] = ()
    """The forms of each reply, richest first; Slack is more certain to take a later one."""
    file: Upload | None = None
    """The whole answer, where the card and MOST_REPLIES replies do not hold it; as much as a `Job` has."""
    goes_on_in_omni: bool = False
    """Whether the file does not hold all of the answer."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the answer, which says the same in either language."""

    markdown: str
    mrkdwn: str
    heard: tuple[str, ...]
    """Its words for those who hear it, and for notifications."""


def prepare(job: Job) -> None:
    """Cut a job's answer into its parts, once for all places that follow it: `answer_card` and `continuation`
    find them ready. It may
    take a second, so do it in a thread."""
    _parts(job)


def has_answer(job: Job) -> bool:
    """Whether Omni wrote anything."""
    return bool(_text(job))


def answer_card(job: Job, frame: AnswerLayout) -> tuple[Message, ...]:
    """The card's forms, richest first."""
    parts, is_more = _parts(job)
    goes_on = [_CONTINUES] * (is_more or len(parts) > 1)
    messages = []
    for said, shown in _forms(parts[0]) if parts else _no_answer():
        text = [frame.spoken, *frame.question, *said, *goes_on, *frame.caution]
        if shown:
            blocks = (*frame.above, *shown, *map(context, goes_on), *frame.below)
            messages.append(Message("\n".join(text), blocks))
        else:
            messages.append(Message("\n".join([*text, *frame.signature])))
    if parts:
        sorry = f"The answer {_NOT_SHOWN}."
        messages.append(Message("\n".join([frame.spoken, sorry, *goes_on, *frame.signature])))
    return tuple(messages)


def continuation(job: Job, tenant: str) -> Continuation:
    """What follows the answered card in its thread; nothing for a job without an answer, or a short one.

    Args:
        job: a reading of it; only a COMPLETE one has an answer.
        tenant: Omni's address without `/api`; only links to it become links.
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
    """The beginning of an answer, for the card and the replies, and whether these leave anything out."""
    answer = _text(job)
    parts, is_more = _rendered(answer[: _MOST_READ + 1])
    return parts, is_more or len(answer) > _MOST_READ or job.answer_is_cut


@lru_cache(maxsize=_MOST_RENDERED)
def _rendered(beginning: str) -> tuple[tuple[_Part, ...], bool]:
    """Kept for a while: an answer is shown in every place where its job is followed, and then goes on there."""
    found, is_cut = first_pieces(beginning, LONGEST_PART, _MOST_PARTS)
    parts = [part for piece in found for part in _fitting(piece, LONGEST_PART)]
    return tuple(parts[:_MOST_PARTS]), is_cut or len(parts) > _MOST_PARTS


def _fitting(piece: str, limit: int) -> Iterator[_Part]:
    """The piece in parts that are not too long as mrkdwn either, where escaping makes it longer."""
    mrkdwn = from_markdown(piece)
    if not mrkdwn.strip():
        mrkdwn = escape(piece)
    if len(mrkdwn) <= LONGEST_PART:
        yield _Part(piece, mrkdwn, _heard(piece))
    elif limit // 2 >= SHORTEST_PIECE:
        for smaller in pieces(piece, limit // 2):
            yield from _fitting(smaller, limit // 2)
    else:
        yield _Part(piece, escape(piece), _heard(piece))


def _forms(part: _Part) -> Iterator[tuple[tuple[str, ...], tuple[Block, ...]]]:
    """The text and the blocks of every form that says all of the part."""
    yield part.heard, (markdown(part.markdown),)
    yield part.heard, (section(part.mrkdwn),)
    yield (part.mrkdwn,), ()


def _no_answer() -> Iterator[tuple[tuple[str, ...], tuple[Block, ...]]]:
    yield (_NO_ANSWER,), (section(_NO_ANSWER),)
    yield (_NO_ANSWER,), ()


def _heard(piece: str) -> tuple[str, ...]:
    words = plain(piece)
    start = escape(words).encode()[:_MOST_HEARD_BYTES].decode(errors="ignore")
    heard = shortened(words, len(start))
    return (heard,) if heard.strip() else ()


def _reply(part: _Part, at: int, number: int, ending: list[Block], link: str | None) -> tuple[Message, ...]:
    where = f"The answer continues, {at} of {number}"
    messages = []
    for said, shown in _forms(part):
        blocks = (context(f"{where}."), *shown, *(ending if at == number else [])) if shown else ()
        messages.append(Message("\n".join([f"{where}.", *said]), blocks))
    sorry = f"{where}: this part {_NOT_SHOWN}."
    return *messages, Message("\n".join([sorry, *written(link)]))


def _file(job: Job, link: str | None) -> Upload:
    if not job.answer_is_cut:
        return Upload(FILE_NAME, "The full answer", _text(job).encode())
    rest = f"[…] The rest of the answer is in Omni{f': {link}' if link else '.'}"
    return Upload(FILE_NAME, "The beginning of the answer", f"{_text(job)}\n\n{rest}\n".encode())
