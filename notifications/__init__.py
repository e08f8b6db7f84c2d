"""What Headcount tells people: mails and webhooks about limits (their issue brings the first of them)."""
