"""The Block Kit blocks of the cards.

Source: docs.slack.dev/reference/block-kit/blocks. Slack sets `block_id`, which must change with every update.
"""

from bot.domain import Block, CardId, FileId, Rating

OPEN_CHAT = "open_chat"
"""Action id of the link button. Slack reports its clicks, which only need an ack."""
FOLLOW = "follow"
STOP_FOLLOWING = "stop_following"
"""Action ids of *Follow* and *Stop following*. As with all buttons of a card, the value is the card's id."""
RESUME = "resume_following"
"""Action id of *Resume*."""
SHOW_DATA = "show_data"
SHOW_STEPS = "show_steps"
"""Action ids of the buttons that show an answer's data and steps."""
CANCEL_JOB = "cancel_job"
RETRY_JOB = "retry_job"
ASK_FOLLOW_UP = "ask_follow_up"
"""Action ids of the buttons that cancel a job, ask its question again, and ask a follow-up."""
CARD_MENU = "card_menu"
ANSWER_MENU = "answer_menu"
"""Action ids of the overflow menus of a running card and of one with an answer. The value of an option is an action id
and the card's id, with a blank between."""
SHARE_ANSWER = "share_answer"
REMOVE_ANSWER = "remove_answer"
"""Action ids in the menu of an answer: post it in a channel, from direct messages; and take it back."""
RATE = "rate_answer"
RATE_HELPFUL = "rate_answer_helpful"
RATE_UNHELPFUL = "rate_answer_unhelpful"
"""Action ids of the feedback on an answer: of Slack's own buttons, and of the plain ones. The value is a `Rating` and
the card's id, with a blank between."""
TRY_AGAIN = "try_again"
TRY_AGAIN_PRIVATELY = "try_again_privately"
"""Action ids of the button that asks a question again, in the channel or in direct messages. Its value is the
question."""
LABELS = {
    OPEN_CHAT: "Open in Omni",
    SHOW_DATA: "Show data",
    SHOW_STEPS: "Show steps",
    ASK_FOLLOW_UP: "Ask a follow-up",
    FOLLOW: "Follow",
    CANCEL_JOB: "Cancel job",
    STOP_FOLLOWING: "Stop following",
    RESUME: "Resume",
    RETRY_JOB: "Retry",
    SHARE_ANSWER: "Share to channel…",
    REMOVE_ANSWER: "Remove answer…",
    TRY_AGAIN: "Try again",
    TRY_AGAIN_PRIVATELY: "Try again",
}
"""The labels of the buttons by action id."""
LONGEST_VALUE = 2_000
"""Most characters of a button's value. Source: docs.slack.dev/reference/block-kit/block-elements/button-element."""
LONGEST_SECTION = 3_000
"""Most characters in a section. Source: docs.slack.dev/reference/block-kit/blocks/section-block."""
MOST_BLOCKS = 50
"""In a message. Source: docs.slack.dev/reference/block-kit/blocks."""


def section(mrkdwn: str) -> Block:
    """Text that is shown in full, and in which Slack does not look for links or names."""
    text = {"type": "mrkdwn", "text": mrkdwn, "verbatim": True}
    return {"type": "section", "expand": True, "text": text}


def context(mrkdwn: str) -> Block:
    """A small gray line."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": mrkdwn, "verbatim": True}]}


def quote(text: str) -> Block:
    """Quoted plain text. Rich text has no markup to escape."""
    said = {"type": "rich_text_quote", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [said]}


def header(text: str) -> Block:
    """A heading in plain text, of at most 150 characters."""
    return {"type": "header", "text": _plain(text)}


def picture(file: FileId, alt: str) -> Block:
    """An image in Slack, with alternative text of at most 2,000 characters.

    Source: docs.slack.dev/reference/block-kit/blocks/image-block and composition-objects/slack-file-object.
    """
    return {"type": "image", "slack_file": {"id": file}, "alt_text": alt}


def task(task_id: str, title: str, *, is_done: bool) -> Block:
    """A step with Slack's sign: animated while it runs, a check mark when it is done. `title` is plain text.

    Slack does not document whether it works outside of streams, so a plainer variant is needed.
    Source: docs.slack.dev/reference/block-kit/blocks/task-card-block.
    """
    status = "complete" if is_done else "in_progress"
    return {"type": "task_card", "task_id": task_id, "title": title, "status": status}


def plan(title: str, tasks: list[Block]) -> Block:
    """Tasks under a title, which is plain text.

    Slack folds them up after each edit and shows only the title (slackapi/node-slack-sdk#2701), so the title has to say
    the newest. As with `task`, a plainer variant is needed. A message has either plans or tasks.
    Source: docs.slack.dev/reference/block-kit/blocks/plan-block.
    """
    return {"type": "plan", "title": title, "tasks": tasks}


def buttons(
    link: str | None,
    *,
    show: CardId | None = None,
    follow_up: CardId | None = None,
    follow: CardId | None = None,
    cancel: CardId | None = None,
    stop: CardId | None = None,
    resume: CardId | None = None,
    retry: CardId | None = None,
    share: CardId | None = None,
    remove: CardId | None = None,
) -> list[Block]:
    """A row of controls: a button to Omni if there is a link, and each of the others that has a card.

    Beside *Follow*, *Cancel job* and *Stop following* are in a menu: most readers of a channel need neither. So are
    *Show steps* and *Share to channel…* where the answer can be removed.
    """
    elements: list[Block] = []
    if link is not None:
        elements.append({**_button(OPEN_CHAT), "url": link})
    if show is not None:
        elements.append(_button(SHOW_DATA, show))
        if remove is None:
            elements.append(_button(SHOW_STEPS, show))
    if follow_up is not None:
        elements.append(_button(ASK_FOLLOW_UP, follow_up))
    if follow is not None:
        elements.append(_button(FOLLOW, follow))
    if follow is not None and stop is not None and cancel is not None:
        choices = _menu(CARD_MENU, (STOP_FOLLOWING, stop), (CANCEL_JOB, cancel))
        elements.append({**choices, "confirm": _CONFIRM_CHOICE})
        cancel = stop = None
    if cancel is not None:
        elements.append({**_button(CANCEL_JOB, cancel), "confirm": _CONFIRM_CANCEL})
    if stop is not None:
        elements.append(_button(STOP_FOLLOWING, stop))
    if resume is not None:
        elements.append(_button(RESUME, resume))
    if retry is not None:
        elements.append(_button(RETRY_JOB, retry))
    if show is not None and remove is not None:
        sharing = [(SHARE_ANSWER, share)] if share is not None else []
        elements.append(_menu(ANSWER_MENU, (SHOW_STEPS, show), *sharing, (REMOVE_ANSWER, remove)))
    return [{"type": "actions", "elements": elements}] if elements else []


def try_again(question: str, *, private: bool) -> list[Block]:
    """The button that asks a question again. None if the question is too long for its value.

    `private`: the card goes to direct messages.
    """
    if not 0 < len(question) <= LONGEST_VALUE:
        return []
    action = TRY_AGAIN_PRIVATELY if private else TRY_AGAIN
    return [{"type": "actions", "elements": [_button(action, question)]}]


def feedback_buttons(card: CardId) -> Block:
    """Slack's own buttons for feedback on an answer, which only messages can hold.

    Source: docs.slack.dev/reference/block-kit/block-elements/feedback-buttons-element.
    """
    element = {
        "type": "feedback_buttons",
        "action_id": RATE,
        "positive_button": _feedback("👍", Rating.HELPFUL, card),
        "negative_button": _feedback("👎", Rating.UNHELPFUL, card),
    }
    return {"type": "context_actions", "elements": [element]}


def plain_feedback_buttons(card: CardId) -> Block:
    """The same as plain buttons, where Slack does not take its own."""
    helpful = {"type": "button", "action_id": RATE_HELPFUL, **_feedback("👍", Rating.HELPFUL, card)}
    unhelpful = {"type": "button", "action_id": RATE_UNHELPFUL, **_feedback("👎", Rating.UNHELPFUL, card)}
    return {"type": "actions", "elements": [helpful, unhelpful]}


def _feedback(sign: str, rating: Rating, card: CardId) -> Block:
    label = "Helpful" if rating is Rating.HELPFUL else "Not helpful"
    return {"text": _plain(sign), "value": f"{rating} {card}", "accessibility_label": label}


def _button(action_id: str, value: str | None = None) -> Block:
    button: Block = {"type": "button", "text": _plain(LABELS[action_id]), "action_id": action_id}
    return button if value is None else button | {"value": value}


def _menu(action_id: str, *options: tuple[str, CardId]) -> Block:
    """An overflow menu of 2 to 5 actions on cards. Slack has one confirmation for all of its options.

    Source: docs.slack.dev/reference/block-kit/block-elements/overflow-menu-element.
    """
    offered = [{"text": _plain(LABELS[action]), "value": f"{action} {card}"} for action, card in options]
    return {"type": "overflow", "action_id": action_id, "options": offered}


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

_CONFIRM_CHOICE: Block = {
    "title": _plain("Are you sure?"),
    "text": _plain(
        "Stop following: you get no more updates. Cancel job: Omni stops working on it for everyone who is waiting "
        "for the answer."
    ),
    "confirm": _plain("Continue"),
    "deny": _plain("Go back"),
}
