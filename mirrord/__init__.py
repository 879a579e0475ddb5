"""mirrord mirrors container images between registries: verified, planned, observable."""

__version__ = "0.2.0"
