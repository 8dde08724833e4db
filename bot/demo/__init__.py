"""The world in small: a simulated Omni, a simulated Slack, and a page to play with them."""
