"""Run coroutines from tests, even in a thread in which Playwright has left an event loop running."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def run(coroutine):
    """Run a coroutine in an event loop of a thread of its own; return its value."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
