"""The HTTP edge: the OpenAI surface, the coordination API, errors. No business rules."""
