"""What the stack needs from outside: models, encoders, redis-server; fetched and verified."""
