"""Health check of the containers: exits with 0 when /healthz on the given port says that the role works."""

import sys
import urllib.error
import urllib.request

try:
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/healthz", timeout=4).close()
except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
    sys.exit(f"not healthy: {error}")
