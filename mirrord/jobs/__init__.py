"""When rules are due: moments of schedules, and the alarm that rings for them."""
