"""The state store: what is remembered from run to run, in SQLite or PostgreSQL."""
