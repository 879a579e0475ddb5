"""The Grafana dashboards, as Python: `make dashboards` writes grafana/dashboards anew. A test compares."""
