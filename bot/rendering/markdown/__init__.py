"""Splits, converts and sanitizes Omni's Markdown for Slack. Pure."""
