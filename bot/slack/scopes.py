"""The scopes of the methods and events that the bot uses, and which of them are optional."""

METHOD_SCOPES = {
    "auth.test": set[str](),
    "auth.teams.list": set[str](),
    "apps.connections.open": set[str](),
    "blocks.validate": set[str](),
    "chat.postMessage": {"chat:write"},
    "chat.update": {"chat:write"},
    "chat.delete": {"chat:write"},
    "chat.getPermalink": set[str](),
    "conversations.open": {"im:write"},
    "files.getUploadURLExternal": {"files:write"},
    "files.completeUploadExternal": {"files:write"},
    "files.delete": {"files:write"},
    "chat.postEphemeral": {"chat:write"},
    "conversations.info": {"channels:read", "groups:read", "mpim:read"},
    "conversations.members": {"channels:read", "groups:read"},
    "users.info": {"users:read", "users:read.email"},
    "users.lookupByEmail": {"users:read.email"},
    "views.open": set[str](),
    "views.update": set[str](),
    "views.publish": set[str](),
    "conversations.history": {"channels:history", "groups:history", "im:history", "mpim:history"},
    "conversations.replies": {"channels:history", "groups:history", "im:history", "mpim:history"},
}
"""Every Web API method that the bot calls, with its scopes. `manifest.yml` requests these and those of the events."""
EVENT_SCOPES = {
    "app_mention": {"app_mentions:read"},
    "message.im": {"im:history"},
    "app_home_opened": set[str](),
    "app_uninstalled": set[str](),
    "tokens_revoked": set[str](),
}
"""Every event that the app subscribes to, with its scopes.
Source: the pages of the events at docs.slack.dev/reference/events."""

COMMANDS_SCOPE = "commands"
"""Needed to receive commands."""
HISTORY_SCOPES = frozenset(METHOD_SCOPES["conversations.history"])
"""Without them the bot can't check whether a post arrived whose response was lost."""
FILES_SCOPE = "files:write"
"""Without it the bot posts no charts and files."""
EMAIL_SCOPE = "users:read.email"
"""Without it the bot can't match Slack users with Omni users."""
VENUE_SCOPES = frozenset(METHOD_SCOPES["conversations.info"])
"""Without the scope for a kind of channel, the bot can't check whether such a channel is shared. Direct messages need
no check."""
MENTION_SCOPES = frozenset(EVENT_SCOPES["app_mention"])
"""Without it the bot receives no mentions."""
OPTIONAL_SCOPES = HISTORY_SCOPES | {FILES_SCOPE, EMAIL_SCOPE} | MENTION_SCOPES
"""Scopes that the bot can run without."""

REQUIRED_SCOPES = frozenset({COMMANDS_SCOPE}.union(*METHOD_SCOPES.values())) - OPTIONAL_SCOPES
"""Scopes that the bot needs. Without `users:read` it would treat every user as a stranger. It can do without
VENUE_SCOPES if answers may be posted in shared channels."""
