"""The state of the installation over HTTP."""
