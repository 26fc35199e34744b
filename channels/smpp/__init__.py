"""SMS through a carrier's own SMS centre (SMPP 3.4). One module each: the PDUs, the session and the channel."""
