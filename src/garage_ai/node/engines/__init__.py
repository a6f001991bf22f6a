"""Engines behind one small port: llama.cpp in a process of its own, or the owner's own server."""
