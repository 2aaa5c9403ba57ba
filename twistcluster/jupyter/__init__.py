"""What a notebook shows: magics, completion, views."""
