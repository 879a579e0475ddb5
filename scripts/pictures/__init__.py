"""Draws dashboards from what a Prometheus answers, for the documentation: close to what Grafana shows, and not Grafana."""
