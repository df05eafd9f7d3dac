"""What a run leaves behind: its results folder, timings, notes and logs."""
