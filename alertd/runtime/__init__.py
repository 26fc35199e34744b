"""The composition root, and the processes of an installation."""
