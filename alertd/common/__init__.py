"""What every layer uses: errors, time, ids, logs."""
