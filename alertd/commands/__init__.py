"""The commands, one module for each group. They call the API as any client does, and contain none of its rules."""
