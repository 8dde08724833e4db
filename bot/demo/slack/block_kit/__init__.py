"""What the simulated Slack accepts as blocks, messages and views."""
