"""Draws dashboards from what a Prometheus answers, for the documentation: close to Grafana, and not Grafana."""
