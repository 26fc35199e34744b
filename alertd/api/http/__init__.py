"""What every call passes: its caller, its body, its answer."""
