"""One file a registry: what is odd about it, over defaults that fit the specification."""
