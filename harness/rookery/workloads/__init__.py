"""What runs on the volumes."""
