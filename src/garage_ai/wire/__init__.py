"""What crosses the network: subjects, frames, messages, identity. Imports nothing of ours."""
