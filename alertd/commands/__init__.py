"""The commands, one module for each group. Most of them only call the API as any client does, and contain none of its
rules; those that start, check, back up or repair an installation work on its machine.
"""
