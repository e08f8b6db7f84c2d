"""What Headcount tells other machines: signed messages, written with what they tell of, and their delivery."""
