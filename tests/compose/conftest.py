"""Fixtures for the stack in Docker.  They need an engine that answers; .ci/run supplies one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.compose.stack import Stack, free_port


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The demo stack, up and healthy.  A test that breaks something mends it before it ends."""
    yield from running(Stack(f"test-{secrets.token_hex(4)}", free_port()))


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """A logged-in browser."""
    with stack.visitor() as browser:
        yield browser


def running(stack: Stack) -> Iterator[Stack]:
    """Up before, down after, also when the start fails."""
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
