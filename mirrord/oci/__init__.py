"""The vocabulary of the OCI specifications: values only, no I/O, no third-party import."""
