"""Run coroutines from tests, whatever the fixtures of the thread: Playwright's leaves an event loop running in it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def run(coroutine):
    """Run a coroutine in an event loop of a thread of its own; return its value."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
