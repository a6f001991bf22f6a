"""What runs the items of batches: in every gateway, on what chat leaves over."""
