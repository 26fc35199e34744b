"""Helpers that every layer uses: errors, time, ids, logs, repetition."""
