"""What the bot is allowed in Slack: the scopes of all that it calls and hears, and which of them it can do without."""

METHOD_SCOPES = {
    "auth.test": set[str](),
    "apps.connections.open": set[str](),
    "chat.postMessage": {"chat:write"},
    "chat.update": {"chat:write"},
    "chat.delete": {"chat:write"},
    "chat.getPermalink": set[str](),
    "conversations.open": {"im:write"},
    "files.getUploadURLExternal": {"files:write"},
    "files.completeUploadExternal": {"files:write"},
    "chat.postEphemeral": {"chat:write"},
    "conversations.info": {"channels:read", "groups:read", "mpim:read"},
    "users.info": {"users:read", "users:read.email"},
    "views.open": set[str](),
    "views.update": set[str](),
    "views.publish": set[str](),
    "conversations.history": {"channels:history", "groups:history", "im:history", "mpim:history"},
    "conversations.replies": {"channels:history", "groups:history", "im:history", "mpim:history"},
}
"""Every Web API method used in `slack`, `slackpeople` and `slackviews`, with the scopes it needs; `manifest.yml` asks
for just these and those of the events."""
EVENT_SCOPES = {
    "app_mention": {"app_mentions:read"},
    "message.im": {"im:history"},
    "app_home_opened": set[str](),
    "app_uninstalled": set[str](),
    "tokens_revoked": set[str](),
}
"""Every event that the app subscribes to, with the scopes it needs.
Source: the pages of the events at docs.slack.dev/reference/events."""

COMMANDS_SCOPE = "commands"
"""What receiving `/omni-job` needs."""
HISTORY_SCOPES = frozenset(METHOD_SCOPES["conversations.history"])
"""Without them the bot can't look whether an unanswered post arrived."""
FILES_SCOPE = "files:write"
"""Without it no chart and no file comes into a thread."""
EMAIL_SCOPE = "users:read.email"
"""Without it nobody can be matched with an Omni user."""
VENUE_SCOPES = frozenset(METHOD_SCOPES["conversations.info"])
"""Without the one of a conversation's kind, the bot can't see whether it is shared with another organisation. Direct
messages with the bot are not looked at."""
MENTION_SCOPES = frozenset(EVENT_SCOPES["app_mention"])
"""Without it the bot does not hear that it is mentioned."""
OPTIONAL_SCOPES = HISTORY_SCOPES | {FILES_SCOPE, EMAIL_SCOPE} | VENUE_SCOPES | MENTION_SCOPES
"""Scopes that the bot runs without."""

REQUIRED_SCOPES = frozenset({COMMANDS_SCOPE}.union(*METHOD_SCOPES.values())) - OPTIONAL_SCOPES
"""Scopes without which the bot can't do its work: without `users:read` it takes everybody for a stranger."""
