"""What `mirrord demo` needs to work offline: registries in memory, sample images, a scenario."""
