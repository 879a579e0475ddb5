"""Carries out what was planned, through the ports: content first, names last, one source read for all targets."""
