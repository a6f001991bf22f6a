"""What lives in other programs: LiteLLM's configuration and the callback that runs inside it."""
