"""The commands, one module a group. They speak to the API as any client would, and know none of its rules."""
