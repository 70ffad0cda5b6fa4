"""What people look at: traces as one self-contained HTML page."""
