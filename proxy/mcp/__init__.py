"""The Model Context Protocol, as far as a call of a tool can be read and judged (pure)."""
