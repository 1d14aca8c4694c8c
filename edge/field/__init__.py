"""What a field engineer does beside the vehicle: look at a line, keep it, play it again."""
