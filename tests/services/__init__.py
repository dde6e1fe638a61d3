"""Real services for the tests: each is started on free loopback ports, or its tests are skipped with the reason.

Under CI=true a missing service is a failure.
"""
