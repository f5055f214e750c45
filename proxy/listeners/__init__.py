"""From bytes on the proxy port to a `ToolCall` and an `Exchange`."""
