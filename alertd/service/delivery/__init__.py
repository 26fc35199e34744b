"""Plans alerts, sends their messages through carriers, and settles what carriers answer."""
