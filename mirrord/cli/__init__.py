"""The command line: results go to stdout, progress and messages to stderr."""
