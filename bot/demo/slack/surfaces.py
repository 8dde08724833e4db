"""Modals and Home tabs of the app, and the triggers that allow them.

No I/O. Source: docs.slack.dev/surfaces/modals, docs.slack.dev/interactivity/handling-user-interaction.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from bot.demo.slack.block_kit import view_state
from bot.demo.slack.block_kit.view_state import Values

TRIGGER_SECONDS = 3.0
"""How long a trigger_id is good, once. Source: docs.slack.dev/interactivity/handling-user-interaction."""
TRIGGERS_REMEMBERED = 1_000
"""Of so many it is known why they are no longer good; older ones are `invalid_trigger_id`, as any other word is."""
STACK_MOST = 3
"""Views of one modal, one above the other. Source: docs.slack.dev/reference/methods/views.push."""

View = dict[str, Any]


@dataclass(slots=True)
class OpenView:
    """A view as Slack holds it and as its person has filled it in."""

    id: str
    user: str
    content: View
    """As the app gave it, with the block_ids and action_ids that Slack adds."""
    hash: str
    root: str
    previous: str | None
    values: Values
    suggested: dict[str, list[View]] = field(default_factory=dict)
    """The options that the app gave last for an external select, by its action_id."""
    errors: dict[str, str] = field(default_factory=dict)
    """Errors of inputs, by block_id."""
    trouble: str | None = None
    """Slack's own error for a failed submission."""
    team: str = ""
    """The workspace in which it was opened; empty: the app's."""


@dataclass(slots=True)
class _Trigger:
    user: str
    team: str
    issued_at: float
    is_exchanged: bool = False


class TriggerRefused(Exception):
    """A trigger_id allows nothing; the message is Slack's code."""


class Surfaces:
    """Modals by person, Home tabs by person."""

    def __init__(self) -> None:
        self.home_enabled = True
        """The app's Home tab, as the manifest's `home_tab_enabled` turns it on."""
        self.modals: dict[str, list[OpenView]] = {}
        """Open views of each user, the topmost last."""
        self.homes: dict[str, OpenView] = {}
        self._triggers: dict[str, _Trigger] = {}

    # Triggers.

    def trigger(self, user: str, now: float, team: str = "") -> str:
        """A new trigger_id, for what a person just did in a workspace."""
        trigger = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self._triggers[trigger] = _Trigger(user, team, now)
        if len(self._triggers) > TRIGGERS_REMEMBERED:
            del self._triggers[next(iter(self._triggers))]
        return trigger

    def exchange(self, trigger: str, now: float) -> tuple[str, str]:
        """Use a trigger up; returns whose it is, and of which workspace.

        Raises:
            TriggerRefused: `invalid_trigger_id`, `exchanged_trigger_id` or `expired_trigger_id`.
        """
        known = self._triggers.get(trigger)
        if known is None:
            raise TriggerRefused("invalid_trigger_id")
        if known.is_exchanged:
            raise TriggerRefused("exchanged_trigger_id")
        if now - known.issued_at > TRIGGER_SECONDS:
            raise TriggerRefused("expired_trigger_id")
        known.is_exchanged = True
        return known.user, known.team

    # Modals.

    def open(self, user: str, content: View, team: str = "") -> OpenView:
        """Open a modal and close the user's previous one: an app has one modal per user."""
        view = _new(user, content)
        view.team = team
        self.modals[user] = [view]
        return view

    def push(self, user: str, content: View) -> OpenView:
        """Put a view above the topmost one of a person's modal."""
        stack = self.modals[user]
        view = _new(user, content, root=stack[0].id, previous=stack[-1].id)
        view.team = stack[0].team
        stack.append(view)
        return view

    def replace(self, view: OpenView, content: View) -> None:
        """Replace the content of a view. Values of kept inputs stay."""
        filled = view_state.with_ids(content)
        view.values = view_state.kept(view.content, view.values, filled)
        view.content = filled
        view.hash = _hash()
        view.errors = {}

    def close(self, view: OpenView, *, whole: bool = False) -> list[OpenView]:
        """Take down a view, or the whole modal; returns what went, the topmost first."""
        stack = self.modals.get(view.user, [])
        gone = stack[::-1] if whole else [view]
        left = [] if whole else [other for other in stack if other is not view]
        self.modals.pop(view.user, None)
        if left:
            self.modals[view.user] = left
        return gone

    def top(self, user: str) -> OpenView | None:
        """The visible part of a user's modal."""
        stack = self.modals.get(user)
        return stack[-1] if stack else None

    def found(self, view_id: str | None, external_id: str | None) -> OpenView | None:
        """A view that is up, by Slack's id or by the app's own."""
        everywhere = [view for stack in self.modals.values() for view in stack] + list(self.homes.values())
        for view in everywhere:
            if view_id == view.id or (external_id and external_id == view.content.get("external_id")):
                return view
        return None

    # Home tabs.

    def publish(self, user: str, content: View) -> OpenView:
        """Show a person's Home tab, which keeps its id."""
        if user in self.homes:
            self.replace(self.homes[user], content)
        else:
            self.homes[user] = _new(user, content)
        return self.homes[user]


def _new(user: str, content: View, *, root: str | None = None, previous: str | None = None) -> OpenView:
    filled = view_state.with_ids(content)
    view_id = f"V{secrets.token_hex(5).upper()}"
    return OpenView(view_id, user, filled, _hash(), root or view_id, previous, view_state.initial(filled))


def _hash() -> str:
    return f"{secrets.randbelow(10**10)}.{secrets.token_hex(4)}"
