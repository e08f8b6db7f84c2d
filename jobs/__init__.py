"""Work for the task cluster that must not be lost: attempts are counted before it starts, and poison is parked."""
