"""What Headcount tells people by mail: an outbox written with the change that it tells of, and its delivery."""
