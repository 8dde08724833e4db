"""The simulated Omni: its API, its jobs and its webhooks."""
