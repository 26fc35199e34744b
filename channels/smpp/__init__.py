"""Text messages through a carrier's own SMS centre (SMPP 3.4): the wire, the conversation and the channel, each in its module."""
