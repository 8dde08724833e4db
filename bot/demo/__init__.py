"""Simulated Slack and Omni, and a page to try the bot on them."""
