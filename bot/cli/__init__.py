"""The commands of `python -m bot` other than running the bot."""
