"""How users refer to a job: by its id, or the address of its Omni chat."""

import re
import unicodedata
from collections.abc import Iterator

from bot.domain.errors import NotAJobReference
from bot.domain.jobs import Conversation, JobId

_UUID = re.compile(
    r"(?<![0-9a-z-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-z-])", re.IGNORECASE
)

_OTHER_DASH = re.compile(r"(?<=[0-9a-fA-F])[\u2010-\u2015\u2212](?=[0-9a-fA-F])")
"""Dashes that word processors put in place of the hyphens of an id."""

_LABELED_JOB = re.compile(r"job[_ ]?id\W{1,6}$", re.IGNORECASE)
"""Names the job in the response to a submit, which has the id of the chat too."""

_BETWEEN = re.compile(r"[\s<>|]")
"""Ends a word: white space, and the marks of Slack's `<url|label>`."""

_REQUEST_WORDS = frozenset(
    "ai chat check done follow for id is job jobid me my of omni omnijob please private progress show status the this"
    " track watch".split()
)

_LONGEST_REFERENCE = 2_000


def parse_reference(text: str) -> JobId | Conversation:
    """Parse the argument of `/omni-job`: the one job id or address of an Omni chat that the text contains.

    An id may be in capitals, have other dashes, and stand in quotes, a sentence or the address of Omni's API. Any host
    is accepted, because only the UUID of an address is used.

    Raises:
        NotAJobReference: the text has none, or several. The message says what to type instead.
    """
    if len(text) > _LONGEST_REFERENCE:
        raise NotAJobReference("That is too long for a job id.")
    text = _normalized(text)
    found = dict.fromkeys(reference for _, reference in _references(text))
    labeled = dict.fromkeys(
        reference for start, reference in _references(text) if _LABELED_JOB.search(text, start - 12, start)
    )
    if len(found) == 1 or len(labeled) == 1:
        return next(iter(labeled or found))
    if found:
        raise NotAJobReference("One job at a time, please.")
    if "://" in text:
        raise NotAJobReference("That link is not an Omni chat: its links end with `/chat/` and an id.")
    raise NotAJobReference("That is not an Omni job id.")


def find_reference(text: str) -> str | None:
    """Find the first job id or chat address in a text, for `parse_reference`."""
    for _, reference in _references(_normalized(text)):
        return f"/chat/{reference.id}" if isinstance(reference, Conversation) else reference
    return None


def is_job_request(text: str) -> bool:
    """Return whether a message only names a job, or several, with words like "follow". Others are questions."""
    if find_reference(text) is None:
        return False
    words = (
        re.sub(r"\W", "", word).lower()
        for word in _BETWEEN.split(_normalized(text))
        if not _UUID.search(word)
    )
    return all(word in _REQUEST_WORDS for word in words if word)


def _normalized(text: str) -> str:
    """The text without invisible characters, and with the hyphens of an id as hyphens."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return _OTHER_DASH.sub("-", visible)


def _references(text: str) -> Iterator[tuple[int, JobId | Conversation]]:
    """The jobs and chats that a normalized text names, with their positions. An id in another address is neither."""
    for match in _UUID.finditer(text):
        start, id_ = match.start(), match.group().lower()
        address = "/" + _BETWEEN.split(text[max(0, start - _LONGEST_REFERENCE) : start])[-1].lower()
        if address.endswith("/chat/"):
            yield start, Conversation(id_)
        elif address.endswith("/jobs/") or "/" not in address[1:]:
            yield start, JobId(id_)
