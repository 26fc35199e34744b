"""Plans alerts, sends their messages through carriers, and settles the carriers' answers."""
