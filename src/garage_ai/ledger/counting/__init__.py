"""Counting tokens as an engine does: the model's own tokenizer and chat template, elsewhere."""
