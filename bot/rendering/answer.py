"""An answer as Slack messages: the card, the thread replies and the file.

The answer is parsed once and cut into parts, the first for the card and the others for thread replies. Each part has
these variants: blocks with all tables, if it has several with the first only, if it has any without them; mrkdwn with
tables as aligned text; the same without blocks; and a short text that links to Omni. All but the last hold the whole
part, so nothing is lost between card and replies, whichever variants Slack accepts.

Each message stays under 10,000 characters in all: above about 11,000 Slack has refused messages
(`msg_blocks_too_long`, slackapi/bolt-js#2867). chat.update accepts 4,000 of text.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from bot.domain import Block, Job, JobState, Message, Upload, strip_control_chars
from bot.rendering.blocks import context, section
from bot.rendering.markdown.document import Blocks, Paragraph, Table, Text, to_text
from bot.rendering.markdown.links import chat_link, written
from bot.rendering.markdown.mrkdwn import escape, shortened
from bot.rendering.markdown.parse import parse
from bot.rendering.markdown.split import split
from bot.rendering.markdown.to_blocks import to_blocks
from bot.rendering.markdown.to_mrkdwn import to_mrkdwn

MOST_REPLIES = 5
"""Most thread replies of an answer. A longer one is also uploaded as a file."""
LONGEST_PART = 2_800
"""Most characters of a part, as mrkdwn: 4,000 minus room for the card's other texts."""
FILE_NAME = "answer.md"

_MOST_SPOKEN_BYTES = 2_800
"""Of the text beside blocks. Slack documents 4,000 characters, but an author of its SDK counts bytes
(seratch/ChatGPT-in-Slack), so both are respected."""
_NO_ANSWER = "Omni finished without a written answer."
_CONTINUES = "The answer continues in the thread."
_LONGER = "The answer is longer than this. The full answer follows as a file."
_LONGER_THAN_THE_FILE = "The answer is longer than this. More of the answer follows as a file."
_MOST_PARTS = 1 + MOST_REPLIES
MOST_READ = LONGEST_PART * _MOST_PARTS * 5 // 4
"""Most characters that are parsed: Markdown is a little longer than its mrkdwn, by blank lines and marks."""
_MOST_RENDERED = 128
"""Size of the cache: the replies of this many jobs may wait for the rate limiter."""
_NOT_SHOWN = "could not be shown in Slack"


@dataclass(frozen=True, slots=True)
class AnswerLayout:
    """Texts and blocks of a card around its answer."""

    spoken: str = field(repr=False)
    """The status and the question, for screen readers and notifications."""
    above: tuple[Block, ...] = field(repr=False)
    below: tuple[Block, ...] = field(repr=False)
    caution: str = field(repr=False)
    """The text after the answer, likewise. May be empty."""
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


_Variants = tuple[tuple[str, tuple[Block, ...]], ...]
"""Text and blocks of the variants that hold a whole part, richest first."""


def prepare(job: Job, tenant: str) -> None:
    """Render the parts of an answer into the cache for `answer_card` and `continuation`.

    May take a second, so call it in a thread.
    """
    _parts(job, tenant)


def has_answer(job: Job) -> bool:
    """Whether the job has a non-blank answer."""
    return bool(_cleaned(job.answer))


def answer_card(job: Job, frame: AnswerLayout, tenant: str) -> tuple[Message, ...]:
    """Return the variants of the card, richest first. `tenant`: as for `continuation`."""
    parts, is_more = _parts(job, tenant)
    continues = [_CONTINUES] * (is_more or len(parts) > 1)
    messages = []
    for said, shown in parts[0] if parts else ((_NO_ANSWER, (section(_NO_ANSWER),)), (_NO_ANSWER, ())):
        text = [frame.spoken, said, *continues, *filter(None, [frame.caution])]
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
        tenant: Omni's URL without `/api`, for chat addresses without a host and for paths in the answer.
    """
    if job.state is not JobState.COMPLETE:
        return Continuation()
    parts, is_more = _parts(job, tenant)
    link = chat_link(job.chat_url, tenant)
    longer = _LONGER_THAN_THE_FILE if job.answer_is_cut else _LONGER
    ending = [context(longer)] * is_more
    number = len(parts) - 1
    replies = tuple(_reply(part, at, number, ending, link) for at, part in enumerate(parts[1:], start=1))
    return Continuation(replies, _file(job, link) if is_more else None, job.answer_is_cut)


@lru_cache(maxsize=8)
def _cleaned(answer: str | None) -> str:
    return strip_control_chars(answer or "").strip()


def _parts(job: Job, tenant: str) -> tuple[tuple[_Variants, ...], bool]:
    """Return the parts for card and replies, and whether the answer is longer."""
    answer = _cleaned(job.answer)
    is_long = len(answer) > MOST_READ
    beginning = (
        answer[:MOST_READ].rpartition("\n")[0]
        if is_long and "\n" in answer[:MOST_READ]
        else answer[:MOST_READ]
    )
    parts, is_more = _rendered(beginning, tenant)
    return parts, is_more or is_long or job.answer_is_cut


@lru_cache(maxsize=_MOST_RENDERED)
def _rendered(beginning: str, tenant: str) -> tuple[tuple[_Variants, ...], bool]:
    """Cached, because every card of the job and its replies need the parts."""
    # What is nothing but marks is shown as it was written.
    document = parse(beginning, tenant) or tuple(
        Paragraph((Text(line),)) for line in beginning.split("\n") if line
    )
    parts = list(islice(split(document, LONGEST_PART), _MOST_PARTS + 1))
    return tuple(map(_variants, parts[:_MOST_PARTS])), len(parts) > _MOST_PARTS


def _variants(part: Blocks) -> _Variants:
    n_tables = sum(isinstance(block, Table) for block in part)
    said, mrkdwn = _spoken(part), to_mrkdwn(part)
    shown = [to_blocks(part, most) for most in dict.fromkeys((n_tables, min(n_tables, 1), 0))]
    return *((said, blocks) for blocks in shown), (said, (section(mrkdwn),)), (mrkdwn, ())


def _spoken(part: Blocks) -> str:
    words = to_text(part)
    start = escape(words).encode()[:_MOST_SPOKEN_BYTES].decode(errors="ignore")
    return shortened(words, len(start))


def _reply(
    part: _Variants, at: int, number: int, ending: list[Block], link: str | None
) -> tuple[Message, ...]:
    where = f"The answer continues, {at} of {number}"
    messages = []
    for said, shown in part:
        blocks = (context(f"{where}."), *shown, *(ending if at == number else [])) if shown else ()
        messages.append(Message("\n".join([f"{where}.", said]), blocks))
    sorry = f"{where}: this part {_NOT_SHOWN}."
    return *messages, Message("\n".join([sorry, *written(link)]))


def _file(job: Job, link: str | None) -> Upload:
    if not job.answer_is_cut:
        return Upload(FILE_NAME, "The full answer", _cleaned(job.answer).encode())
    rest = f"[…] The rest of the answer is in Omni{f': {link}' if link else '.'}"
    return Upload(FILE_NAME, "The beginning of the answer", f"{_cleaned(job.answer)}\n\n{rest}\n".encode())
