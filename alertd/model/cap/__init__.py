"""CAP, the Common Alerting Protocol (OASIS): documents in and out. Pure: bytes and values, no I/O, no clock.

`reader` is forgiving and takes 1.0, 1.1 and 1.2; `writer` is strict and writes 1.2. Sections named in comments are of
"Common Alerting Protocol Version 1.2", OASIS Standard, 1 July 2010.
"""
