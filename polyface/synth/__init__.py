"""People drawn by this project, every label known: something to train and test on without data. Drawings, not photographs; their rules say nothing about people."""
