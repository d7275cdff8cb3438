"""Reading, checking and preparing real cells: numpy and AnnData, no torch."""
