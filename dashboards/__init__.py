"""The dashboards room: Grafana dashboards as Python, their committed JSON, provisioning files, and pushing them."""
