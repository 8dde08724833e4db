"""Slack's messages as trees that the demo page draws."""
