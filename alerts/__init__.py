"""Everything that tells people: the archive, the gateway to Slack with its durable outbox, and the page."""
