"""What this PC is: processor, memory, system, disk and graphics cards."""
