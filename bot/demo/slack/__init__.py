"""The simulated Slack: its Web API, Socket Mode, HTTP mode, and what its users do."""
