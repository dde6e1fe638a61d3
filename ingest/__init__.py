"""The doors by which news comes in: crawled feeds, files to replay, an HTTP endpoint to push to. Imports bus only."""
