"""What carries a picture's data out of the kernel."""
