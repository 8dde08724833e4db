"""Validation of blocks, messages and views in the simulated Slack."""
