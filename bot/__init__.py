"""Follow an Omni AI job in one Slack message."""
