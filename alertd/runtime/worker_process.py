"""Runs one worker process. The module imports nothing of the API, so that a restarted worker starts sooner."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

import structlog

from alertd.config.settings import Settings
from alertd.runtime.installation import Store, parts_of, shared_store
from alertd.runtime.processes import Life, check_packages, die_with_parent, take_files
from alertd.runtime.worker import worker_of
from alertd.runtime.worker_site import metrics_site


async def run_worker(settings: Settings) -> None:
    """Runs one worker until SIGTERM or SIGINT; it then awaits the answers to its sent messages. Raises StartError."""
    die_with_parent()
    check_packages()
    take_files()
    life = Life()
    await life.run(_worker(life, settings, shared_store(settings.store)))


async def _worker(life: Life, settings: Settings, store: Store) -> None:
    """Opens this worker's parts and works until it is stopped."""
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(parts_of(settings, store, sends=True))
        worker = worker_of(parts)
        if settings.worker.metrics:
            await stack.enter_async_context(metrics_site(parts, settings.worker.metrics))
        life.ready(worker.stop)
        structlog.get_logger().info("worker.started", pid=os.getpid())
        await worker.run()
