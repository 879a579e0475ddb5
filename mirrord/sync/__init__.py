"""Use cases: look, decide, carry out, report. Everything outside is reached through the ports."""
