"""The configuration: read with positions, checked at once, handed on as plain values."""
