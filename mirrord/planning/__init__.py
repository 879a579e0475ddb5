"""Pure decisions: what a rule selects, and what has to be done about it. No I/O, no clock, no randomness."""
