"""For every test here."""

import asyncio

# For a test without an event loop, looptime asks asyncio for the current one, and asyncio up to 3.13 then
# makes one that nobody closes. Once "none" was set, it says that there is none.
asyncio.set_event_loop(None)
