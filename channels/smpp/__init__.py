"""SMS through a carrier's own SMS centre (SMPP 3.4). `channel` is the entry, `pdu` the bottom layer."""
