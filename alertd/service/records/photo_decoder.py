"""Photos decoded in a process of their own, which may take only so much memory and time, and whose crash is its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping

from alertd.model.photo import Copy, UnreadablePhotoError, parse_copies

#: Each may take a gigabyte for a second.
AT_ONCE = 2
#: Processor time of one; the largest photos take two seconds of it.
CPU_S = 10
#: On a busy machine, processor time takes a while.
PATIENCE_S = 40.0


class Decoder:
    """Turns pictures into copies of our own, a few at once; the others wait."""

    def __init__(self, cpu_s: int = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def copies_of(self, raw: bytes) -> dict[str, Copy]:
        """As `photos.copies_of`. Raises UnreadablePhotoError, also for a picture that takes too long."""
        async with self._turns:
            answer = await _asked(raw, self._cpu_s)
        if not answer:
            raise UnreadablePhotoError("This picture takes too long to be read.")
        return parse_copies(answer)


async def _asked(raw: bytes, cpu_s: int) -> bytes:
    """What the process answers; nothing when it had to be ended, or ended itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alertd.model.photo", str(cpu_s), env=without_ours(os.environ),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer, _ = await process.communicate(raw)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return answer if process.returncode == 0 else b""


def without_ours(variables: Mapping[str, str]) -> dict[str, str]:
    """What a decoding process may know: there may be secrets in our variables, and a picture made to look for some."""
    return {name: value for name, value in variables.items() if not name.startswith("ALERTD_")}
