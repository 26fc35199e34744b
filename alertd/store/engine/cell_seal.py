"""Seals the records of the cells, so that the store's files and backups do not disclose where subscribers are.

A record is 16 bytes, one block of AES. The seal is XEX: XOR the record with its cell's mask, encrypt it with AES-256, XOR it with the
mask again. The mask is the cell's name, encrypted with AES-256 under a second, independent key. A record therefore keeps its length, and
the same record in another cell has other bytes. Both steps work on the records of many cells at once.

The seal hides what a record says. It does not hide which cell a record is in, how many records a cell has, or that a record in a cell is
the same as one that was in that cell before; and it does not detect changed bytes, which open as another record.

16 zero bytes are a tombstone. A tombstone is never sealed.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from alertd.store.engine.keys import Cell
from geofences.records import SIZE

Blocks = NDArray[np.uint64]  # shape (blocks, 2)


class CellSeal:
    """Encrypts and decrypts the records of cells. Threads may share it."""

    def __init__(self, secret: bytes) -> None:
        self._records = _cipher(secret, b"records")
        self._masks = _cipher(secret, b"cells")

    def seal(self, cell: Cell, plain: bytes) -> bytes:
        """Returns the records of one cell, encrypted. Same length."""
        return self.seal_each([cell], [plain])[0]

    def seal_each(self, cells: Sequence[Cell], plain: Sequence[bytes]) -> list[bytes]:
        """Returns the records of each cell, encrypted. Same lengths."""
        names = names_of([cell.group for cell in cells], np.arange(len(cells)), [cell.member for cell in cells])
        counts = [len(records) // SIZE for records in plain]
        sealed = self.crypted(names, counts, b"".join(plain), opens=False).tobytes()
        ends = np.cumsum([0, *counts]) * SIZE
        return [sealed[first:end] for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]

    def open(self, cell: Cell, sealed: bytes) -> bytes:
        """Returns the records of one cell, decrypted. Detects no wrong key and no changed bytes."""
        names = names_of([cell.group], [0], [cell.member])
        return self.crypted(names, [len(sealed) // SIZE], sealed, opens=True).tobytes()

    def crypted(self, names: Blocks, counts: Sequence[int], data: bytes, *, opens: bool) -> Blocks:
        """Decrypts (`opens`) or encrypts the records of many cells. Returns one block of two u64 for each record; tombstones stay zero.

        `names`: the cells, from `names_of`. `counts`: the number of records in each cell. `data`: the records of all cells, in the order of
        the cells.
        """
        cipher = self._records.decryptor() if opens else self._records.encryptor()
        given = np.frombuffer(data, "<u8").reshape(-1, 2)
        masks = np.repeat(_through(self._masks.encryptor(), names), np.asarray(counts, np.intp), axis=0)
        done = _through(cipher, given ^ masks)
        done ^= masks
        tombstones = (given[:, 0] | given[:, 1]) == 0
        if tombstones.any():
            done[tombstones] = 0
        return done


def names_of(
    groups: Sequence[str], group: Sequence[int] | NDArray[np.intp], members: Sequence[int] | NDArray[np.uint32]
) -> Blocks:
    """Returns the names of cells as blocks, for `crypted`. The cell at i is in `groups[group[i]]` and is its member `members[i]`."""
    blocks = np.empty((len(members), 2), "<u8")
    # Of "g:<z8>" or "r:<region>", a number that no other group has.
    blocks[:, 0] = np.array([ord(name[0]) << 32 | int(name[2:]) for name in groups], np.uint64)[group]
    blocks[:, 1] = members
    return blocks


def _cipher(secret: bytes, purpose: bytes) -> Cipher[modes.ECB]:
    """Returns AES-256 under a key derived from the secret for one purpose."""
    key = hmac.digest(secret, purpose, "sha256")
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - only the block cipher of XEX: masks hide equal blocks


def _through(cipher: CipherContext, blocks: Blocks) -> Blocks:
    """Returns the output of the cipher for these blocks: encrypted or decrypted, as the cipher context was made. Same shape."""
    out = np.empty(blocks.nbytes + SIZE - 1, np.uint8)  # the library demands a block more than it writes
    written = cipher.update_into(np.ascontiguousarray(blocks).view(np.uint8).reshape(-1).data, out.data)
    return out[:written].view("<u8").reshape(-1, 2)
