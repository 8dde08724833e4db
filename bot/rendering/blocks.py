"""The few Block Kit blocks that the cards are made of.

Limits and shapes: docs.slack.dev/reference/block-kit/blocks. `block_id` is left to Slack, which wants a
new one with every update.
"""

from bot.domain import Block, CardId

OPEN_CHAT = "open_chat"
"""The action id of the link button. Slack reports its clicks, too; they only want an ack."""
STOP_FOLLOWING = "stop_following"
"""The action id of the button that ends a person's following; its value is the watch's id."""
RESUME = "resume_following"
"""The action id of the button that goes on with a follow that was given up; its value is the watch's id."""
SHOW_DATA = "show_data"
SHOW_STEPS = "show_steps"
"""The action ids of the buttons under an answer that show what it rests on; their value is the watch's id."""
CANCEL_JOB = "cancel_job"
RETRY_JOB = "retry_job"
ASK_FOLLOW_UP = "ask_follow_up"
"""The action ids of the buttons that cancel a card's job, ask its question again, and ask on from its answer; their
value is the watch's id."""
TRY_AGAIN = "try_again"
TRY_AGAIN_PRIVATELY = "try_again_privately"
"""The action ids of the button that asks once more what Omni may have taken, where it is pressed or in the person's
direct messages, as it was asked before; its value is the question."""
LONGEST_VALUE = 2_000
"""Characters of a button's value. Source: docs.slack.dev/reference/block-kit/block-elements/button-element."""
LONGEST_SECTION = 3_000
"""Characters in a section. Source: docs.slack.dev/reference/block-kit/blocks/section-block."""


def section(mrkdwn: str) -> Block:
    """Text that is shown in full, and in which Slack finds no links or names of its own."""
    text = {"type": "mrkdwn", "text": mrkdwn, "verbatim": True}
    return {"type": "section", "expand": True, "text": text}


def context(mrkdwn: str) -> Block:
    """A small grey line."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": mrkdwn, "verbatim": True}]}


def quote(text: str) -> Block:
    """Text set off as somebody's words and shown as it is: rich text has no markup to escape."""
    said = {"type": "rich_text_quote", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [said]}


def markdown(text: str) -> Block:
    """Markdown as Omni writes it; `answer` says what may be in it."""
    return {"type": "markdown", "text": text}


def task(task_id: str, title: str) -> Block:
    """What is being done now, as a line of its own with a sign of Slack's that moves. `title` is plain text.

    Whether Slack shows it in every workspace outside a stream is not documented, so another form has to
    stand ready. Shape: docs.slack.dev/reference/block-kit/blocks/task-card-block.
    """
    return {"type": "task_card", "task_id": task_id, "title": title, "status": "in_progress"}


def buttons(
    link: str | None,
    *,
    show: CardId | None = None,
    follow_up: CardId | None = None,
    cancel: CardId | None = None,
    stop: CardId | None = None,
    resume: CardId | None = None,
    retry: CardId | None = None,
) -> list[Block]:
    """A row of buttons: to Omni where there is a link, and each of the others where a watch is given for it."""
    elements: list[Block] = []
    if link is not None:
        elements.append({**_button("Open in Omni", OPEN_CHAT), "url": link})
    if show is not None:
        elements.append({**_button("Show data", SHOW_DATA), "value": show})
        elements.append({**_button("Show steps", SHOW_STEPS), "value": show})
    if follow_up is not None:
        elements.append({**_button("Ask a follow-up", ASK_FOLLOW_UP), "value": follow_up})
    if cancel is not None:
        elements.append({**_button("Cancel job", CANCEL_JOB), "value": cancel, "confirm": _CONFIRM_CANCEL})
    if stop is not None:
        elements.append({**_button("Stop following", STOP_FOLLOWING), "value": stop})
    if resume is not None:
        elements.append({**_button("Resume", RESUME), "value": resume})
    if retry is not None:
        elements.append({**_button("Retry", RETRY_JOB), "value": retry})
    return [{"type": "actions", "elements": elements}] if elements else []


def try_again(question: str, *, private: bool) -> list[Block]:
    """The button that asks a question again, which is its value; none where the question is too long for that.
    `private`: its card is to go to the person's direct messages."""
    if not 0 < len(question) <= LONGEST_VALUE:
        return []
    action = TRY_AGAIN_PRIVATELY if private else TRY_AGAIN
    return [{"type": "actions", "elements": [{**_button("Try again", action), "value": question}]}]


def _button(label: str, action_id: str) -> Block:
    return {"type": "button", "text": _plain(label), "action_id": action_id}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


_CONFIRM_CANCEL: Block = {
    "title": _plain("Cancel this job?"),
    "text": _plain(
        "Omni stops working on it for everyone who is waiting for the answer. To just stop getting updates, "
        "press Stop following."
    ),
    "confirm": _plain("Cancel job"),
    "deny": _plain("Keep it running"),
    "style": "danger",
}
