"""Says what happened, redacted and bounded. Decides nothing; may drop, never blocks a call."""
