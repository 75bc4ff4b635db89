"""What every part of fws may use: errors, units, problems of a file, counters and the log."""
