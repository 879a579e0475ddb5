"""What is told of the work: metrics and logs, both made from events."""
