"""Another version of the agent on the owner's word: signed, proved, tried, and taken back."""
