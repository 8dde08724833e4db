"""What *Show steps* puts into a card's thread: what the AI did, action by action, in one message."""

from bot.blocks import LONGEST_SECTION, section
from bot.mrkdwn import plain, shortened
from bot.ports import Message
from bot.result import SUMMARIZE, JobResult, Step
from bot.when import clock

MOST_STEPS = 40
_LONGEST_MESSAGE = 300
_MOST_READ = 1_200
_LONGEST_QUERY = 100
_LONGEST_TYPE = 60
_LONGEST = 7_000
_LONGEST_TEXT = 2_500

_WORDS = {
    "generate_query": "Ran a query",
    SUMMARIZE: "Wrote the answer",
    "inspect_model": "Looked at the model",
    "search_model": "Searched the model",
    "search_model_files": "Searched the model's files",
    "manage_task_list": "Planned its work",
    "create_dashboard_from_chat": "Built a dashboard",
    "create_app": "Built an app",
    "create_app_from_chat": "Built an app",
}
"""The types of action seen live (exploreomni/OmniKit), in words; another is shown as it is called."""


def steps_message(result: JobResult) -> tuple[Message, ...] | None:
    """The steps in the forms of a message; None where Omni tells none."""
    if not result.steps:
        return None
    lines = _within(
        [_line(place, step) for place, step in enumerate(result.steps[:MOST_STEPS], start=1)], _LONGEST
    )
    count = "1 step" if len(result.steps) == 1 else f"{len(result.steps)} steps"
    more = _more(len(result.steps) - len(lines))
    blocks = [section(f"*What the AI did* · {count}"), *map(section, _sections([*lines, *more]))]
    heard = _within(lines, _LONGEST_TEXT)
    text = "\n".join([f"What the AI did, in {count}:", *heard, *_more(len(result.steps) - len(heard))])
    return Message(text, tuple(blocks)), Message(text)


def _line(place: int, step: Step) -> str:
    # Slack would make a list of "1." of its own accord only in Markdown, not here.
    words = _WORDS.get(step.type) or _type(step.type)
    query = f" “{shortened(' '.join(step.query.split()), _LONGEST_QUERY)}”" if step.query else ""
    # A summary repeats the whole answer, which stands on the card.
    said = "" if step.type == SUMMARIZE else " ".join(plain(step.message, _MOST_READ).split())
    at = f" · {clock(step.at)}" if step.at is not None else ""
    told = f": {shortened(said, _LONGEST_MESSAGE)}" if said else ""
    return f"{place}. *{words}*{query}{told}{at}"


def _type(name: str) -> str:
    return shortened(" ".join(name.replace("_", " ").split()), _LONGEST_TYPE) or "Something else"


def _more(left_out: int) -> list[str]:
    return [f"and {left_out} more."] if left_out > 0 else []


def _within(lines: list[str], limit: int) -> list[str]:
    """As many of the lines as fit into so many characters."""
    length = 0
    for place, line in enumerate(lines):
        length += len(line) + 1
        if length > limit:
            return lines[:place]
    return lines


def _sections(lines: list[str]) -> list[str]:
    """The lines joined into texts that fit in sections."""
    texts = [lines[0]]
    for line in lines[1:]:
        joined = f"{texts[-1]}\n{line}"
        if len(joined) <= LONGEST_SECTION:
            texts[-1] = joined
        else:
            texts.append(line)
    return texts
