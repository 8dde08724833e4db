"""Follow an Omni AI job in one Slack message."""

__version__ = "0.1.0"
