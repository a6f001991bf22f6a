"""How an engine is made to fit in this PC's memory: measured, remembered, made smaller."""
